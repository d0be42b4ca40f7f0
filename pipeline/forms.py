"""Files that people write: YAML, held against a form, with one line for all that is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError

T = TypeVar("T", bound=pydantic.BaseModel)


class Form(pydantic.BaseModel):
    """What a file has to say, and no more."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def content(file: Path) -> Any:
    """What a file in YAML 1.2 says, which is how DVC reads it too.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ParamsError
        It is not UTF-8, or not YAML.
    """
    try:
        return YAML(typ="safe").load(file.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise ParamsError(f"{file} is not UTF-8 ({error}): save it as UTF-8") from None
    except YAMLError as error:
        raise ParamsError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None


def dotted(place: tuple[Any, ...]) -> str:
    """Where an entry stands, by the names above it."""
    return ".".join(str(part) for part in place)


def problem(error: Any, name: Callable[[tuple[Any, ...]], str] = dotted) -> str:
    """One of pydantic's errors as `dotted.name: what was expected, found what`.

    name : what the entry at a place is called
    """
    called, message = name(error["loc"]), error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{called}: unknown entry, remove it or correct its name"
    if error["type"] == "missing":
        return f"{called}: missing"
    if error["type"] == "value_error":
        return f"{called}: {message}" if called else message
    said = f"{message[0].lower()}{message[1:]}, found {error['input']!r}"
    return f"{called}: {said}" if called else said


def read(file: Path, form: type[T]) -> T:
    """A file that has to have this form.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ParamsError
        It is not of the form; the message names each entry that is wrong by its dotted name.
    """
    try:
        return form.model_validate(content(file))
    except pydantic.ValidationError as error:
        raise ParamsError(f"{file}: {'; '.join(problem(of) for of in error.errors())}") from None
