"""A revision of the project as git has it: what its run scored, took and was told."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import params, paths
from pipeline.errors import MissingError, SernetError
from pipeline.mcu.boards import Sizes
from pipeline.scoring.speakers import SCORES, Counts

Text = Callable[
    [Path], str | None
]  # of a file by its path in the project; None where there is none

WORKING_TREE = "working tree"
CLIP = ["clip", "speaker", "actual"]  # what has to be alike for two runs to be of the same clips


@dataclass(frozen=True)
class Revision:
    """What git keeps of a revision's run; None or empty where it lacks the file.

    name : what it was called, a branch for example
    commit : its hash; None for the working tree
    """

    name: str
    commit: str | None
    metrics: dict[str, Any] | None
    params: dict[str, Any]
    evaluation: dict[str, Any]
    predictions: pd.DataFrame | None
    curves: pd.DataFrame | None

    def number(self, dotted: str) -> float | None:
        """The metric of that name, `mcu.arena_bytes` for example; None where there is none."""
        above, _, last = dotted.rpartition(".")
        value: Any = section(self.metrics, *above.split(".") if above else ()).get(last)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number and isfinite(value) else None

    def ua_of_predictions(self, model: str) -> float | None:
        """UA in percent of what `model` said of each clip; None where that is not kept."""
        column = f"predicted_{model}"
        if self.predictions is None or column not in self.predictions:
            return None
        counts = Counts.of(self.predictions, column)
        (ua,) = SCORES["ua"](counts.clips.sum(axis=0)[None], counts.hits.sum(axis=0)[None])
        return round(float(ua), 2)

    def needs(self) -> dict[str, Sizes]:
        """What each way of running the model takes of any board, by its name.

        A way that was refused is left out. A revision from before they were listed has the one of
        its metrics, whose RAM may be the arena alone.
        """
        variants = section(self.evaluation, "variants")
        ways = {name: _sizes(section(variants, name)) for name in variants}
        known = {name: sizes for name, sizes in ways.items() if sizes}
        if known:
            return known
        flash = self.number("mcu.flash_needed_bytes")
        ram = self.number("mcu.ram_bytes")
        if ram is None:
            ram = self.number("mcu.arena_bytes")
        if ram is None or flash is None:
            return {}
        return {
            str(section(self.metrics, "mcu").get("variant", "plain")): Sizes(int(ram), int(flash))
        }


def _sizes(variant: dict[str, Any]) -> Sizes | None:
    """What a variant takes; None where that is not said in numbers."""
    scratch = section(variant, "scratch")
    numbers = [variant.get("ram_bytes"), variant.get("flash_bytes"), *scratch.values()]
    return (
        Sizes.of({**variant, "scratch": scratch}) if all(type(n) is int for n in numbers) else None
    )


def section(content: Any, *names: str) -> dict[str, Any]:
    """What stands under these names, one within the other; empty where there is no such mapping.

    What git has may be of an older or a newer version, or a person's.
    """
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def read(rev: str | None) -> Revision:
    """A revision; None is the working tree.

    Only what git tracks is read, so that neither the cache nor a remote is needed.

    Raises
    ------
    MissingError
        The revision is not there.
    SernetError
        This is no project under git, or a file cannot be read as what it should be.
    """
    if rev is None:
        return _revision(WORKING_TREE, None, _of_working_tree)
    with _committed(rev) as (commit, text):
        return _revision(rev, commit, text)


def params_of(rev: str) -> dict[str, Any]:
    """params.yaml of a revision; raises as `read` does, with nothing else of it read."""
    with _committed(rev) as (_, text):
        return _params(rev, text)


def text_of(rev: str, path: Path) -> str | None:
    """A file of a revision, None where git has none; raises as `read` does."""
    with _committed(rev) as (_, text):
        return text(path)


def commit_of(rev: str) -> str:
    """A revision's hash; raises as `read` does, with no file of it read."""
    with _committed(rev) as (commit, _):
        return commit


@contextmanager
def _committed(rev: str) -> Iterator[tuple[str, Text]]:
    """The hash of a revision, and what gives the text of a file that git has in it."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError, resolve_rev

    try:
        repo = Repo()
    except NotDvcRepoError:
        raise SernetError(
            f"{Path.cwd()} is no DVC project: run this from the root of the project"
        ) from None
    with repo:
        try:
            commit = resolve_rev(repo.scm, rev)
            files = repo.scm.get_fs(commit)
        except SCMError:
            raise MissingError(
                f"no revision {rev!r} in this clone, expected a commit, a branch, a tag or a DVC experiment: `git fetch` it, "
                "or name another"
            ) from None
        within = Path(repo.root_dir).relative_to(repo.scm.root_dir)

        def text(path: Path) -> str | None:
            try:
                content: bytes = files.cat_file((within / path).as_posix())
            except FileNotFoundError:
                return None
            return content.decode("utf-8")

        yield commit, text


def flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each entry of nested mappings by its dotted name, its value as JSON."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False, default=str)


def _of_working_tree(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _parsed(name: str, text: Text, path: Path, parse: Callable[[str], Any], expected: str) -> Any:
    """A file of the revision `name`; None where it has no such file."""
    try:
        content = text(path)
        return None if content is None else parse(content)
    except (ValueError, YAMLError):  # json's and pandas's errors are ValueErrors
        raise SernetError(
            f"{path} of {name!r} is not {expected}, expected what `dvc repro` writes or a person committed"
        ) from None


def _params(name: str, text: Text) -> dict[str, Any]:
    parse = _mapping(YAML(typ="safe").load)
    return _parsed(name, text, params.PATH, parse, "a table in YAML") or {}


def _revision(name: str, commit: str | None, text: Text) -> Revision:
    parsed = partial(_parsed, name, text)
    return Revision(
        name=name,
        commit=commit,
        metrics=parsed(paths.METRICS, _mapping(json.loads), "a JSON object"),
        params=_params(name, text),
        evaluation=parsed(paths.EVALUATION, _mapping(json.loads), "a JSON object") or {},
        predictions=parsed(
            paths.PREDICTIONS,
            _predictions,
            f"a table in CSV with {', '.join(CLIP)}",
        ),
        curves=parsed(
            paths.MEAN_CURVES, lambda content: pd.read_csv(StringIO(content)), "a table in CSV"
        ),
    )


def _predictions(content: str) -> pd.DataFrame:
    rows = pd.read_csv(StringIO(content), dtype=str, keep_default_na=False)
    if not set(CLIP) <= set(rows):
        raise ValueError("columns are missing")
    return rows


def _mapping(parse: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    def checked(content: str) -> dict[str, Any]:
        found = parse(content)
        if not isinstance(found, dict):
            raise ValueError("not a mapping")
        return found

    return checked
