"""What every declaration of a write mode checks about itself, with all problems raised as one error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from fuse_dagster.core.errors import ConfigError

SchemaPolicy = Literal["evolve", "strict"]
NullKeys = Literal["error", "drop", "reject"]


def set_names(mode: Any, field: str) -> None:
    """Store column names as a tuple; a lone string is one name, a common slip that must not become letters."""
    value = getattr(mode, field)
    object.__setattr__(mode, field, (value,) if isinstance(value, str) else tuple(value or ()))


def wrong_keys(keys: Sequence[str]) -> Iterable[str]:
    """What is wrong with a business key as declared."""
    if not keys:
        yield "`keys` is empty; name the business key, one or more columns"
    doubled = {key for key in keys if list(keys).count(key) > 1}
    if doubled:
        yield f"`keys` names {sorted(doubled)} more than once"


def wrong_null_keys(null_keys: str, keys: Sequence[str], *, remedy: str) -> Iterable[str]:
    """Rows left out for want of a key, where a mode asks for none.

    Args:
        null_keys: As declared.
        keys: The key columns; empty for none.
        remedy: How this mode is given a key.
    """
    if null_keys in ("drop", "reject") and not keys:
        yield f'`null_keys="{null_keys}"` leaves out rows with a null key, and no key is declared; {remedy}'


def wrong_choices(mode: Any, **choices: Any) -> Iterable[str]:
    """Fields whose value is not among those that their annotation lists."""
    for field, literal in choices.items():
        value = getattr(mode, field)
        valid = _options(literal)
        if value not in valid:
            yield f"`{field}` is `{value}`; valid: {', '.join(repr(v) for v in valid)}"


def _options(annotation: Any) -> list[Any]:
    """Values of a Literal, also inside a union with None."""
    found: list[Any] = []
    for arg in get_args(annotation):
        found.extend(_options(arg) if get_args(arg) else [None if arg is type(None) else arg])
    return found


def raise_problems(name: str, problems: Iterable[str]) -> None:
    """Raise all problems of a declaration as one error.

    Raises:
        ConfigError: There is at least one.
    """
    found = list(problems)
    if found:
        raise ConfigError(f"{name}: " + "; ".join(found))
