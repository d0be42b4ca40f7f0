"""The README's table of results and the paper's four tables beside ours, as Markdown.

Every figure of ours comes from a committed run, and stands with its protocol.
"""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipeline.errors import SernetError
from pipeline.mcu import boards
from pipeline.reporting.experiments import Peers, Row
from pipeline.scoring.protocols import BEST_TEST_EPOCH, MODELS, PAPERS, SHIPS, protocol
from pipeline.splits import KINDS

BEGIN = "<!-- {name}: made by `sernet {command}` -->"
END = "<!-- end of {name} -->"
NOT_RUN = "not run"


def markdown(columns: list[str], rows: list[list[str]], numbers: int) -> str:
    """Markdown; all but the first columns, the last `numbers`, are set flush right."""
    rule = ["---"] * (len(columns) - numbers) + ["--:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _between(scores: dict[str, float]) -> str:
    """The 95 % interval, where the run has one."""
    return f"{scores['ua_low']:.2f} to {scores['ua_high']:.2f}" if "ua_low" in scores else ""


def _with_interval(scores: dict[str, float]) -> str:
    between = _between(scores)
    return _percent(scores["ua"]) + (f" ({between})" if between else "")


def results(rows: dict[str, Row]) -> str:
    """The runs that were made, a line each: honest and by the paper's protocol, and what they cost."""
    lines = []
    for row in rows.values():
        if row.metrics is None or row.params is None:
            continue
        of, model = row.metrics, row.metrics["model"]
        corpus = f"{row.corpus.name}, {row.params['input_len']:g} s, {row.split}"
        lines.append(
            [
                row.name,
                corpus + (f"; {row.note}" if row.note else ""),
                f"{row.params['train']['epochs']}",
                _with_interval(of[PAPERS]),
                _with_interval(of["float"]),
                f"**{_with_interval(of[SHIPS])}**",
                "" if row.unseen is None else str(row.unseen),
                f"{model['macs'] / 1e6:.0f} M",
                f"{model['flash_bytes']:,}",
            ]
        )
    columns = [
        "run", "corpus", "epochs", "paper's protocol, float: UA % (95 %)", "honest, float: UA % (95 %)",
        "**honest, int8 that ships: UA % (95 %)**", "the same, on speakers that no choice was scored on", "MACs",
        "file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 7)


def results_by_model(rows: dict[str, Row]) -> str:
    """The runs that were made: each model with its protocol."""
    lines = []
    for row in rows.values():
        if row.metrics is None or row.params is None:
            continue
        corpus = f"{row.corpus.name}, {row.params['input_len']:g} s, {row.params['train']['epochs']} epochs, {row.split} ({row.name}){row.remark}"
        for key, model in MODELS.items():
            scores, emphasis = row.metrics[key], "**" if key == SHIPS else ""
            lines.append(
                [
                    corpus,
                    f"{emphasis}{model}{emphasis}",
                    f"{emphasis}{protocol(key)}{emphasis}",
                    _percent(scores["ua"]),
                    _between(scores),
                    f"{scores['ua_folds']:.2f} ± {scores['ua_std']:.2f}",
                    _percent(scores["wa"]),
                    _percent(scores["f1"]),
                    f"{row.metrics['model']['flash_bytes']:,}" if key == SHIPS else "",
                ]
            )
            corpus = ""
    columns = ["corpus", "model", "protocol", "UA %", "95 % interval", "UA over folds, mean ± deviation", "WA %", "F1 %", "file, bytes"]  # fmt: skip
    return markdown(columns, lines, 6)


def table_1(rows: dict[str, Row]) -> str:
    """The paper's own rows, and the same on other copies of the corpus: printed, theirs, honest."""
    lines = []
    for row in rows.values():
        if not row.set:
            continue
        cells = [row.on + row.remark, row.name]
        cells += [_percent((row.paper or {}).get(score)) for score in ("ua", "wa", "f1")]
        if row.metrics is None:
            lines.append([*cells, NOT_RUN, "", NOT_RUN, "", "", ""])
            continue
        best, honest, shipped = (row.metrics[key] for key in (PAPERS, "float", SHIPS))
        lines.append(
            [
                *cells,
                _percent(best["ua"]),
                _percent(best["wa"]),
                _with_interval(honest),
                _percent(honest["wa"]),
                _with_interval(shipped),
                f"{row.metrics['model']['flash_bytes']:,}",
            ]
        )
    columns = [
        "corpus", "row", "printed: UA %", "WA %", "F1 %", "ours, paper's protocol: UA %", "WA %",
        "ours, honest: UA % (95 %)", "WA %", "int8, honest: UA % (95 %)", "int8 file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 9)


def table_of_peers(peers: Peers, rows: dict[str, Row]) -> str:
    """Other systems as the paper prints them, then ours in eight bits."""
    lines = [
        [system["name"], "as printed", f"{system['megabytes']:g}"]
        + [_percent(system.get(score)) for score in ("ua", "wa", "f1")]
        for system in peers.systems
    ]
    for name in peers.ours:
        row = rows[name]
        title = f"ours, int8: {row.on} ({name})"
        if row.metrics is None:
            lines.append([title, NOT_RUN, "", "", "", ""])
            continue
        shipped = row.metrics[SHIPS]
        megabytes = f"{row.metrics['model']['flash_bytes'] / 1e6:.2f}"
        lines.append(
            [title, "honest", megabytes, _with_interval(shipped)]
            + [_percent(shipped[score]) for score in ("wa", "f1")]
        )
    return markdown(["system", "protocol", "file, MB", "UA %", "WA %", "F1 %"], lines, 4)


def in_use(rows: dict[str, Row]) -> str:
    """UA of each run's int8 model behind the device's front end, under what happens to sound there."""
    found = {name: (row.evaluation or {}).get("robustness", {}) for name, row in rows.items()}
    titles = {key: of["description"] for run in found.values() for key, of in run.items()}
    lines = []
    for name, run in found.items():
        if run:
            cells = [_percent(run[key]["ua"]) if key in run else "" for key in titles]
            chance = 100 / rows[name].corpus.classes
            lines.append([name, rows[name].on, f"{chance:.1f}", *cells])
    columns = ["run", "corpus", "chance", *titles.values()]
    return markdown(columns, lines, 1 + len(titles))


def on_boards(rows: dict[str, Row]) -> str:
    """Memory of each run's model, each way that it can run, and how many boards hold it."""
    known, lines = boards.load(), []
    for row in rows.values():
        if row.evaluation is None or row.params is None:
            continue
        for way, of in row.evaluation.get("variants", {}).items():
            if "refused" in of:
                continue
            held = [key for key, board in known.items() if boards.fits(board, of["ram_bytes"], of["flash_bytes"])]  # fmt: skip
            sizes = (f"{of[key]:,}" for key in ("arena_bytes", "ram_bytes", "flash_bytes"))
            lines.append(
                [
                    row.name,
                    f"{row.params['input_len']:g} s",
                    way,
                    *sizes,
                    f"{len(held)} of {len(known)}",
                ]
            )
    columns = ["run", "clip", "variant", "arena, bytes", "RAM in all, bytes", "flash in all, bytes", "boards that hold it"]  # fmt: skip
    return markdown(columns, lines, 4)


def tables(rows: dict[str, Row], peers: list[Peers]) -> str:
    """Tables 1 to 4, then each run model by model, in use, and on boards, each under its heading."""
    parts = [f"### Table 1\n\n{table_1(rows)}"]
    parts += [f"### {p.table}: {p.corpus}\n\n{table_of_peers(p, rows)}" for p in peers]
    parts.append(f"### Each run, model by model\n\n{results_by_model(rows)}")
    parts.append(
        "### Each run in use\n\nUA in percent of the int8 model that ships behind the device's front end, honest "
        f"protocol; chance is a guess at random.\n\n{in_use(rows)}"
    )
    parts.append(f"### Each run on the board\n\n{on_boards(rows)}")
    return "\n\n".join(parts)


def written_into(document: str, name: str, command: str, table: str) -> str:
    """`document` with what stands between the two marks of `name` replaced by `table`."""
    begin, end = BEGIN.format(name=name, command=command), END.format(name=name)
    before, _, rest = document.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SernetError(f"the document lacks the marks of the table, {begin} and {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"


LOWEST, HIGHEST, STEP = 40, 100, 10  # of the picture's axis, percent
LEFT, TOP, WIDTH, LINE = 250, 44, 860, 26  # of the picture, pixels


def _x(percent: float | None) -> float | None:
    if percent is None:
        return None
    share = (max(LOWEST, percent) - LOWEST) / (HIGHEST - LOWEST)
    return round(LEFT + share * (WIDTH - LEFT - 30), 1)


def _drawn(row: Row, y: int) -> dict[str, Any]:
    """One line of the picture: places of its marks, and what they say."""
    printed = (row.paper or {}).get("ua")
    said = [] if printed is None else [f"printed {printed:.2f}"]
    drawn: dict[str, Any] = {"name": row.name, "y": y, "printed": _x(printed), "leaks": row.split == KINDS["paper"]}  # fmt: skip
    if row.metrics is None:
        return {**drawn, "said": ", ".join([*said, NOT_RUN])}
    best, honest = row.metrics[PAPERS], row.metrics["float"]
    said += [
        f"ours, {BEST_TEST_EPOCH}, {best['ua']:.2f}",
        f"honest {honest['ua']:.2f}, {row.split}",
    ]
    return {
        **drawn,
        "best": _x(best["ua"]),
        "honest": _x(honest["ua"]),
        "low": _x(honest.get("ua_low")),
        "high": _x(honest.get("ua_high")),
        "said": ", ".join(said),
    }


def picture(rows: dict[str, Row]) -> str:
    """Table 1 as a self-contained SVG: UA printed, by the paper's protocol, and honest."""
    shown = [row for row in rows.values() if row.set]
    bottom = TOP + LINE * len(shown)
    ticks = range(LOWEST, HIGHEST + 1, STEP)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = (files(__package__) / "tables.svg.j2").read_text("utf-8")
    absent = {"best": None, "honest": None, "low": None}
    return environment.from_string(template).render(
        rows=[absent | _drawn(row, TOP + LINE * n + LINE // 2) for n, row in enumerate(shown)],
        leak=KINDS["paper"],
        ticks=[{"x": _x(value), "value": value} for value in ticks],
        left=LEFT,
        top=TOP,
        bottom=bottom,
        middle=(LEFT + WIDTH) // 2,
        width=WIDTH,
        height=bottom + 52,
    )
