"""Which fields of a model hold secrets, and a repr that doesn't show them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from fuse_dagster.secrets.masking import mask


def secret_field(*, description: str, default: str = "") -> Any:
    """A field that holds a secret: a reference, a Dagster `EnvVar`, or a value.

    Any field with `json_schema_extra={"secret": True}` is one; this is the short way to write it, and has Dagster's UI
    mask the field where it shows how a resource is configured.

    Args:
        description: Why one would set it.
        default: What holds where it is not set.

    Examples:
        >>> class Tape(BaseModel):
        ...     key: str = secret_field(description="The key of the cabinet.")
        >>> Tape(key="swordfish")
        Tape(key='***')
    """
    marks: dict[str, Any] = {"secret": True, "dagster__is_secret": True}
    return Field(default=default, description=description, json_schema_extra=marks)


def secret_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields of `model` that hold secrets."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret") is True
    )


def shown(model: BaseModel) -> list[tuple[str | None, object]]:
    """The fields of `model` for its repr: `***` for secrets, while references to them stay as they are."""
    secret = secret_fields(type(model))
    values = ((name, getattr(model, name)) for name in type(model).model_fields)
    return [(name, mask(value) if name in secret and isinstance(value, str) else value) for name, value in values]
