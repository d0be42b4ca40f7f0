"""A comparison of two revisions as the comment of a pull request, in GitHub's Markdown.

Labels, names and values come from files that anyone may have written: each is shown as code, in which
no Markdown, HTML or mention takes effect.
"""

import re
from collections.abc import Sequence
from importlib.resources import files

import jinja2
from markupsafe import Markup

from pipeline.reporting import pull_request_tables as tables
from pipeline.reporting.differences import Report
from pipeline.reporting.gate import unjudged
from pipeline.reporting.revisions import section

MARKER = "<!-- sernet: report of a pull request -->"  # by which a workflow finds its comment
LONGEST = 100  # characters of a user's text
SENTENCE = 500  # of one that holds some


def render(report: Report, broken: Sequence[str] | None = None) -> str:
    """The comment; its first line is MARKER, which no reader sees.

    Parameters
    ----------
    broken : what `gate.breaches` found; None leaves the gate out
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"code": code, "cell": cell, "sentence": lambda t: code(t, SENTENCE)}
    template = environment.from_string(
        (files(__package__) / "pull_request.md.j2").read_text("utf-8")
    )
    lost, gained = tables.moved(report)
    comment: str = template.render(
        marker=Markup(MARKER),
        report=report,
        alone=report.base.metrics is None,
        metrics=report.head.metrics,
        mcu=section(report.head.metrics, "mcu"),
        counts={
            name: tables.count(report.head.number(name)) for name in ("clips", "classes", "folds")
        },
        broken=broken,
        unjudged=unjudged(report),
        most=tables.MOST,
        honest=tables.scores(report, tables.HONEST),
        paper=tables.scores(report, tables.PAPER),
        front_ends=tables.front_ends(report),
        memory=tables.memory(report),
        gained=gained,
        lost=lost,
        fitting=sum(bool(board.after) for board in report.boards),
        counted_less=report.base.number("mcu.ram_bytes") is None
        and report.head.number("mcu.ram_bytes") is not None,
        gate_changed=any(change.name.startswith("gate.") for change in report.params),
        confusion=tables.confusion(report),
        folds=tables.folds(report),
        curves=tables.curves(report),
    )
    return re.sub(r"\n{3,}", "\n\n", comment)


def code(value: object, longest: int = LONGEST) -> Markup:
    """Text of a user as a code span: on one line, at most so long, and nothing in it has an effect."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if not text.strip() or text[0] in " `" or text[-1] in " `" else ""
    return Markup(f"{fence}{pad}{text}{pad}{fence}")


def cell(value: object) -> Markup:
    """`code` for the cell of a table, which a bar would end even there."""
    return Markup(code(value).replace("|", r"\|"))
