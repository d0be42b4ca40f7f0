"""The reference of the parameters, as Markdown.

Names, kinds and bounds come from the typed model, defaults and meanings from params.yaml and the
comments in it, what runs again from dvc.yaml: nothing is said a second time here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline import params, paths
from pipeline.params import Params
from pipeline.reporting.tables import markdown

DVC = Path("dvc.yaml")
TOP = ""  # the section of the parameters that stand in none
COLUMNS = ["parameter", "default", "what it may be", "meaning", "runs again"]
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    name : as `-S` takes it, with its section
    default : as params.yaml has it
    kind : type, bounds, choices
    meaning : the comment beside it in params.yaml; empty without one
    reruns : the stages that may run again when it changes
    """

    name: str
    default: str
    kind: str
    meaning: str
    reruns: str


def sections(root: Path = Path()) -> dict[str, tuple[str, list[Parameter]]]:
    """By each section's name what it is about, and its parameters, from the files in `root`."""
    text = paths.require(root / params.PATH).read_text("utf-8")
    content, lines = YAML().load(text), text.splitlines()
    stages = YAML(typ="safe").load(paths.require(root / DVC))["stages"]
    schema = Params.model_json_schema()
    found: dict[str, tuple[str, list[Parameter]]] = {TOP: ("", [])}
    for key, spec in schema["properties"].items():
        _, said = _written(content, key, lines)
        if "$ref" not in spec:
            found[TOP][1].append(_parameter(key, spec, content, key, lines, stages))
            continue
        entries = schema["$defs"][spec["$ref"].rpartition("/")[2]]["properties"]
        found[key] = (
            said or stages.get(key, {}).get("desc", ""),
            [
                _parameter(f"{key}.{entry}", entry_spec, content[key], entry, lines, stages)
                for entry, entry_spec in entries.items()
            ],
        )
    return found


def render(root: Path = Path()) -> str:
    """A table for each section."""
    parts = []
    for name, (about, parameters) in sections(root).items():
        table = markdown(COLUMNS, [_cells(each) for each in parameters], numbers=0)
        heading = f"## {name}" if name else "## At the top"
        parts.append("\n\n".join(part for part in (heading, about, table) if part))
    return "\n\n".join(parts)


def _cells(parameter: Parameter) -> list[str]:
    return [
        f"`{parameter.name}`",
        f"`{parameter.default}`",
        parameter.kind,
        parameter.meaning.replace("|", r"\|"),
        parameter.reruns,
    ]


def _parameter(
    name: str, spec: dict[str, Any], node: CommentedMap, key: str, lines: list[str], stages: Any
) -> Parameter:
    default, meaning = _written(node, key, lines)
    return Parameter(
        name, default, _kind(spec), meaning, _spans(list(stages), set(_reruns(name, stages)))
    )


def _written(node: CommentedMap, key: str, lines: list[str]) -> tuple[str, str]:
    """What stands after `key` in params.yaml: the value, and the comment with its further lines."""
    row, column = node.lc.key(key)
    value, _, comment = lines[row][column + len(key) + 1 :].partition(" #")
    further = takewhile(lambda line: line.lstrip().startswith("#"), lines[row + 1 :])
    said = [comment, *(line.lstrip(" #") for line in further)]
    return value.strip(), " ".join(line.strip() for line in said).strip()


def _kind(spec: dict[str, Any]) -> str:
    """Type, bounds and choices of an entry of a JSON schema, in words."""
    if "anyOf" in spec:
        return " or ".join(_kind(each) for each in spec["anyOf"])
    if "enum" in spec:
        return ", ".join(f"`{choice}`" for choice in spec["enum"])
    if spec["type"] == "array":
        least, most = spec.get("minItems", 0), spec.get("maxItems")
        count = f"{least} " if least == most else ""
        return f"list of {count}({_kind(spec['items'])})"
    words = {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}
    bounds = [f"{sign} {spec[bound]:g}" for bound, sign in BOUNDS.items() if bound in spec]
    return ", ".join([words.get(spec["type"], spec["type"]), *bounds])


def _reruns(name: str, stages: dict[str, Any]) -> Iterator[str]:
    """The stages that read a parameter, and those that read what such a stage writes."""
    written: set[str] = set()
    for stage, body in stages.items():
        reads = any(name == read or name.startswith(f"{read}.") for read in body.get("params", []))
        if reads or written & set(body["deps"]):
            yield stage
            outs = [*body["outs"], *body.get("metrics", [])]
            written |= {out if isinstance(out, str) else next(iter(out)) for out in outs}


def _spans(stages: list[str], marked: set[str]) -> str:
    """The marked stages in words, three and more in a row as `first to last`."""
    spans = []
    for is_marked, group in groupby(stages, key=marked.__contains__):
        span = list(group)
        if is_marked:
            spans += span if len(span) < 3 else [f"{span[0]} to {span[-1]}"]
    return ", ".join(spans) or "nothing"
