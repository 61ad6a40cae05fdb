"""A key as bytes, specified to the byte, so that hashes of it are the same everywhere and for ever.

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

The parts follow each other without anything between; the lengths keep `("ab", "c")` and `("a", "bc")` apart. Integers
of any width and decimals of any scale are encoded by their value, so a column that is widened keeps its keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_COLON = b":"


def key_bytes(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The bytes of each row's key.

    Args:
        frame: Rows with the key columns, none of which is null, a float or nested.
        keys: The key's columns, in order.
    """
    parts = [_part(pl.col(name), frame.schema[name]) for name in keys]
    encoded = parts[0]
    for part in parts[1:]:
        encoded = encoded + part
    return frame.select(encoded.alias("encoded")).to_series()


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
