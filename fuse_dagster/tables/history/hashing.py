"""Keys for facts: hashes of a business key, and of a business key and the start of a version, specified to the byte.

A key is encoded part by part, in the order of its columns. Each part is a letter for its kind, the number of bytes that
follow the colon, in decimal, a colon, and these bytes:

====== ============================= ================================================================ =================
letter kind                          bytes                                                            example
====== ============================= ================================================================ =================
``i``  integer of any width          decimal digits, `-` before a negative one                        ``i2:42``
``n``  decimal number                as it is written, without zeros at its end and without a bare dot ``n4:-1.5``
``s``  string                        UTF-8, as it is, not normalized                                  ``s4:EDDB``
``b``  boolean                       `true` or `false`                                                ``b4:true``
``d``  date                          `YYYY-MM-DD`                                                     ``d10:2024-01-19``
``t``  timestamp with zone           microseconds since 1970-01-01T00:00:00Z, as an integer           ``t1:0``
``w``  timestamp without zone        microseconds since 1970-01-01T00:00:00 by the same clock         ``w1:0``
``x``  binary                        as it is                                                         ``x2:..``
====== ============================= ================================================================ =================

The parts follow each other without anything between; the lengths keep `("ab", "c")` and `("a", "bc")` apart. The hash
is the first 128 bits of the SHA-256 of these bytes, as 32 lowercase hexadecimal digits. A durable key hashes the
business key; a surrogate key hashes the business key and, as one more part of kind `t`, `valid_from`.

Integers of any width and decimals of any scale hash by their value, so a column that is widened keeps its keys. A
reader can check any of it: `printf 's4:EDDB' | sha256sum | cut -c 1-32`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import polars as pl

from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.keys import refuse_bad_keys

_DIGITS = 32
_COLON = b":"


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
    return _digest(_encoded(frame, keys))


def with_hashed_keys(versions: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Versions with the keys that their history declares, made anew from the business key and the start.

    Args:
        versions: Rows with the key columns and the start.
        shape: Parts of the columns; where it names no such key, the rows come back as they are.
    """
    made = {shape.durable_key: shape.keys, shape.surrogate_key: (*shape.keys, shape.valid_from)}
    return versions.with_columns(
        _digest(_encoded(versions, columns)).alias(name) for name, columns in made.items() if name is not None
    )


def _encoded(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The bytes that are hashed, per row."""
    parts = [_part(pl.col(name), frame.schema[name]) for name in keys]
    encoded = parts[0]
    for part in parts[1:]:
        encoded = encoded + part
    return frame.select(encoded.alias("encoded")).to_series()


def _digest(encoded: pl.Series) -> pl.Series:
    return pl.Series([sha256(key).hexdigest()[:_DIGITS] for key in encoded.to_list()], dtype=pl.String)


def _part(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    letter, content = _content(value, dtype)
    size = content.bin.size().cast(pl.String).cast(pl.Binary)
    return pl.lit(letter) + size + pl.lit(_COLON) + content


def _content(value: pl.Expr, dtype: pl.DataType) -> tuple[bytes, pl.Expr]:
    """The letter and the bytes of a part."""
    if dtype == pl.Binary:
        return b"x", value
    letter, text = _text(value, dtype)
    return letter, text.cast(pl.Binary)


def _text(value: pl.Expr, dtype: pl.DataType) -> tuple[bytes, pl.Expr]:
    if dtype.is_integer():
        return b"i", value.cast(pl.String)
    if dtype.is_decimal():
        written = value.cast(pl.String)
        short = written.str.strip_chars_end("0").str.strip_chars_end(".")
        return b"n", pl.when(written.str.contains(".", literal=True)).then(short).otherwise(written)
    if dtype == pl.Date:
        return b"d", value.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        letter = b"w" if dtype.time_zone is None else b"t"
        return letter, value.dt.epoch("us").cast(pl.String)
    return (b"b" if dtype == pl.Boolean else b"s"), value.cast(pl.String)
