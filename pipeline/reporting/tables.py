"""The README's table of results and the paper's four tables beside ours, as Markdown.

Every figure of ours comes from a committed run, and stands with its protocol.
"""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipeline.errors import SernetError
from pipeline.mcu import boards
from pipeline.mcu.boards import Sizes
from pipeline.reporting.experiments import Against, NamedRun, Peers
from pipeline.reporting.runs import JUDGED
from pipeline.scoring.protocols import BEST_TEST_EPOCH, HONEST, MODELS, PAPERS, SHIPS, protocol
from pipeline.scoring.speakers import Comparison
from pipeline.splits import KINDS

BEGIN = "<!-- {name}: made by `sernet {command}` -->"
END = "<!-- end of {name} -->"
NOT_RUN = "not run"
NOT_MEASURED = "not measured"  # of a run from before it was
UNSEEN = "on the speakers that choices were not made on"


def markdown(columns: list[str], rows: list[list[str]], numbers: int) -> str:
    """Markdown; all but the first columns, the last `numbers`, are set flush right."""
    rule = ["---"] * (len(columns) - numbers) + ["--:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _between(scores: dict[str, float]) -> str:
    """The 95 % interval, where the run has one."""
    return _range(scores["ua_low"], scores["ua_high"]) if "ua_low" in scores else ""


def _range(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def _with_interval(scores: dict[str, float]) -> str:
    between = _between(scores)
    return _percent(scores["ua"]) + (f" ({between})" if between else "")


def results(rows: dict[str, NamedRun]) -> str:
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
        "**honest, int8 that ships: UA % (95 %)**", f"the same, {UNSEEN}", "MACs",
        "file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 7)


def results_by_model(rows: dict[str, NamedRun]) -> str:
    """The runs that were made: each model with its protocol."""
    lines = []
    for row in rows.values():
        if row.metrics is None or row.params is None:
            continue
        corpus = f"{row.corpus.name}, {row.params['input_len']:g} s, {row.params['train']['epochs']} epochs, {row.split} ({row.name}){row.remark}"
        detail = (row.evaluation or {}).get("models", {})
        for key, model in MODELS.items():
            scores, emphasis = row.metrics[key], "**" if key == SHIPS else ""
            wa = (detail.get(key, {}).get("interval") or {}).get("wa")
            wa_folds = detail.get(key, {}).get("mean_over_folds", {}).get("wa")
            lines.append(
                [
                    corpus,
                    f"{emphasis}{model}{emphasis}",
                    f"{emphasis}{protocol(key)}{emphasis}",
                    _percent(scores["ua"]),
                    _between(scores),
                    f"{scores['ua_folds']:.2f} ± {scores['ua_std']:.2f}",
                    _percent(scores["wa"]),
                    _range(wa["low"], wa["high"]) if wa else "",
                    _percent(wa_folds),
                    _percent(scores["f1"]),
                    f"{row.metrics['model']['flash_bytes']:,}" if key == SHIPS else "",
                ]
            )
            corpus = ""
    columns = [
        "corpus", "model", "protocol", "UA %", "95 % interval", "UA over folds, mean ± deviation", "WA %", "95 % interval",
        "WA over folds, mean", "F1 %", "file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 8)


def table_1(rows: dict[str, NamedRun]) -> str:
    """The paper's own rows, and the same on other copies of the corpus: printed, theirs, honest."""
    lines = []
    for row in rows.values():
        if not row.set:
            continue
        cells = [row.on + row.remark, row.name]
        cells += [_percent((row.paper or {}).get(score)) for score in ("ua", "wa", "f1")]
        if row.metrics is None:
            lines.append([*cells, NOT_RUN, "", "", NOT_RUN, "", "", ""])
            continue
        best, honest, shipped = (row.metrics[key] for key in (PAPERS, "float", SHIPS))
        lines.append(
            [
                *cells,
                _with_interval(best),
                _percent(best["wa"]),
                _percent(best["f1"]),
                _with_interval(honest),
                _percent(honest["wa"]),
                _with_interval(shipped),
                f"{row.metrics['model']['flash_bytes']:,}",
            ]
        )
    columns = [
        "corpus", "row", "printed: UA %", "WA %", "F1 %", "ours, paper's protocol: UA % (95 %)", "WA %",
        "F1 %", "ours, honest: UA % (95 %)", "WA %", "int8, honest: UA % (95 %)", "int8 file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 10)


def table_of_peers(peers: Peers, rows: dict[str, NamedRun]) -> str:
    """Other systems as the paper prints them, then ours: by the paper's protocol, and in eight bits."""
    lines = [
        [system.name, "as printed", f"{system.megabytes:g}"]
        + [_percent(score) for score in (system.ua, system.wa, system.f1)]
        for system in peers.systems
    ]
    for name in peers.ours:
        row = rows[name]
        if row.metrics is None:
            lines.append([f"ours: {row.on} ({name})", NOT_RUN, "", "", "", ""])
            continue
        for kind, key, megabytes in (("float", PAPERS, ""), ("int8", SHIPS, _megabytes(row))):
            scores = row.metrics[key]
            title = f"ours, {kind}: {row.on} ({name})"
            lines.append(
                [title, protocol(key), megabytes, _with_interval(scores)]
                + [_percent(scores[score]) for score in ("wa", "f1")]
            )
    return markdown(["system", "protocol", "file, MB", "UA %", "WA %", "F1 %"], lines, 4)


def _megabytes(row: NamedRun) -> str:
    """Of the int8 file that was measured."""
    return f"{row.metrics['model']['flash_bytes'] / 1e6:.2f}" if row.metrics else ""


def against_references(found: list[Against]) -> str:
    """Each run minus the reference of its corpus, in float and in the eight bits that ship."""
    lines = []
    for of in found:
        cells = [of.run, of.reference]
        for model in JUDGED:
            cells += [_points(of.models[model]), f"{of.models[model].p:.4f}"]
        macs, file = ([cost[key] for cost in of.costs] for key in ("macs", "flash_bytes"))
        cells.append(of.models[SHIPS].verdict)
        cells.append("" if of.unseen is None else _points(of.unseen))
        cells.append(f"{macs[0] / 1e6:.0f} M of {macs[1] / 1e6:.0f} M")
        cells.append(f"{file[0]:,} of {file[1]:,}")
        lines.append(cells)
    columns = [
        "run", "minus", "float: UA points (95 %)", "p", "int8 that ships: UA points (95 %)", "p", "which is",
        f"int8 that ships, {UNSEEN}: UA points (95 %)", "MACs", "file, bytes",
    ]  # fmt: skip
    return markdown(columns, lines, 8)


def _points(of: Comparison) -> str:
    """A difference with its 95 % interval, where it has one."""
    ends = of.interval
    return f"{of.difference:+.2f}" + (f" ({ends.low:+.2f} to {ends.high:+.2f})" if ends else "")


def in_use(rows: dict[str, NamedRun]) -> str:
    """UA of each run's int8 model behind the device's front end, under what happens to sound there.

    A run that was evaluated before these were measured says so.
    """
    found = {name: (row.evaluation or {}).get("robustness", {}) for name, row in rows.items()}
    titles = {key: of["description"] for run in found.values() for key, of in run.items()}
    lines = []
    for name, run in found.items():
        if rows[name].metrics is not None:
            cells = [_percent(run[key]["ua"]) if key in run else NOT_MEASURED for key in titles]
            chance = 100 / rows[name].corpus.classes
            lines.append([name, rows[name].on, f"{chance:.1f}", *cells])
    columns = ["run", "corpus", "chance", *titles.values()]
    return markdown(columns, lines, 1 + len(titles))


def on_boards(rows: dict[str, NamedRun]) -> str:
    """Memory of each run's model, each way that it can run, and how many boards hold it."""
    known, lines = boards.load(), []
    for row in rows.values():
        if row.evaluation is None or row.params is None:
            continue
        ways = row.evaluation.get("variants", {})
        seconds = f"{row.params['input_len']:g} s"
        if not ways:
            lines.append([row.name, seconds, NOT_MEASURED, "", "", "", ""])
        for way, of in ways.items():
            if "refused" in of:
                continue
            held = [key for key, board in known.items() if boards.fits(board, Sizes.of(of))]  # fmt: skip
            sizes = (f"{of[key]:,}" for key in ("arena_bytes", "ram_bytes", "flash_bytes"))
            lines.append(
                [
                    row.name,
                    seconds,
                    way,
                    *sizes,
                    f"{len(held)} of {len(known)}",
                ]
            )
    columns = ["run", "clip", "variant", "arena, bytes", "RAM in all, bytes", "flash in all, bytes", "boards that hold it"]  # fmt: skip
    return markdown(columns, lines, 4)


def tables(rows: dict[str, NamedRun], peers: list[Peers], against: list[Against]) -> str:
    """Tables 1 to 4, then each run model by model, against its reference, in use, and on boards."""
    parts = [f"### Table 1\n\n{table_1(rows)}"]
    parts += [f"### {p.table}: {p.corpus}\n\n{table_of_peers(p, rows)}" for p in peers]
    parts.append(f"### Each run, model by model\n\n{results_by_model(rows)}")
    parts.append(
        "### Each run against the paper's network\n\nUA of the run minus that of the paper's network in its own recipe, "
        "on the same clips, honest protocol; the interval by bootstrap over speakers, p by exchanging what the two said "
        "speaker by speaker, as `sernet compare` says them. Each p is of its own comparison: of twenty that "
        f"differ by chance alone, one is below 0.05.\n\n{against_references(against)}"
    )
    parts.append(
        "### Each run in use\n\nUA in percent of the int8 model that ships behind the device's front end, honest "
        f"protocol; chance is a guess at random.\n\n{in_use(rows)}"
    )
    parts.append(
        "### Each run on the board\n\nAs it was evaluated then: where a run does not say what other kernels than "
        f"CMSIS-NN's take, boards that have these do not count as holding it.\n\n{on_boards(rows)}"
    )
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
LEFT, TOP, RIGHT, WIDTH, LINE = 320, 44, 770, 860, 26  # of the picture, pixels
MARKS = {
    "printed": "printed",
    "best": f"ours, float, {BEST_TEST_EPOCH},",
    "honest": f"ours, float, {HONEST},",
    "shipped": f"ours, int8 that ships, {HONEST},",
}
ABSENT = dict.fromkeys([*MARKS, "low", "high"])


def _x(percent: float | None) -> float | None:
    if percent is None:
        return None
    share = (max(LOWEST, percent) - LOWEST) / (HIGHEST - LOWEST)
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _line(name: str, size: str, split: str | None = None, **marks: float | None) -> dict[str, Any]:
    """One line of the picture: places of its marks, and what they say.

    size : of the model's file, as text; empty where the run was not made
    marks : UA in percent by name as in MARKS, and the `low` and `high` end of ours
    """
    said = [
        f"{MARKS[key]} {ua:.2f}" for key, ua in marks.items() if key in MARKS and ua is not None
    ]
    said += [size or NOT_RUN, *([split] if split else [])]
    return {
        **ABSENT,
        **{key: _x(ua) for key, ua in marks.items()},
        "name": name,
        "size": size,
        "leaks": split == KINDS["paper"],
        "said": ", ".join(said),
    }


def _line_of(row: NamedRun, model: str, mark: str, printed: float | None = None) -> dict[str, Any]:
    """A named run by both protocols, the honest one of `model` with this `mark`."""
    if row.metrics is None:
        return _line(row.name, "", printed=printed)
    of, best = row.metrics[model], row.metrics[PAPERS]["ua"]
    ours = {mark: of["ua"], "low": of.get("ua_low"), "high": of.get("ua_high")}
    size = f"{_megabytes(row)} MB"
    return _line(row.name, size, row.split, printed=printed, best=best, **ours)


def picture(rows: dict[str, NamedRun], peers: list[Peers]) -> str:
    """Tables 1 to 4 as a self-contained SVG: UA printed, by the paper's protocol and honest, and sizes."""
    shown = [row for row in rows.values() if row.set]
    first = [_line_of(row, "float", "honest", (row.paper or {}).get("ua")) for row in shown]
    parts = [("Table 1", first)]
    for table in peers:
        systems = [
            _line(system.name, f"{system.megabytes:g} MB", printed=system.ua)
            for system in table.systems
        ]
        ours = [_line_of(rows[name], SHIPS, "shipped") for name in table.ours]
        parts.append((f"{table.table}: {table.corpus}", systems + ours))
    y, lines, headings = TOP, [], []
    for title, part in parts:
        headings.append({"title": title, "y": y + LINE // 2})
        y += LINE
        for line in part:
            lines.append({**line, "y": y + LINE // 2})
            y += LINE
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = (files(__package__) / "tables.svg.j2").read_text("utf-8")
    return environment.from_string(template).render(
        rows=lines,
        headings=headings,
        leak=KINDS["paper"],
        ticks=[{"x": _x(value), "value": value} for value in range(LOWEST, HIGHEST + 1, STEP)],
        left=LEFT,
        top=TOP,
        bottom=y,
        middle=(LEFT + RIGHT) // 2,
        width=WIDTH,
        height=y + 52,
        not_run=NOT_RUN,
    )
