"""Versions that others wrote, brought to our columns: their names, their times, their ends and their flags."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from fuse_dagster.core.errors import FuseError, TimeValueError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.tables.history.timeline import UTC_MICROS
from fuse_dagster.tables.history.times import place, to_instant
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.modes.declaring import raise_problems
from fuse_dagster.tables.samples import samples

Closed = Literal["left", "both"]
_TRUE, _FALSE = ("y", "yes", "t", "true", "1"), ("n", "no", "f", "false", "0")
_DAY = dt.timedelta(days=1)
_LAST_YEAR = 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How others wrote their versions.

    Attributes:
        rename: Column of the table -> its name in the history.
        drop: Columns of the table that are not taken over.
        ends: What the end of an open version is, besides null.
        closed_intervals: `left`: an end is the first moment that no longer belongs. `both`: the last one that does.
        step: From the last moment that belongs to the first that does not.
    """

    rename: Mapping[str, str]
    drop: Sequence[str]
    ends: dt.date | str
    closed_intervals: Closed
    step: dt.timedelta | None

    def __post_init__(self) -> None:
        """Check the arguments; all problems are reported at once."""
        raise_problems("adopt", self._wrong())

    def _wrong(self) -> Iterable[str]:
        if self.ends != "null" and not isinstance(self.ends, dt.date):
            yield f"`ends` is `{self.ends}`; give `null`, or the date or datetime that open versions end at"
        if self.closed_intervals not in get_args(Closed):
            yield f"`closed_intervals` is `{self.closed_intervals}`; valid: 'left', 'both'"
        if self.closed_intervals == "both" and (self.step is None or self.step <= dt.timedelta(0)):
            yield (
                f'`closed_intervals="both"` needs `step`, the time from the last moment of a version to the first '
                f"of the next, such as `timedelta(days=1)` or `timedelta(microseconds=1)`; it is `{self.step}`"
            )
        if self.closed_intervals == "left" and self.step is not None:
            yield '`step` goes with `closed_intervals="both"`; with "left" an end is the start of what follows'
        both = set(self.rename) & set(self.drop)
        if both:
            yield f"`rename` and `drop` both name {sorted(both)}; leave them in one"

    def columns(self, table: Sequence[str], mode: History) -> dict[str, str]:
        """Name in the history -> column of the table, for all that are taken over.

        Raises:
            ConfigError: A column that is named is not there, or two would have one name.
        """
        taken = {self.rename.get(name, name): name for name in table if name not in self.drop}
        raise_problems("adopt", self._misnamed(table, taken, mode))
        return taken

    def _misnamed(self, table: Sequence[str], taken: Mapping[str, str], mode: History) -> Iterable[str]:
        for role, names in {"rename": list(self.rename), "drop": list(self.drop)}.items():
            for name in names:
                if name not in table:
                    yield f"`{role}` names `{name}`, which the table does not have. {did_you_mean(name, table)}"
        counts = Counter(self.rename.get(name, name).lower() for name in table if name not in self.drop)
        doubled = sorted(name for name, count in counts.items() if count > 1)
        if doubled:
            yield f"two columns would be called {doubled}; rename or drop one"
        needed = [mode.valid_from, mode.valid_to, *mode.keys, *(mode.track or ()), *mode.ignore]
        missing = [name for name in dict.fromkeys(needed) if name not in taken]
        if missing:
            yield f"the table has no {missing} (its columns: {list(table)}); say which ones they are by `rename`"


@dataclass(frozen=True, slots=True)
class Converted:
    """Versions in our columns.

    Attributes:
        business: Rows x business columns, named as in the history.
        times: Start and end of each row, named as in the history; None where a problem kept them from being placed.
        problems: What is wrong, one sentence per kind.
    """

    business: pl.DataFrame
    times: pl.DataFrame | None
    problems: tuple[str, ...]


def convert(found: pl.DataFrame, mode: History, layout: Layout) -> Converted:
    """Bring versions that others wrote to our columns.

    Args:
        found: All rows of the table.
        mode: The declaration to adopt it under.
        layout: How they were written.

    Raises:
        ConfigError: A column that is named is not there.
    """
    taken = layout.columns(found.columns, mode)
    problems: list[str] = []
    start = _starts(found, taken[mode.valid_from], mode, problems)
    end = _ends(found, taken[mode.valid_to], mode, layout, problems)
    if mode.is_current in taken:
        _check_flags(found, taken[mode.is_current], end, problems)
    business = found.select(
        pl.col(old).alias(new)
        for new, old in taken.items()
        if new not in mode.reserved and found.schema[old] != pl.Null
    )
    placed = start is not None and end is not None
    times = pl.DataFrame({mode.valid_from: start, mode.valid_to: end}) if placed else None
    if times is not None:
        _check_effective(business, times, mode, problems)
    return Converted(business, times, tuple(problems))


