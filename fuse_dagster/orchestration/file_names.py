"""What the files of assets are called: a name for each partition, from which its key can be read back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.partitions import split_key

if TYPE_CHECKING:
    from dagster import PartitionsDefinition

LONGEST = 200
"""Bytes of one part of a name; disks take 255, with an ending and what a temporary file adds."""

_SAFE = re.compile(rb"[A-Za-z0-9_.,+@ -]")
_ESCAPED = re.compile(r"~([0-9A-F]{2})")


def part_of_name(key: str) -> str:
    """A partition key as one part of a path: letters, digits and a few signs stay, other bytes become `~XX`.

    Two keys never have one name, also where a disk takes two spellings of `ä` for one.

    Args:
        key: A key, or that of one dimension.

    Raises:
        ConfigError: The name is longer than disks take.

    Examples:
        >>> part_of_name("2024-01-01-10:00")
        '2024-01-01-10~3A00'
    """
    signs = [key.encode()[place : place + 1] for place in range(len(key.encode()))]
    name = "".join(sign.decode() if _SAFE.fullmatch(sign) else f"~{sign[0]:02X}" for sign in signs)
    # A dot in front hides a file, `..` leads elsewhere, and some disks drop blanks and dots at the end.
    name = re.sub(r"^[. ]|[. ]$", lambda sign: f"~{ord(sign[0]):02X}", name) or "~"
    if len(name) > LONGEST:
        msg = f"The partition key `{key[:40]}...` makes a name of {len(name)} bytes. Valid: up to {LONGEST}."
        raise ConfigError(msg)
    return name


def key_of_part(name: str) -> str:
    """The partition key that `part_of_name` made a name of.

    Examples:
        >>> key_of_part("2024-01-01-10~3A00")
        '2024-01-01-10:00'
    """
    if name == "~":
        return ""
    parts = _ESCAPED.split(name)
    return b"".join(bytes.fromhex(part) if place % 2 else part.encode() for place, part in enumerate(parts)).decode(
        errors="replace"
    )


def file_path(asset: tuple[str, ...], definition: PartitionsDefinition[str] | None, key: str, ending: str) -> str:
    """Where the file of an asset, or of one of its partitions, lies below the connector's root.

    Args:
        asset: The path of its key.
        definition: Its partitioning; None for none.
        key: The partition.
        ending: Of the format, with its dot.

    Returns:
        `<key>.<ending>`, or `<key>/<partition>.<ending>`, with a folder per dimension but the last.

    Raises:
        ConfigError: The name is longer than disks take.
    """
    parts = [] if definition is None else [part_of_name(part) for part in split_key(definition, key)]
    return "/".join([*asset, *parts]) + ending
