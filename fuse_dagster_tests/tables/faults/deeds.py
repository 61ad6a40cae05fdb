"""What is done to a whole table, each with what the table must say before, afterwards, and after one more write."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from fuse_dagster.core.errors import TableStateError, TimeValueError
from fuse_dagster.tables import Append, History, Overwrite, Upsert, adopt, rebuild, retract, write
from fuse_dagster_tests.tables.faults.feeds import Snapshots, hours, moment
from fuse_dagster_tests.tables.faults.places import Place
from fuse_dagster_tests.tables.oracle import of_snapshots

Rows = list[Any]
Step = Callable[[Place], None]


@dataclass(frozen=True)
class Deed:
    """Something that is done to a whole table in one commit.

    Attributes:
        prepare: Makes the table.
        do: Does it; where it was done already, it changes nothing.
        go_on: Writes to the table that it was done to.
        found: What a table's rows say.
        states: What they must say before, afterwards, and once more was written.
    """

    prepare: Step
    do: Step
    go_on: Step
    found: Callable[[pl.DataFrame], Rows]
    states: tuple[Rows, Rows, Rows]


FEED, MODE = Snapshots(), History(keys=["k"])
BATCHES, RETRACTED = 6, 3


def _fill(place: Place) -> None:
    for number in range(BATCHES):
        place.apply(FEED, number)


def _go_on(place: Place) -> None:
    place.apply(FEED, BATCHES)


def _versions(table: pl.DataFrame) -> Rows:
    return FEED.found(table.rename({"start": "valid_from", "end": "valid_to"}, strict=False))


def _but(number: int) -> list[int]:
    return [other for other in range(BATCHES) if other != number]


def _make_theirs(place: Place) -> None:
    rows = [(k, v, moment(a), None if b is None else moment(b)) for k, v, a, b in FEED.expected(range(BATCHES))]
    time = pl.Datetime("us", "UTC")
    write_deltalake(
        place.uri, pl.DataFrame(rows, {"k": pl.Int64, "v": pl.Int64, "start": time, "end": time}, orient="row")
    )


def _adopt(place: Place) -> None:
    try:
        adopt(place.uri, MODE, rename={"start": "valid_from", "end": "valid_to"})
    except TableStateError as error:
        if "a history of ours already" not in str(error):
            raise


def _make_harmed(place: Place) -> None:
    _fill(place)
    shutil.rmtree(Path(place.uri, "_fuse"))
    place.opened().delete("k < 10")


def _rebuild(place: Place, numbers: Iterable[int] = range(BATCHES)) -> None:
    rebuild(place.uri, [(moment(FEED.time(n)), FEED.batch(n)[0]) for n in numbers], MODE)


def _rebuild_without(place: Place) -> None:
    _rebuild(place, _but(RETRACTED))


def _retract(place: Place) -> None:
    try:
        retract(place.uri, moment(FEED.time(RETRACTED)), MODE)
    except TimeValueError as error:
        if "knows no snapshot" not in str(error):
            raise


LATER = 2 * BATCHES
"""Hour of the first snapshot with a new column."""


def _wide(at: int) -> dict[int, tuple[int, int | None]]:
    return {key: (value, 7 if key % 2 else None) for key, value in FEED.contents(at).items()}


def _widen(place: Place, at: int = LATER) -> None:
    rows = [(key, *values) for key, values in _wide(at).items()]
    frame = pl.DataFrame(rows, schema={"k": pl.Int64, "v": pl.Int64, "w": pl.Int64}, orient="row")
    write(place.uri, frame, History(keys=["k"], effective_at=moment(at)))


def _go_on_wide(place: Place) -> None:
    _widen(place, LATER + 1)


def _wide_versions(table: pl.DataFrame) -> Rows:
    whole = table if "w" in table.columns else table.with_columns(w=pl.lit(None))
    return sorted(((k, (v, w), a, b) for (k, v, a, b), w in zip(hours(whole), whole["w"], strict=True)), key=repr)


def _wide_expected(*times: int) -> Rows:
    narrow = {at: {k: (v, None) for k, v in FEED.contents(at).items()} for at in map(FEED.time, range(BATCHES))}
    return sorted(of_snapshots({**narrow, **{at: _wide(at) for at in times}}), key=repr)


PLANES = {1: (1, None), 2: (2, None)}
NEW, LAST = {2: (-2, "x"), 3: (-3, "y")}, {1: (-1, "z")}


def _planes(rows: dict[int, Any]) -> pl.DataFrame:
    return pl.DataFrame([(k, *values) for k, values in rows.items()], schema=["k", "v", "w"], orient="row")


def _make_planes(place: Place) -> None:
    write(place.uri, _planes(PLANES).drop("w"), Upsert(keys=["k"]))


def _upsert_wide(place: Place) -> None:
    write(place.uri, _planes(NEW), Upsert(keys=["k"]))


def _append_wide(place: Place) -> None:
    write(place.uri, _planes(NEW), Append(once=["k"]))


def _overwrite_wide(place: Place) -> None:
    write(place.uri, _planes(NEW), Overwrite())


def _upsert_last(place: Place) -> None:
    write(place.uri, _planes(LAST), Upsert(keys=["k"]))


def _found_planes(table: pl.DataFrame) -> Rows:
    whole = table if "w" in table.columns else table.with_columns(w=pl.lit(None))
    return sorted(whole.select("k", "v", "w").rows())


def _rows(planes: dict[int, Any]) -> Rows:
    return sorted((k, *values) for k, values in planes.items())


def _on_planes(do: Step, after: dict[int, Any]) -> Deed:
    return Deed(_make_planes, do, _upsert_last, _found_planes, (_rows(PLANES), _rows(after), _rows({**after, **LAST})))


ALL, REST = FEED.expected(range(BATCHES)), FEED.expected(_but(RETRACTED))
MORE, REST_AND_MORE = FEED.expected(range(BATCHES + 1)), FEED.expected([*_but(RETRACTED), BATCHES])

DEEDS = {
    "adopt": Deed(_make_theirs, _adopt, _go_on, _versions, (ALL, ALL, MORE)),
    "rebuild of a harmed history": Deed(
        _make_harmed, _rebuild, _go_on, _versions, ([row for row in ALL if row[0] >= 10], ALL, MORE)
    ),
    "rebuild without a batch": Deed(_fill, _rebuild_without, _go_on, _versions, (ALL, REST, REST_AND_MORE)),
    "retract": Deed(_fill, _retract, _go_on, _versions, (ALL, REST, REST_AND_MORE)),
    "a new column of a history": Deed(
        _fill, _widen, _go_on_wide, _wide_versions,
        (_wide_expected(), _wide_expected(LATER), _wide_expected(LATER, LATER + 1)),
    ),
    "a new column of an upsert": _on_planes(_upsert_wide, {**PLANES, **NEW}),
    "a new column of an append": _on_planes(_append_wide, {**NEW, **PLANES}),
    "a new column of an overwrite": _on_planes(_overwrite_wide, NEW),
}  # fmt: skip