def _starts(found: pl.DataFrame, column: str, mode: History, problems: list[str]) -> pl.Series | None:
    null = found.filter(pl.col(column).is_null())
    if null.height:
        problems.append(f"{null.height} rows have no start (`{column}` is null): {samples(null)}")
    return _placed(found, column, "valid_from", mode, problems)


def _ends(found: pl.DataFrame, column: str, mode: History, layout: Layout, problems: list[str]) -> pl.Series | None:
    """Exclusive ends on the UTC line, null while open."""
    dtype = found.schema[column]
    if dtype == pl.Null:
        return found[column].cast(UTC_MICROS)
    if not isinstance(dtype, pl.Date | pl.Datetime):
        return _placed(found, column, "valid_to", mode, problems)  # which says what it must be
    try:
        never = pl.col(column).is_null() | _is_sentinel(column, dtype, layout.ends, mode.timezone)
    except FuseError as error:
        problems.append(f"`ends` is `{layout.ends}`, which does not fit `{column}`: {error}")
        return None
    far = found.filter(~never & (pl.col(column).dt.year() >= _LAST_YEAR))
    if far.height:
        problems.append(
            f"{far.height} rows end in the year 9999, as {samples(far.select(column), rows=1)}; where that means that "
            "they are open, say so by `ends`, as in `ends=dt.date(9999, 12, 31)`"
        )
        return None
    if layout.step is not None and dtype == pl.Date and layout.step % _DAY:
        problems.append(f"`step` is `{layout.step}`, but `{column}` is a date; give whole days")
        return None
    closed = found.with_columns(pl.when(~never).then(_after(column, dtype, layout.step)).alias(column))
    return _placed(closed, column, "valid_to", mode, problems)


def _after(column: str, dtype: pl.DataType, step: dt.timedelta | None) -> pl.Expr:
    """The first moment that no longer belongs; on the wall clock of dates and naive times, so a day is a day."""
    if step is None:
        return pl.col(column)
    return pl.col(column).dt.offset_by(f"{step.days}d") if dtype == pl.Date else pl.col(column) + step


def _is_sentinel(column: str, dtype: pl.DataType, ends: dt.date | str, zone: str | None) -> pl.Expr:
    """Whether an end stands for never. A date stands for any moment of its day."""
    end = pl.col(column)
    if not isinstance(ends, dt.date):
        return pl.lit(False)
    aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    if not isinstance(ends, dt.datetime):
        days = (
            [end.dt.convert_time_zone(name).dt.date() for name in ("UTC", zone or "UTC")] if aware else [end.dt.date()]
        )
        return pl.any_horizontal(day == ends for day in days)
    if aware:
        return end == to_instant(ends, zone)
    if ends.tzinfo is not None:
        raise TimeValueError("one has a zone and the other has none; give a naive one")
    return end.cast(pl.Datetime("us")) == ends


def _placed(found: pl.DataFrame, column: str, role: str, mode: History, problems: list[str]) -> pl.Series | None:
    try:
        return place(found, column, mode.timezone, role=role)
    except FuseError as error:
        problems.append(str(error))
        return None


def _check_flags(found: pl.DataFrame, column: str, end: pl.Series | None, problems: list[str]) -> None:
    """A flag must be readable, and say what the end says."""
    said = _flags(found[column])
    unclear = found.filter(said.is_null())
    if unclear.height:
        problems.append(
            f"`{column}` says neither yes nor no in {unclear.height} rows: {samples(unclear)}; it holds true or false, "
            "1 or 0, Y or N"
        )
    if end is None:
        return
    wrong = found.filter((said != end.is_null()).fill_null(False))
    if wrong.height:
        problems.append(f"`{column}` contradicts the end in {wrong.height} rows: {samples(wrong)}")


def _flags(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    text = column.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase().to_frame("flag")
    flag = pl.col("flag")
    return text.select(pl.when(flag.is_in(_TRUE)).then(True).when(flag.is_in(_FALSE)).then(False)).to_series()


def _check_effective(business: pl.DataFrame, times: pl.DataFrame, mode: History, problems: list[str]) -> None:
    """A feed's time column is the start of the version that a statement made."""
    column = mode.effective_column
    if mode.source != "changes" or column not in business.columns:
        return
    stated = _placed(business, column, "effective_column", mode, problems)
    if stated is None:
        return
    wrong = business.filter(stated.ne_missing(times[mode.valid_from]))
    if wrong.height:
        problems.append(
            f"`effective_column` `{column}` is another time than the start in {wrong.height} rows: {samples(wrong)}; "
            "drop it, and it is stored from the next batch on"
        )
