"""The one door for rows into a table of a database: a stream and a mode in, what was committed out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.comparing import condition
from fuse_dagster.connectors.databases.failures import IN_DOUBT
from fuse_dagster.connectors.databases.fitting import Fit, fits_of, refuse_doubled
from fuse_dagster.connectors.databases.indexes import is_guarded
from fuse_dagster.connectors.databases.kinds import word_for
from fuse_dagster.connectors.databases.links import link_of
from fuse_dagster.connectors.databases.modes import (
    AppendRows,
    ReplaceRows,
    RowsMode,
    RowsWritten,
    UpsertRows,
)
from fuse_dagster.connectors.databases.naming import parts_of
from fuse_dagster.connectors.databases.remembering import LOADS, make_memory, remember
from fuse_dagster.connectors.databases.staging import PREFIX, refuse_bad_keys, staged, taken_from
from fuse_dagster.connectors.databases.swapping import alone, can_swap, swapped, sweep
from fuse_dagster.connectors.databases.upserting import Merge, matched, refuse_unguarded, statements
from fuse_dagster.core.errors import ConfigError, FuseError, OutcomeUnknownError, SchemaError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.database import Database
    from fuse_dagster.connectors.databases.links import Link


def write_rows(
    database: Database,
    name: str,
    rows: pa.RecordBatchReader,
    how: RowsMode,
) -> RowsWritten:
    """Write rows to a table in one transaction, or not at all; the table is made where there is none.

    Args:
        database: Where the table is.
        name: The table, as `schema.table`.
        rows: Consumed once; memory holds a few batches.
        how: `AppendRows`, `ReplaceRows` or `UpsertRows`.

    Raises:
        InputError: The rows are refused; nothing was written.
        ConfigError: The mode does not fit the table, or it is no name of a table.
        StoreError: The system refuses; nothing was written.
        StoreUnavailableError: It can't be reached, or broke off before the commit; nothing was written.
        OutcomeUnknownError: It broke off during the commit.
    """
    began = time.monotonic()
    table = parts_of(name, most=database.longest_path)
    if table[-1].startswith(PREFIX):
        raise ConfigError(f"`{name}` begins like the tables that fuse_dagster makes for itself. Take another name.")
    refuse_doubled(rows.schema)
    with database.session(writing=True) as connection:
        link = link_of(connection, database.dialect)
        written = _Writing(database, link, table, name, how).write(rows)
    return replace(written, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Writing:
    """One write, on an open connection."""

    database: Database
    link: Link
    table: Sequence[str]
    name: str
    how: RowsMode

    def write(self, rows: pa.RecordBatchReader) -> RowsWritten:
        """Write the rows, and commit."""
        try:
            written = self._written(rows)
            self.link.in_doubt = True
            self.link.commit()
        except FuseError:
            raise
        except Exception as error:
            known = self.database.told(error)
            if not self.link.in_doubt or known is None or known[0] not in IN_DOUBT:
                raise
            raise OutcomeUnknownError(
                f"`{self.database.place}` broke off during the commit of `{self.name}`, so that it is unknown whether "
                "the rows are there. Look at the table, and write them again if not. An append with `once`, and "
                "an upsert, may be repeated without a look."
            ) from None
        return written

    def _written(self, rows: pa.RecordBatchReader) -> RowsWritten:
        how, link = self.how, self.link
        columns = self._described(self.table)
        if link.dialect.name == "mysql" and columns:
            self._look_at_mysql()
        if isinstance(how, AppendRows) and how.once is not None:
            make_memory(link, self.table, there=bool(self._described([*self.table[:-1], LOADS])))
        created = not columns
        if created:
            columns = self._make(rows.schema)
        fits = fits_of(link.dialect, self.name, columns, rows.schema)
        if isinstance(how, AppendRows):
            written = self._append(rows, fits, how)
        elif isinstance(how, ReplaceRows):
            written = self._replace(rows, fits, how, columns, created=created)
        else:
            written = self._upsert(rows, fits, how, columns)
        return replace(written, created=created)

    def _append(self, rows: pa.RecordBatchReader, fits: Sequence[Fit], how: AppendRows) -> RowsWritten:
        if how.once is not None and not remember(self.link, self.table, how.once, datetime.now(UTC).isoformat()):
            return RowsWritten(rows=0, repeated=True)
        count = self._fill(rows, fits)
        return RowsWritten(rows=count, inserted=count)

    def _replace(
        self,
        rows: pa.RecordBatchReader,
        fits: Sequence[Fit],
        how: ReplaceRows,
        columns: Sequence[TableColumn],
        *,
        created: bool,
    ) -> RowsWritten:
        link, there = self.link, {column.name for column in columns}
        for comparison in (one for group in how.where for one in group):
            if comparison.column not in there:
                unknown = f"`{self.name}` has no column `{comparison.column}`"
                raise SchemaError(f"{unknown}. {did_you_mean(comparison.column, there)}")
        if how.by == "swap" and not how.where and not created and can_swap(link, fits):
            count = swapped(link, self.table, fits, rows)
            return RowsWritten(rows=count, inserted=count, deleted=None)
        deleted: int | None = 0 if created else self._empty(how, columns)
        count = self._fill(rows, fits)
        return RowsWritten(rows=count, inserted=count, deleted=deleted)

    def _upsert(
        self, rows: pa.RecordBatchReader, fits: Sequence[Fit], how: UpsertRows, columns: Sequence[TableColumn]
    ) -> RowsWritten:
        link, names = self.link, [fit.name for fit in fits]
        for key in how.keys:
            if key not in names:
                raise SchemaError(f"The rows have no key column `{key}`. {did_you_mean(key, names)}")
        refuse_unguarded(self.name, how.keys, is_guarded=is_guarded(link, self.table, columns, how.keys))
        stage, count = staged(link, self.table, fits, rows)
        refuse_bad_keys(link, stage, how.keys)
        merge = Merge(link.path(self.table), stage, fits, how)
        updated = matched(link, merge)
        for statement in statements(link, merge):
            link.run(statement)
        link.drop(stage)
        return RowsWritten(rows=count, inserted=count - updated, updated=updated)

    def _fill(self, rows: pa.RecordBatchReader, fits: Sequence[Fit]) -> int:
        """Add rows to the table; by way of a staging table, where the system has to make a type from text."""
        link = self.link
        if not (link.exact and any(fit.kind.family == "other" for fit in fits)):
            return link.load(self.table, rows, fits)
        stage, count = staged(link, self.table, fits, rows)
        names = link.listed([fit.name for fit in fits])
        link.run(
            f"INSERT INTO {link.path(self.table)} ({names}) SELECT {taken_from(link, fits)} FROM {stage}"  # noqa: S608
        )
        return count

    def _empty(self, how: ReplaceRows, columns: Sequence[TableColumn]) -> int | None:
        link, path = self.link, self.link.path(self.table)
        if not how.where and link.dialect.name in {"postgres", "tsql"}:
            link.run(f"TRUNCATE TABLE {path}")
            return None
        words = {column.name: column.type for column in columns}
        text, values = condition(link.dialect, how.where, words=words, quoted=link.quoted)
        deleted = link.run(f"DELETE FROM {path}{f' WHERE {text}' if text else ''}", values)  # noqa: S608 - quoted names
        return None if deleted < 0 else deleted

    def _make(self, schema: pa.Schema) -> Sequence[TableColumn]:
        """Make the table with the types of the rows."""
        link = self.link
        keys = self.how.keys if isinstance(self.how, UpsertRows) else ()
        missing = [key for key in keys if key not in schema.names]
        if missing:
            raise SchemaError(f"The rows have no key column `{missing[0]}`. {did_you_mean(missing[0], schema.names)}")
        parts = [
            f"{link.quoted(field.name)} {word_for(link.dialect, field, key=field.name in keys)}"
            + (" NOT NULL" if field.name in keys else "")
            for field in schema
        ]
        if keys:
            parts.append(f"PRIMARY KEY ({link.listed(keys)})")
        binary = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if link.dialect.name == "mysql" else ""
        link.run(f"CREATE TABLE {link.path(self.table)} ({', '.join(parts)}){binary}")
        return self._described(self.table)

    def _look_at_mysql(self) -> None:
        """Refuse tables without transactions, and drop what a killed writer left."""
        schema = self.table[0] if len(self.table) > 1 else None
        found = self.link.ask(
            "SELECT t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine "
            "WHERE t.table_schema = COALESCE(%s, DATABASE()) AND t.table_name = %s AND e.transactions <> 'YES'",
            [schema, self.table[-1]],
        )
        if found:
            raise ConfigError(
                f"`{self.name}` is a table of the engine `{found[0][0]}`, which has no transactions, so that a crash "
                "would leave half of the rows. Alter it first: ALTER TABLE ... ENGINE = InnoDB."
            )
        with alone(self.link, self.table, 0) as is_alone:
            if is_alone:
                sweep(self.link, self.table)

    def _described(self, parts: Sequence[str]) -> Sequence[TableColumn]:
        return self.database.described(self.link.connection, parts)


__all__ = ["write_rows"]
