"""The JSON Schema of `fuse.yaml`, from the registry: editors complete and check by it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from fuse_dagster.connectors import connectors
from fuse_dagster.core.errors import MissingExtraError
from fuse_dagster.secrets import stores

_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def profile_schema() -> dict[str, Any]:
    """The schema of a whole `fuse.yaml`, with every connector that is installed.

    Write it to a file and name that in the first line of `fuse.yaml`:
    `# yaml-language-server: $schema=fuse.schema.json`.

    Returns:
        A JSON Schema (draft 2020-12). Any field may also hold `${NAME}`. A connection may leave out its `type`, and
        whatever else a profile below it states.
    """
    kinds = {}
    for name in connectors.names:
        try:
            kinds[name] = _fields(connectors.load(name), required=["type"])
        except MissingExtraError:
            continue  # an editor can't check what can't be used here either
    definitions: dict[str, Any] = {}
    for kind in kinds.values():
        definitions |= kind.pop("$defs", {})
    any_field: dict[str, Any] = {name: {} for kind in kinds.values() for name in kind["properties"]}
    partial = {"type": "object", "not": {"required": ["type"]}, "properties": any_field, "additionalProperties": False}
    profile = {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "extends": {"type": "string", "description": "A profile whose connections this one takes over."},
            "production": {"type": "boolean", "description": "Refuse secrets that stand in the file itself."},
            "connections": {
                "type": ["object", "null"],
                "description": "Name -> the fields of a connector.",
                "additionalProperties": {"anyOf": [*kinds.values(), partial]},
            },
            "secrets": {
                "type": ["object", "null"],
                "description": "Store -> its settings, as the address of a vault.",
                "additionalProperties": False,
                "properties": {name: _fields(stores.load(name), required=[]) for name in stores.names},
            },
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fuse.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": ["profiles"],
        "properties": {
            "default": {"type": "string", "description": "The profile where neither code nor FUSE_PROFILE names one."},
            "profiles": {"type": "object", "additionalProperties": profile},
        },
        **({"$defs": definitions} if definitions else {}),
    }


def _fields(kind: type[BaseModel], *, required: list[str]) -> dict[str, Any]:
    """The schema of one model's fields; those that it requires may come from another profile."""
    schema = kind.model_json_schema()
    schema["description"] = schema.get("description", "").partition("\n")[0]
    schema["required"] = required
    schema["additionalProperties"] = False
    for field, rule in schema["properties"].items():
        rule.pop("title", None)
        if field == "type":
            rule.pop("default", None)
        else:
            schema["properties"][field] = _or_a_variable(rule)
    return schema


def _or_a_variable(rule: dict[str, Any]) -> dict[str, Any]:
    if rule.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(rule):
        return rule
    about: dict[str, Any] = {key: rule[key] for key in ("description", "default", "secret") if key in rule}
    return {**about, "anyOf": [{key: value for key, value in rule.items() if key not in about}, _VARIABLE]}
