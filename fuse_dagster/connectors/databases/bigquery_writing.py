"""How rows get into BigQuery: a load job fills a table beside it, and one job of SQL brings them over, or nothing."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.bigquery_types import loaded_as, made_from, staged_name
from fuse_dagster.connectors.databases.comparing import condition
from fuse_dagster.connectors.databases.failures import IN_DOUBT
from fuse_dagster.connectors.databases.fitting import Fit, fits_of, fitted, refuse_doubled
from fuse_dagster.connectors.databases.fitting import schema_of as fitted_schema
from fuse_dagster.connectors.databases.kinds import word_for
from fuse_dagster.connectors.databases.links import Link
from fuse_dagster.connectors.databases.modes import AppendRows, ReplaceRows, RowsMode, RowsWritten, UpsertRows
from fuse_dagster.connectors.databases.naming import parts_of
from fuse_dagster.connectors.databases.staging import PREFIX, refuse_bad_keys
from fuse_dagster.connectors.databases.upserting import Merge, statements
from fuse_dagster.core.errors import ConfigError, FuseError, OutcomeUnknownError, SchemaError, StoreError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.bigquery import BigQuery
    from fuse_dagster.connectors.database import TableColumn

_LOG = logging.getLogger(__name__)


class BigQueryLink(Link):
    """Statements as jobs, each committed by itself."""

    def __init__(self, database: BigQuery, client: Any) -> None:
        self.database = database
        super().__init__(client, database.dialect)

    def ask(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and read its whole answer."""
        return [tuple(row) for row in self.database.asked(self.connection, text, values)]


