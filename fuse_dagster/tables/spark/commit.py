"""The one commit of a write through Spark: a MERGE of planned rows, or one atomic write of all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.engines.spark.failures import failures, refusal, why
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.commit import Committed, LostRaceError, Ticket, landed_as, look_up
from fuse_dagster.tables.spark.worker import DELETE, INSERT, OP
from fuse_dagster.tables.view import TableView, open_view

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

_APP, _VERSION = "spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion"
_SAID = "spark.databricks.delta.commitInfo.userMetadata"
_WALL_TIMES = "timestampNtz"
# Spark's own choice is INT96, of which polars reads the years 1 and 9999 as others, without a word.
_EXACT = {"spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS"}
# These settings belong to the session, which steps of one process may share.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class SparkTable:
    """A table, and the session that reads and writes it.

    Attributes:
        session: Classic, Spark Connect or Databricks Connect.
        view: The table at the version that is planned on.
    """

    session: SparkSession
    view: TableView

    @property
    def sql_name(self) -> str:
        """The table in Spark's SQL."""
        return f"delta.{quoted(self.view.uri)}"

    @property
    def layout(self) -> tuple[str, ...]:
        """Its physical partition columns."""
        return tuple(self.view.table.metadata().partition_columns) if self.view.exists else ()

    def schema(self) -> dict[str, pl.DataType]:
        """Column names and polars types; empty where there is no table."""
        return dict(from_spark(self.read().limit(0)).schema) if self.view.exists else {}

    def read(self) -> DataFrame:
        """Its rows, at the version of the view."""
        return self.session.read.format("delta").option("versionAsOf", str(self.view.version)).load(self.view.uri)


def merge(
    table: SparkTable,
    planned: DataFrame,
    *,
    identity: Sequence[str],
    columns: Sequence[str],
    reaching: str | None,
    ticket: Ticket,
    rows_total: int | None,
    null_safe: bool = False,
) -> Committed:
    """Land planned rows by one MERGE.

    Args:
        table: What was planned on.
        planned: `OP` and the table's columns.
        identity: Columns that tell the table's rows apart.
        columns: All columns of the table.
        reaching: SQL over the target, `t.`, that holds for every row that was planned over; files that cannot hold
            one are skipped.
        ticket: What the commit is known by.
        rows_total: Rows of the table afterwards.
        null_safe: Whether null in `identity` equals null.

    Raises:
        LostRaceError: Another commit came first.
        TableStateError: Spark failed; nothing was written.
        OutcomeUnknownError: Spark failed and the log cannot be read.
    """
    view_name = f"fuse_dagster_{ticket.write_id}"
    equals = "<=>" if null_safe else "="
    on = [f"t.{quoted(name)} {equals} s.{quoted(name)}" for name in identity]
    on += [f"s.{OP} <> '{INSERT}'", *([f"({reaching})"] if reaching else [])]
    names = ", ".join(map(quoted, columns))
    updates = ", ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in columns)
    values = ", ".join(f"s.{quoted(name)}" for name in columns)
    statement = " ".join([
        f"MERGE INTO {table.sql_name} t USING {view_name} s ON {' AND '.join(on)}",
        f"WHEN MATCHED AND s.{OP} = '{DELETE}' THEN DELETE",
        f"WHEN MATCHED THEN UPDATE SET {updates}",
        f"WHEN NOT MATCHED AND s.{OP} = '{INSERT}' THEN INSERT ({names}) VALUES ({values})",  # noqa: S608  # names are quoted, values our own
    ])  # fmt: skip
    _before_commit(table.view)
    planned.createOrReplaceTempView(view_name)
    try:
        with known_as(table.session, ticket), landing(table.view, ticket) as outcome:
            outcome.skipped = not table.session.sql(statement).collect()
    finally:
        table.session.catalog.dropTempView(view_name)
    return _committed(table.view, ticket, rows_total)


