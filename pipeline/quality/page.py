"""The validation's results as a page that a person can read; no network, no script."""

from importlib.resources import files

import jinja2

from pipeline.quality.expectations import Result


def render(results: list[Result], summary: dict[str, object]) -> str:
    """HTML of the results; `summary` holds the counts above the table."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((files(__package__) / "page.html.j2").read_text("utf-8"))
    failed = [result for result in results if not result.success]
    return template.render(
        results=results,
        summary=summary,
        errors=sum(result.level == "error" for result in failed),
        warnings=sum(result.level == "warning" for result in failed),
    )
