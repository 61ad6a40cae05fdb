"""What a batch's statements mean for the rows of a table: which come, which are replaced, marked, or removed."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from fuse_dagster.core.errors import CorrectionError, TableStateError
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.rows import ROW, Rows
from fuse_dagster.tables.samples import KNOWN, samples
from fuse_dagster.tables.upserting.stating import Stated

_NEW = "__fuse_new"


def _none() -> pl.Series:
    return pl.Series(ROW, [], dtype=pl.Int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What happens to the rows of a table.

    Attributes:
        inserts: Indices of the stated rows whose key is new.
        updates: Indices of the stated rows that replace a row.
        replaced: Numbers of the rows that they replace.
        removed: Numbers of the rows that a delete takes out.
        marked: Numbers of the rows that a delete marks.
        closing: Stated deletes that delete or mark a key.
        known: Keys of the table that are not marked, where the batch is the whole truth.
        absent: Of these, numbers of the rows whose key the batch leaves out.
    """

    inserts: pl.Series
    updates: pl.Series = field(default_factory=_none)
    replaced: pl.Series = field(default_factory=_none)
    removed: pl.Series = field(default_factory=_none)
    marked: pl.Series = field(default_factory=_none)
    closing: int = 0
    known: int = 0
    absent: pl.Series = field(default_factory=_none)


def decide(rows: Rows, stated: Stated, mode: Upsert) -> Decided:
    """Hold each statement against the row of its key.

    Args:
        rows: Rows of the table, at least all that hold a stated key; all of them where the batch is the whole truth.
        stated: The batch.
        mode: The declaration.

    Raises:
        TableStateError: A key that is stated or left out stands more than once in the table, or is null there.
        CorrectionError: A row says something else than the table, with the same sequence.
        ConfigError: `update_when` does not fit the columns.
    """
    condition = mode.update_condition
    if condition is not None:
        condition.refuse_unknown(new=stated.rows.columns, old=[*rows.schema])
    numbers = _numbers(rows, stated, mode)
    is_new = numbers.is_null() if mode.keeps_deletes else numbers.is_null() & ~stated.deleted
    known, absent = _absent(rows, numbers, mode)
    inserts, found = is_new.arg_true(), numbers.is_not_null().arg_true()
    if mode.when_matched == "ignore" or found.is_empty():
        return Decided(inserts=inserts, known=known, absent=absent)
    pairs = _Pairs(rows, stated.rows[found], stated.deleted.gather(found), numbers.gather(found), mode)
    replaces, closes = pairs.judge()
    # A delete that is kept as a row replaces the row of its key like any other.
    taken = _none() if mode.keeps_deletes else pairs.numbers.filter(closes)
    return Decided(
        inserts=inserts,
        updates=found.filter(replaces),
        replaced=pairs.numbers.filter(replaces),
        removed=taken if mode.soft_delete is None else taken.clear(),
        marked=taken.clear() if mode.soft_delete is None else taken,
        closing=int(closes.sum()),
        known=known,
        absent=absent,
    )


def _numbers(rows: Rows, stated: Stated, mode: Upsert) -> pl.Series:
    """Per stated row the number of the table's row with its key, or null."""
    keys = list(mode.keys)
    held = rows.columns(keys)
    met = stated.rows.select(keys).with_row_index(_NEW).join(held, on=keys, how="left", maintain_order="left")
    if met.height > stated.rows.height:
        _refuse_rows(rows, met.filter(met[_NEW].is_duplicated()).select(keys), "keys of the batch")
    return met[ROW]


def _refuse_rows(rows: Rows, found: pl.DataFrame, what: str) -> None:
    odd = found.unique(maintain_order=True)
    raise TableStateError(
        f"{odd.height} {what} stand more than once in `{rows.uri}`, or are null there: {samples(odd)}; nothing was "
        "written, because an upsert replaces the one row of a key. Write these keys once by "
        f"`Overwrite(replace_keys={odd.columns})`, or delete the rows"
    )