def save(
    table: SparkTable,
    frame: DataFrame,
    *,
    mode: str,
    ticket: Ticket,
    rows_total: int | None,
    options: Mapping[str, str] | None = None,
    partition_by: Sequence[str] = (),
) -> Committed:
    """Land rows by one atomic write.

    Args:
        table: What was planned on.
        frame: Rows x columns.
        mode: `error` (make the table), `append` or `overwrite`.
        ticket: What the commit is known by.
        rows_total: Rows of the table afterwards; None where only Delta knows.
        options: Of Delta's writer, as `overwriteSchema` or `replaceWhere`.
        partition_by: Physical partition columns of a table that is made, or whose columns are replaced.

    Raises:
        LostRaceError: Another commit came first.
        TableStateError: Spark failed; nothing was written.
        OutcomeUnknownError: Spark failed and the log cannot be read.
    """
    writer: DataFrameWriter = frame.write.format("delta").mode(mode)
    if mode == "overwrite":
        # A session may be set to overwrite only the physical partitions that a batch brings.
        writer = writer.option("partitionOverwriteMode", "static")
    for name, value in (options or {}).items():
        writer = writer.option(name, value)
    if partition_by:
        writer = writer.partitionBy(*partition_by)
    _refuse_wall_times(table, frame)
    _before_commit(table.view)
    with known_as(table.session, ticket), landing(table.view, ticket):
        writer.save(table.view.uri)
    return _committed(table.view, ticket, rows_total)


def _refuse_wall_times(table: SparkTable, frame: DataFrame) -> None:
    """Refuse the first times without a zone of a table: Delta's Spark writer wants to be told that they may come.

    Raises:
        SchemaError: The table lacks the feature.
    """
    wanted = [field.name for field in frame.schema.fields if "timestamp_ntz" in field.dataType.simpleString()]
    if not wanted or not table.view.exists:
        return
    protocol = table.view.table.protocol()
    if _WALL_TIMES not in {*(protocol.writer_features or ()), *(protocol.reader_features or ())}:
        raise SchemaError(
            f"columns {wanted} hold times without a zone, which `{table.view.uri}` has none of yet, and Spark does not "
            "add them on the way. Give the times a zone, or allow them once: "
            f"ALTER TABLE {table.sql_name} SET TBLPROPERTIES ('delta.feature.{_WALL_TIMES}' = 'supported')"
        )


def _before_commit(view: TableView) -> None:
    """Tell whoever asked; not under the lock, because they may write through this session."""
    if view.before_commit is not None:
        view.before_commit()


@contextmanager
def known_as(session: SparkSession, ticket: Ticket) -> Iterator[None]:
    """Have the statements inside commit under a ticket, and write times so that every reader takes them alike."""
    settings = {_SAID: ticket.write_id, **_EXACT}
    for app, version in ticket.transactions.items():
        settings |= {_APP: app, _VERSION: str(version)}
    with _ONE_AT_A_TIME:
        before = {name: session.conf.get(name, None) for name in settings}
        for name, value in settings.items():
            session.conf.set(name, value)
        try:
            yield
        finally:
            for name, was in before.items():
                if was is None:
                    session.conf.unset(name)
                else:
                    session.conf.set(name, was)


@dataclass(slots=True)
class Landing:
    """What a statement said of itself.

    Attributes:
        skipped: Whether Delta found the ticket's transaction in the log, and so did nothing.
    """

    skipped: bool = False


@contextmanager
def landing(view: TableView, ticket: Ticket) -> Iterator[Landing]:
    """Find out what became of a commit.

    Raises:
        LostRaceError: It did not land because the table had changed.
        TableStateError: It failed for another reason; nothing was written.
        StoreError, StoreUnavailableError: The store is the reason; nothing was written.
        OutcomeUnknownError: It failed and the log could not be read.
    """
    outcome = Landing()
    try:
        yield outcome
    except failures() as error:
        newest, version = look_up(view, ticket.write_id, view.version, error)
        if version is None and newest > view.version:
            raise LostRaceError from error
        if version is None:
            raise refusal(error, view.uri) or TableStateError(
                f"writing to `{view.uri}` through Spark failed, and nothing was written: {why(error)}"
            ) from error
    if outcome.skipped:
        raise LostRaceError


def _committed(view: TableView, ticket: Ticket, rows_total: int | None) -> Committed:
    now = open_view(view.uri, view.storage_options)
    version = landed_as(now, ticket.write_id, view.version)
    if version is None:
        # Delta skips a write whose transaction is known, without a word.
        raise LostRaceError
    files = now.files() if now.version == version else None
    before = view.files()
    if files is None:
        return Committed(version, rows_total=rows_total)
    new = files.join(before.select("path"), on="path", how="anti")
    total = now.count_rows() if rows_total is None else rows_total
    return Committed(version, new.height, int(new["size_bytes"].sum()), total)