def write_rows(database: BigQuery, name: str, rows: pa.RecordBatchReader, how: RowsMode) -> RowsWritten:
    """As `Database.write_rows`: by one job at the end, which changes the table or leaves it.

    Raises:
        InputError: The rows are refused; nothing was written.
        ConfigError: The mode does not fit the table, or it is no name of a table.
        StoreError: The system refuses; nothing was written.
        OutcomeUnknownError: It can't be asked whether the last job ended well.
    """
    began = time.monotonic()
    table = database.located(parts_of(name, most=database.longest_path))
    if table[-1].startswith(PREFIX):
        raise ConfigError(f"`{name}` begins like the tables that fuse_dagster makes for itself. Take another name.")
    refuse_doubled(rows.schema)
    with database.session(writing=True) as client:
        # A job is found again only where it runs.
        location = database.location_of(client, table)
        written = _Writing(database, client, table, name, how, location).write(rows)
    return replace(written, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Writing:
    """One write, by an open client."""

    database: BigQuery
    client: Any
    table: tuple[str, ...]
    name: str
    how: RowsMode
    location: str

    def write(self, rows: pa.RecordBatchReader) -> RowsWritten:
        """Stage the rows, and run the job that brings them over."""
        how = self.how
        once = how.once if isinstance(how, AppendRows) else None
        job_id = f"fuse_{secrets.token_hex(16)}"
        if once is not None:
            found, job_id = self._job_of(once)
            if found:
                return RowsWritten(rows=0, repeated=True)
        columns = self.database.described(self.client, self.table)
        created = not columns
        if created:
            columns = self._make(rows.schema)
        fits = fits_of(self.database.dialect, self.name, columns, rows.schema)
        self._look(fits, columns)
        with self._staged(rows, fits) as (stage, count):
            link = BigQueryLink(self.database, self.client)
            source = _as_the_table(link, link.path(stage), fits)
            if isinstance(how, UpsertRows):
                refuse_bad_keys(link, f"({source})", how.keys)
            text, values = self._statement(link, source, fits, columns)
            job, repeated = self._run(text, values, job_id)
        if repeated:
            return RowsWritten(rows=0, repeated=True, created=created)
        updated = 0
        if isinstance(how, UpsertRows):
            known = job.dml_stats.inserted_row_count if job.dml_stats else job.num_dml_affected_rows
            updated = count - int(known or 0)
        deleted = None if isinstance(how, ReplaceRows) and not created else 0
        return RowsWritten(rows=count, inserted=count - updated, updated=updated, deleted=deleted, created=created)

    def _look(self, fits: Sequence[Fit], columns: Sequence[TableColumn]) -> None:
        """Refuse, before anything is sent, columns that are named and not there."""
        names, there = [fit.name for fit in fits], {column.name for column in columns}
        if isinstance(self.how, UpsertRows):
            for key in self.how.keys:
                if key not in names:
                    raise SchemaError(f"The rows have no key column `{key}`. {did_you_mean(key, names)}")
        if isinstance(self.how, ReplaceRows):
            for one in (one for group in self.how.where for one in group):
                if one.column not in there:
                    unknown = f"`{self.name}` has no column `{one.column}`"
                    raise SchemaError(f"{unknown}. {did_you_mean(one.column, there)}")
        for fit in fits:
            made_from(fit, "")

    def _statement(
        self, link: Link, rows: str, fits: Sequence[Fit], columns: Sequence[TableColumn]
    ) -> tuple[str, list[Any]]:
        how, path = self.how, link.path(self.table)
        names = link.listed([fit.name for fit in fits])
        if isinstance(how, UpsertRows):
            return statements(link, Merge(path, f"({rows})", fits, how))[0], []
        insert = f"INSERT INTO {path} ({names}) {rows}"
        if isinstance(how, AppendRows):
            return insert, []
        text, found = condition(link.dialect, how.where, words={one.name: one.type for one in columns})
        delete = f"DELETE FROM {path} WHERE {text or 'TRUE'}"  # noqa: S608 - of quoted names
        return f"BEGIN TRANSACTION;\n{delete};\n{insert};\nCOMMIT TRANSACTION;", found

    def _run(self, text: str, values: Sequence[Any], job_id: str) -> tuple[Any, bool]:
        """Run the job that changes the table; one of this id that is there already is waited for, not repeated.

        Returns:
            The job, and whether it was somebody else's.
        """
        from google.api_core.exceptions import Conflict

        taken = False
        try:
            try:
                job = self.database.submitted(self.client, text, values, job_id=job_id, location=self.location)
                taken = True
            except Conflict:
                taken = True
                job = self.client.get_job(job_id, location=self.location, retry=self.database.retry())
            failure = self._failure_of(job)
        except FuseError:
            raise
        except Exception as error:
            known = self.database.told(error)
            # Once BigQuery has a job, only the job says whether it failed.
            if known is None or not (taken or known[0] in IN_DOUBT):
                raise
            raise OutcomeUnknownError(
                f"`{self.database.place}` broke off while the job `{job_id}` wrote `{self.name}`, so that it is "
                "unknown whether the rows are there. Look at the job, and write them again if it failed. An append "
                "with `once`, and an upsert, may be repeated without a look."
            ) from None
        if failure is not None:
            raise failure
        return job, job.query != text  # the name of the staging table in it is nobody else's

    def _failure_of(self, job: Any) -> Exception | None:
        """Wait for a job's end, and give what it failed by; None where it did its work.

        Raises:
            Exception: It can't be asked how it ended, which says nothing of what it did.
        """
        if job.state != "DONE":
            try:
                job.result(timeout=self.database.statement_timeout, retry=self.database.retry(), job_retry=None)
            except Exception:
                # Its answer may be lost, or not be ours to read: what counts is what the job says of itself.
                job.reload(retry=self.database.retry(), timeout=max(self.database.connect_timeout, 1.0))
                if job.state != "DONE":
                    raise
        failure: Exception | None = job.exception()
        return failure

    def _job_of(self, once: str) -> tuple[bool, str]:
        """Whether a job has brought the batch already, and else the id of the job to do it."""
        from google.api_core.exceptions import NotFound

        said = "\0".join((*self.table, once))
        base = f"fuse_once_{hashlib.sha256(said.encode()).hexdigest()}"
        number = 0
        while True:
            job_id = f"{base}_{number}"
            try:
                job = self.client.get_job(job_id, location=self.location, retry=self.database.retry())
            except NotFound:
                return False, job_id
            if self._failure_of(job) is None:
                return True, job_id
            number += 1  # a job's id is never given twice

    @contextmanager
    def _staged(self, rows: pa.RecordBatchReader, fits: Sequence[Fit]) -> Iterator[tuple[list[str], int]]:
        """A table beside the table that holds the rows, dropped afterwards; a killed writer's goes after a day."""
        import pyarrow as pa
        import pyarrow.parquet as pq
        from google.cloud import bigquery

        stage = [*self.table[:-1], f"{PREFIX}{secrets.token_hex(8)}"]
        count = 0
        with TemporaryFile(prefix="fuse_") as file:
            schema = fitted_schema(fits)
            schema = pa.schema([field.with_name(staged_name(number)) for number, field in enumerate(schema)])
            with pq.ParquetWriter(file, schema, compression="snappy") as writer:
                for batch in fitted(rows, fits):
                    writer.write_batch(batch.rename_columns(schema.names))
                    count += batch.num_rows
            file.seek(0)
            made = bigquery.Table(".".join(stage), schema=loaded_as(fits))
            made.expires = datetime.now(UTC) + timedelta(days=1)
            self.client.create_table(made, retry=self.database.retry())
            try:
                if count:
                    self._load(file, made, count)
                yield stage, count
            finally:
                try:
                    self.client.delete_table(made, not_found_ok=True, retry=self.database.retry())
                except Exception as error:  # noqa: BLE001 - what became of the rows is known, and it goes by itself
                    _LOG.warning("`%s` is left until tomorrow: %s", ".".join(stage), type(error).__name__)

    def _load(self, file: Any, made: Any, count: int) -> None:
        """Fill the staging table by a load job."""
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            source_format="PARQUET", schema=made.schema, write_disposition="WRITE_EMPTY",
            decimal_target_types=["NUMERIC", "BIGNUMERIC"], labels=self.database.labels,
        )  # fmt: skip
        job = self.client.load_table_from_file(
            file, made.reference, job_id=f"fuse_load_{secrets.token_hex(16)}", job_config=config,
            location=self.location,
        )  # fmt: skip
        job.result(timeout=self.database.statement_timeout)
        if job.output_rows != count:
            raise StoreError(f"BigQuery took {job.output_rows} of {count} rows. Nothing is written. Run this again.")

    def _make(self, schema: pa.Schema) -> Sequence[TableColumn]:
        """Make the table with the types of the rows."""
        link = BigQueryLink(self.database, self.client)
        keys = self.how.keys if isinstance(self.how, UpsertRows) else ()
        missing = [key for key in keys if key not in schema.names]
        if missing:
            raise SchemaError(f"The rows have no key column `{missing[0]}`. {did_you_mean(missing[0], schema.names)}")
        columns = ", ".join(
            f"{link.quoted(field.name)} {word_for(link.dialect, field)}{' NOT NULL' if field.name in keys else ''}"
            for field in schema
        )
        self.database.asked(self.client, f"CREATE TABLE IF NOT EXISTS {link.path(self.table)} ({columns})")
        return self.database.described(self.client, self.table)


def _as_the_table(link: Link, stage: str, fits: Sequence[Fit]) -> str:
    """The SELECT that gives staged rows with the names and types of the table."""
    values = ", ".join(
        f"{made_from(fit, staged_name(number))} AS {link.quoted(fit.name)}" for number, fit in enumerate(fits)
    )
    return f"SELECT {values} FROM {stage}"  # noqa: S608 - of quoted names


__all__ = ["BigQueryLink", "write_rows"]
