"""History: how it is declared."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fuse_dagster.tables.conditions import Condition, wrong_conditions
from fuse_dagster.tables.modes.declaring import (
    NullKeys,
    SchemaPolicy,
    raise_problems,
    set_names,
    wrong_choices,
    wrong_keys,
)

_OWN = ("`valid_from`", "`valid_to`", "`is_current`")
Source = Literal["snapshot", "changes"]
Deletes = Literal["close", "ignore"]
Restatements = Literal["remember", "forget"]
OnCorrection = Literal["replace", "error"]
Late = Literal["splice", "ignore", "error"]
MissingColumn = Literal["error", "null", "carry"]
Retrack = Literal["from_now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Keep every version of every key (SCD type 2), right in any order of arrival.

    Attributes:
        keys: Business key, one or more columns.
        source: `snapshot`: a batch is the whole truth from its time on. `changes`: each row says what holds for its
            key from its time on.
        effective_at: The one time of this batch. Snapshots need it or `effective_column`.
        effective_column: Column with the time of each row; stored, never tracked. In a snapshot batch each distinct
            value is one complete snapshot.
        sequence_by: For changes: column that orders statements of one key at one time; stored, never tracked.
        delete_when: For changes, and snapshots whose absences say nothing (`deletes="ignore"`): SQL predicate that
            marks a row as a delete. Null means no delete.
            The columns it reads are tracked like any other: name an operation code in `ignore`.
        deletes: What a key's absence from a snapshot means. `close` ends it; `ignore` leaves it as it is.
        track: Columns whose changes make a version; by default all that are neither key, time, sequence nor ignored.
        ignore: Columns stored but not tracked: they hold the value of the version's earliest statement.
        overwrite_columns: Columns stored but not tracked that hold, in every version of a key, the value with the
            greatest effective time (type 1), as a corrected spelling or a current owner.
        max_delete_fraction: Highest share of the neighbouring snapshot's keys that a snapshot may leave out, 0 to 1;
            None turns the guard off.
        max_update_fraction: Highest share of the previous snapshot's keys whose tracked values a snapshot may change,
            0 to 1; None, the default, turns this guard off.
        allow_empty: Whether a snapshot without rows is believed.
        restatements: `remember` keeps the time of a value stated again without change, because a late row may fall in
            between; `forget` saves that memory where batches only come in order.
        on_correction: What a known time with other content means: `replace` what was said, or an `error`. By default
            snapshots replace and changes raise.
        late: What becomes of what speaks of a time before what is known: `splice` puts it in its place; `ignore` leaves
            it out and counts its rows as `rejected`; `error` refuses the batch. A snapshot is late before the last
            known one, a row of a feed before the last known statement of its key. What is said again is never late.
        missing_column: What it means where a batch lacks a column that earlier ones had: an `error`, because it mostly
            is a broken extract; `null`: its values are null from then on; `carry`, for snapshots: they are what they
            were just before. Before a column first appeared, its absence is no matter.
        null_keys: What becomes of rows with a null part of the key: an `error`; `drop` leaves them out, with a line in
            the log; `reject` hands them to `on_rejected` of the write before anything is committed. Both count as
            `rejected`. A batch without any other row writes nothing; as a whole truth (a snapshot whose absences
            close) it is refused, whatever `allow_empty` says.
        retrack: What `track` or `ignore` other than the table was made with mean: by default an error; `from_now` takes
            them for what comes from now on, and leaves what was applied as it is. The order of batches is not free
            across that point.
        timezone: IANA zone of naive times and of dates. Naive times without it are errors; dates default to UTC.
        schema: `evolve` adds new columns and widens types; `strict` refuses both.
        valid_from: Name of the column with the inclusive start, UTC, microseconds.
        valid_to: Name of the column with the exclusive end, null while the version is open.
        is_current: Name of the column that is true for open versions.
        durable_key: Name of a column to add with a hash of the business key: one value per key, short and stable, for
            facts to refer to. None for no such column.
        surrogate_key: Name of a column to add with a hash of the business key and `valid_from`: one value per version.
            None for no such column.

    Example:
        >>> History(keys=["icao"], effective_at=dt.datetime(2024, 1, 19, tzinfo=dt.timezone.utc)).source
        'snapshot'
    """

    keys: Sequence[str]
    source: Source = "snapshot"
    effective_at: dt.datetime | dt.date | None = None
    effective_column: str | None = None
    sequence_by: str | None = None
    delete_when: str | None = None
    deletes: Deletes = "close"
    track: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    overwrite_columns: Sequence[str] = ()
    max_delete_fraction: float | None = 0.5
    max_update_fraction: float | None = None
    allow_empty: bool = False
    restatements: Restatements = "remember"
    on_correction: OnCorrection | None = None
    late: Late = "splice"
    missing_column: MissingColumn = "error"
    null_keys: NullKeys = "error"
    retrack: Retrack | None = None
    timezone: str | None = None
    schema: SchemaPolicy = "evolve"
    valid_from: str = "valid_from"
    valid_to: str = "valid_to"
    is_current: str = "is_current"
    durable_key: str | None = None
    surrogate_key: str | None = None

    def __post_init__(self) -> None:
        """Check the declaration; all problems are reported at once."""
        for name in ("keys", "ignore", "overwrite_columns", *(["track"] if self.track is not None else [])):
            set_names(self, name)
        problems = [
            *wrong_keys(self.keys),
            *wrong_choices(
                self, source=Source, deletes=Deletes, restatements=Restatements, schema=SchemaPolicy,
                on_correction=OnCorrection | None, late=Late, missing_column=MissingColumn,
                null_keys=NullKeys, retrack=Retrack | None,
            ),
            *self._wrong_columns(),
            *self._wrong_source(),
            *self._wrong_missing(),
            *self._wrong_times(),
            *wrong_conditions(self.delete_condition),
        ]  # fmt: skip
        raise_problems("History", problems)

    @property
    def delete_condition(self) -> Condition | None:
        """Which rows of a feed are deletes, where it is said."""
        return None if self.delete_when is None else Condition("delete_when", self.delete_when, "op = 'D'")

    @property
    def reserved(self) -> tuple[str, ...]:
        """Names of the columns that the history adds."""
        hashed = (name for name in (self.durable_key, self.surrogate_key) if name is not None)
        return (self.valid_from, self.valid_to, self.is_current, *hashed)

    @property
    def states_changes(self) -> bool:
        """Whether a batch says something about its own keys only: a feed of changes, or a snapshot without deletes."""
        return self.source == "changes" or self.deletes == "ignore"

    @property
    def replaces(self) -> bool:
        """Whether a correction is taken rather than refused."""
        return self.on_correction == "replace" or (self.on_correction is None and self.source == "snapshot")

    @property
    def sifted_keys(self) -> tuple[str, ...]:
        """Columns whose null leaves a row out of the batch; none where it is an error."""
        return () if self.null_keys == "error" else tuple(self.keys)

    @property
    def is_whole_truth(self) -> bool:
        """Whether what a batch leaves out is gone or ended afterwards."""
        return not self.states_changes

    def _wrong_columns(self) -> Iterable[str]:
        if len(set(self.reserved)) < len(self.reserved):
            yield f"each column that the history adds needs a name of its own, not {list(self.reserved)}"
        roles = {"effective_column": self.effective_column, "sequence_by": self.sequence_by}
        used: dict[str, str] = dict.fromkeys(self.keys, "keys")
        for role, column in roles.items():
            if column in used:
                yield f"`{role}` names `{column}`, which is already in `{used[column]}`; a column has one role"
            elif column is not None:
                used[column] = role
        for role in ("track", "ignore", "overwrite_columns"):
            for column in dict.fromkeys(getattr(self, role) or ()):
                if used.get(column) in ("track", "ignore"):
                    yield f"`{column}` is both in `{used[column]}` and in `{role}`; leave it in one"
                elif column in used:
                    yield f"`{role}` names `{column}`, which is already in `{used[column]}`; a column has one role"
                else:
                    used[column] = role
        for column in used.keys() & set(self.reserved):
            yield f"`{column}` is a column that the history adds; rename yours, or set {', '.join(_OWN)}"

    def _wrong_source(self) -> Iterable[str]:
        if self.source == "changes":
            if self.effective_column is None:
                yield '`source="changes"` needs `effective_column`: the time from which each row holds'
            if self.deletes == "ignore":
                yield "`deletes` is about absence from a snapshot; a feed of changes says its deletes by `delete_when`"
        else:
            if self.sequence_by is not None:
                yield '`sequence_by` orders single statements; it goes with `source="changes"`'
            if self.delete_when is not None and self.deletes == "close":
                yield (
                    '`delete_when` marks single statements; it goes with `source="changes"`, or with `deletes="ignore"`'
                )

    def _wrong_missing(self) -> Iterable[str]:
        if self.missing_column == "carry" and self.states_changes:
            yield (
                '`missing_column="carry"` takes a column from the whole snapshot before, and this source has none: '
                "which statement came before one changes with each late row. Bring the column, or declare "
                '`missing_column="null"`'
            )
        if self.missing_column == "carry" and self.overwrite_columns:
            yield (
                '`missing_column="carry"` and `overwrite_columns` exclude each other: a snapshot without such a column '
                "would say again what was said before it, and which that is changes with each late one. Track the "
                'column, or declare `missing_column="null"`'
            )

    def _wrong_times(self) -> Iterable[str]:
        if self.effective_at is not None and self.effective_column is not None:
            yield "`effective_at` and `effective_column` exclude each other; give one"
        for guard in ("max_delete_fraction", "max_update_fraction"):
            fraction = getattr(self, guard)
            if fraction is not None and (not isinstance(fraction, int | float) or not 0 <= fraction <= 1):
                yield f"`{guard}` is `{fraction}`; give a share from 0 to 1, or None for no guard"
        if self.timezone is not None:
            try:
                zoneinfo.ZoneInfo(self.timezone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                yield f"`timezone` is `{self.timezone}`; give an IANA name such as `Europe/Vienna` or `UTC`"