def _absent(rows: Rows, numbers: pl.Series, mode: Upsert) -> tuple[int, pl.Series]:
    """How many keys hold, and the numbers of those that the batch leaves out."""
    if mode.absent == "keep":
        return 0, _none()
    held = pl.int_range(0, rows.height, dtype=pl.Int64, eager=True).alias(ROW)
    if mode.soft_delete is not None:
        held = held.filter(~rows.columns([mode.soft_delete])[mode.soft_delete].fill_null(False))
    left_out = held.to_frame().join(numbers.drop_nulls().to_frame(ROW), on=ROW, how="anti", maintain_order="left")[ROW]
    keys = rows.columns(mode.keys).select(mode.keys)[left_out]
    odd = keys.filter(keys.is_duplicated() | keys.select(pl.any_horizontal(pl.all().is_null())).to_series())
    if odd.height:
        _refuse_rows(rows, odd, "keys that the batch leaves out")
    return len(held), left_out


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Stated rows beside the table's rows of their keys, which are read column by column.

    Attributes:
        rows: The table.
        new: Stated rows whose key the table holds.
        deleted: Per row, whether it is a delete.
        numbers: Per row, the number of the table's row.
        mode: The declaration.
    """

    rows: Rows
    new: pl.DataFrame
    deleted: pl.Series
    numbers: pl.Series
    mode: Upsert

    def judge(self) -> tuple[pl.Series, pl.Series]:
        """Which stated rows take the place of the table's, and which are deletes that end a key."""
        agrees, was_marked = self._agrees(), self._was_marked()
        newer = self._newer(agrees, was_marked)
        wanted = ~agrees & self._update_is_wanted() | was_marked
        replaces = newer & ~self.deleted & wanted
        if self.mode.keeps_deletes:
            replaces = replaces | newer & self.deleted
        return replaces, newer & self.deleted & ~was_marked

    def old(self, name: str) -> pl.Series:
        """A column of the table's rows."""
        return self.rows.columns([name])[name].gather(self.numbers)

    def _newer(self, agrees: pl.Series, was_marked: pl.Series) -> pl.Series:
        """Which rows are above the table's; without a sequence all of them are."""
        name = self.mode.sequence_by
        if name is None:
            return pl.repeat(True, self.new.height, eager=True)
        old = self.old(name)
        says_the_same = agrees & (self.deleted == was_marked)
        if not self.mode.keeps_deletes:
            says_the_same = says_the_same & ~self.deleted
        self._refuse_contradictions((self.new[name] == old).fill_null(False) & ~says_the_same)
        # A row without a sequence was written before there was one.
        return (self.new[name] > old).fill_null(True)

    def _refuse_contradictions(self, clashes: pl.Series) -> None:
        clash = clashes.arg_true()
        if clash.is_empty():
            return
        beside = [name for name in self.new.columns if name not in self.mode.keys]
        known = [self.old(name).gather(clash).alias(KNOWN + name) for name in beside]
        raise CorrectionError(
            f"{len(clash)} rows say something else than the table, with the same `{self.mode.sequence_by}`: "
            f"{samples(self.new[clash].with_columns(known))}; nothing was written, because neither is newer. Fix the "
            f"source, or give such rows a higher `{self.mode.sequence_by}`"
        )

    def _agrees(self) -> pl.Series:
        """Which rows hold the table's values; null equals null, and NaN equals NaN."""
        agrees = pl.repeat(True, self.new.height, eager=True)
        for name in self.new.columns:
            if name not in self.mode.keys:
                agrees = agrees & self.new[name].eq_missing(self.old(name))
        return agrees

    def _was_marked(self) -> pl.Series:
        name = self.mode.soft_delete
        if name is None:
            return pl.repeat(False, self.new.height, eager=True)
        return self.old(name).fill_null(False)

    def _update_is_wanted(self) -> pl.Series:
        condition = self.mode.update_condition
        if condition is None:
            return pl.repeat(True, self.new.height, eager=True)
        names = dict.fromkeys(name for side, name in condition.columns if side == "old")
        return condition.met(self.new, pl.DataFrame([self.old(name).alias(name) for name in names]))
