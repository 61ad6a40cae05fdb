"""What is wrong with the fields that a connector is declared with, all of it at once and without their values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dagster import EnvVar
from pydantic import ValidationError

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.secrets import is_reference, secret_fields

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        field: The field that has to change.
        words: A sentence that says why, and what would be right; it holds no value of a secret.
    """

    field: str
    words: str


class DeclarationError(ConfigError):
    """Fields that no connector can be made of.

    Attributes:
        problems: All that is wrong, for who knows where the fields were written.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def wrong_names(model: type[BaseModel], given: Collection[str]) -> list[Problem]:
    """Names that are no field of a model, each with the nearest one that is, and fields that have to be given."""
    fields = model.model_fields
    valid = [name for name in fields if name != "type"]
    unknown = [
        Problem(name, f"There is no such field. {did_you_mean(name, valid)}") for name in given if name not in fields
    ]
    missing = [name for name, field in fields.items() if field.is_required() and name not in given]
    return unknown + [Problem(name, "It has to be given.") for name in missing]


def wrong_values(error: ValidationError, known: Collection[str]) -> list[Problem]:
    """What pydantic says of the fields that were given; what their value was is left out, as it may be a secret."""
    found = error.errors(include_input=False, include_context=False, include_url=False)
    said = [(str(each["loc"][0]) if each["loc"] else "type", in_words(each)) for each in found]
    return [Problem(field, words) for field, words in dict(said).items() if field in known or field == "type"]


_NUMBER = "It is no number. Valid: one such as `30`."
_WHETHER = "It is neither `true` nor `false`."
_WORDS = {
    "string_type": "It is no text. Give one value, or take the line out.",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "bool_type": _WHETHER,
    "bool_parsing": _WHETHER,
    "extra_forbidden": "There is no such field.",
    "missing": "It has to be given.",
}


def in_words(said: Mapping[str, Any]) -> str:
    """One error of pydantic as a sentence or two; see `ValidationError.errors`."""
    where = ".".join(str(step) for step in said["loc"][1:])
    words = _what(said)
    return f"At `{where}`: {words}" if where else words


def _what(said: Mapping[str, Any]) -> str:
    if said["type"] == "literal_error":
        return f"It is none of the values that it may have. Valid: {said['msg'].removeprefix('Input should be ')}."
    return _WORDS.get(said["type"], f"{said['msg']}.")


def misplaced_references(model: type[BaseModel], given: Mapping[str, Any]) -> list[Problem]:
    """References to secrets in fields that hold none: nobody would resolve them."""
    words = (
        "It is a reference to a secret, and this field holds none. Write the value; in `fuse.yaml` `${NAME}` is a "
        "variable, in Python Dagster's `EnvVar`."
    )
    fields = model.model_fields.keys() - secret_fields(model)
    return [
        Problem(name, words)
        for name, value in given.items()
        if name in fields and isinstance(value, str) and not isinstance(value, EnvVar) and is_reference(value)
    ]


def in_the_clear(given: Mapping[str, Any], field: str) -> list[Problem]:
    """An address of plain HTTP on another machine: what one logs in by would go there for all to read."""
    value = given.get(field)
    if not isinstance(value, str) or isinstance(value, EnvVar) or not value.startswith("http://"):
        return []
    try:
        host = urlsplit(value).hostname
    except ValueError:
        return [Problem(field, "It is no address. Give one as `https://host`.")]
    if host in {"127.0.0.1", "::1", "localhost"}:
        return []
    return [Problem(field, "It is `http://`, which sends what you log in by in the clear. Take `https://`.")]


def with_defaults(model: type[BaseModel], data: Mapping[str, Any], wrong: Sequence[Problem]) -> dict[str, Any]:
    """All fields of a model: as given where they are right, else their defaults, and None where there is none."""
    bad = {problem.field for problem in wrong}
    return {
        name: data[name] if name in data and name not in bad else None if field.is_required() else field.get_default()
        for name, field in model.model_fields.items()
    }


def refuse(model: type[BaseModel], problems: Sequence[Problem]) -> None:
    """Raise one error for all problems; nothing where there are none.

    Raises:
        DeclarationError: There is a problem.
    """
    if problems:
        listed = " ".join(f"`$.{problem.field}`: {problem.words}" for problem in problems)
        raise DeclarationError(f"`{model.__name__}` can't be declared so. {listed}", problems)


def texts(given: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Of some fields that hold text, those that were given."""
    return [name for name in names if given[name]]


def wrong_times(given: Mapping[str, Any], names: Iterable[str]) -> list[Problem]:
    """Fields that are to be seconds: more than none."""
    return [
        Problem(name, f"`{given[name]}` is no time to wait. Valid: seconds above 0.")
        for name in names
        if isinstance(given[name], int | float) and not given[name] > 0
    ]
