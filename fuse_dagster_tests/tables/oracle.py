"""What a history should be, in a few lines of plain Python that a reader can check by eye.

Values are compared by `==` on what `plain` returns; the tests keep NaN and -0.0 out of here by mapping them first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

Key, Value, Time = Hashable, Hashable, int
Version = tuple[Key, Value, Time, Time | None]


def of_snapshots(snapshots: Mapping[Time, Mapping[Key, Value]]) -> set[Version]:
    """Snapshots by time -> versions: between two snapshots a key holds what the earlier one says."""
    times = sorted(snapshots)
    keys = {key for snapshot in snapshots.values() for key in snapshot}
    return versions({key: [(at, snapshots[at].get(key, ABSENT)) for at in times] for key in keys})


def said_last_in(snapshots: Mapping[Time, Mapping[Key, Value]]) -> dict[Key, Value]:
    """Snapshots by time -> per key what the latest one says that has it."""
    return {key: value for at in sorted(snapshots) for key, value in snapshots[at].items()}


@dataclass(frozen=True)
class Statement:
    """One row of a feed of changes; a `value` of ABSENT is a delete; `note` is overwritten, not tracked."""

    key: Key
    at: Time
    value: Value
    sequence: int = 0
    note: Value = None


ABSENT = "<absent>"


def of_changes(statements: Iterable[Statement]) -> set[Version]:
    """Statements in any order -> versions: at one time the highest sequence holds."""
    said: dict[Key, dict[Time, Statement]] = {}
    for one in statements:
        known = said.setdefault(one.key, {}).get(one.at)
        if known is None or one.sequence > known.sequence:
            said[one.key][one.at] = one
    return versions({key: [(at, by[at].value) for at in sorted(by)] for key, by in said.items()})


def said_last_by(statements: Iterable[Statement]) -> dict[Key, Value]:
    """Statements in any order -> per key the note of the one with the highest time and sequence that is no delete."""
    in_order = sorted(statements, key=lambda s: (s.at, s.sequence))
    return {s.key: s.note for s in in_order if s.value != ABSENT}


def versions(said: Mapping[Key, list[tuple[Time, Value]]]) -> set[Version]:
    """Per key what was said when -> versions: what changes nothing is dropped, the rest holds until the next."""
    result = set()
    for key, points in said.items():
        turns = [(at, value) for i, (at, value) in enumerate(points) if i == 0 or value != points[i - 1][1]]
        for (at, value), (until, _) in zip(turns, [*turns[1:], (None, None)], strict=True):
            if value != ABSENT:
                result.add((key, value, at, until))
    return result


Row = Mapping[str, Value]


def of_partial_snapshots(
    snapshots: Mapping[Time, tuple[frozenset[str], Mapping[Key, Row]]], columns: Iterable[str], *, carry: bool
) -> set[Version]:
    """Snapshots by time, each with the columns it brings and its rows -> versions, values in the order of `columns`.

    A column that a snapshot does not bring is null; or, carried, what it was for the key in the snapshot before.
    """
    names, whole, before = list(columns), {}, {}
    for at in sorted(snapshots):
        brought, rows = snapshots[at]
        before = {
            key: {
                name: row[name] if name in brought else before.get(key, {}).get(name) if carry else None
                for name in names
            }
            for key, row in rows.items()
        }
        whole[at] = {key: tuple(row[name] for name in names) for key, row in before.items()}
    return of_snapshots(whole)
