"""Keys for facts: hashes of a business key, and of a business key and the start of a version, specified to the byte.

A key is encoded as `fuse_dagster.core.key_bytes` specifies. The hash is the first 128 bits of the SHA-256 of these
bytes, as 32 lowercase hexadecimal digits. A durable key hashes the business key; a surrogate key hashes the business
key and, as one more part of kind `t`, `valid_from`. A reader can check any of it:
`printf 's4:EDDB' | sha256sum | cut -c 1-32`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import polars as pl

from fuse_dagster.core.key_bytes import key_bytes
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.keys import refuse_bad_keys

_DIGITS = 32


def hash_keys(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The durable key of each row: a hash of its business key that is the same everywhere and for ever.

    Args:
        frame: Rows with the key columns.
        keys: The business key, in the order of the history's declaration. With the start of a version as one more
            column, the result is its surrogate key.

    Returns:
        Strings of 32 lowercase hexadecimal digits, one per row: the first 128 bits of a SHA-256.

    Raises:
        SchemaError: A key column is missing, a float, or nested.
        KeyValueError: A key is null.

    Example:
        >>> hash_keys(pl.DataFrame({"icao": ["EDDB"]}), ["icao"]).item()
        '45927f01991df93e22b98498d00714cb'
    """
    refuse_bad_keys(frame, keys)
    return _digest(key_bytes(frame, keys))


def with_hashed_keys(versions: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Versions with the keys that their history declares, made anew from the business key and the start.

    Args:
        versions: Rows with the key columns and the start.
        shape: Parts of the columns; where it names no such key, the rows come back as they are.
    """
    made = {shape.durable_key: shape.keys, shape.surrogate_key: (*shape.keys, shape.valid_from)}
    return versions.with_columns(
        _digest(key_bytes(versions, columns)).alias(name) for name, columns in made.items() if name is not None
    )


def _digest(encoded: pl.Series) -> pl.Series:
    return pl.Series([sha256(key).hexdigest()[:_DIGITS] for key in encoded.to_list()], dtype=pl.String)
