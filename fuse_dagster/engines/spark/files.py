"""Files of rows on Spark: read with the types of the local engine, and brought to this machine part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.addresses import is_local, normal_uri
from fuse_dagster.engines.local.files import Format, Opener, files_below, opened, options_for
from fuse_dagster.engines.local.files import scan_files as scan_locally
from fuse_dagster.engines.local.files.casting import native_of_json
from fuse_dagster.engines.local.files.layouts import CsvOptions, FileOptions
from fuse_dagster.engines.local.files.reading import is_array
from fuse_dagster.engines.local.files.writing import Parts
from fuse_dagster.engines.spark.failures import failures, why
from fuse_dagster.engines.spark.frames import from_arrow, from_spark, spark_schema, to_spark
from fuse_dagster.engines.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

AVRO = "org.apache.spark:spark-avro_2.13:4.1.1"
"""Maven coordinate of Spark's own reader of Avro for pyspark 4.1; platforms bring theirs."""

_NO_VALUE = "\x01null"  # what no CSV holds: by default Spark takes "" in quotes for a missing value, too


def scan_files(
    session: SparkSession,
    address: str,
    layout: Format,
    *,
    options: FileOptions | None = None,
    types: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, str] | None = None,
    opener: Opener | None = None,
) -> DataFrame:
    """Read a file, or all files of a folder, as a Spark DataFrame.

    Spark reads Parquet, CSV, JSON and NDJSON by itself, and Avro where its jar is in the session (`AVRO`); Excel,
    XML and lines of fixed width are read on this machine. The columns and their types are those of the local engine,
    which looks at the first rows.

    Args:
        session: The session that reads. It must reach the storage: credentials are among its settings.
        address: URI or path.
        layout: The format; not Delta.
        options: As for the local engine.
        types: As for the local engine.
        storage_options: For the look at the first rows, as delta-rs takes them.
        opener: As for the local engine.

    Returns:
        The rows, with the types that Delta has: unsigned integers are the next wider signed ones.

    Raises:
        NotThereError: There is nothing at the address.
        InputError: A file can't be read, or has a type that Delta lacks.
        ConfigError: A type that is none, or the session can't read Avro.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
    """
    uri = normal_uri(address)
    chosen = options or options_for(uri, layout)
    local = scan_locally(uri, layout, options=chosen, types=types, storage_options=storage_options, opener=opener)
    if layout in {Format.EXCEL, Format.XML, Format.FIXED}:
        return to_spark(session, local)
    schema = local.collect_schema()
    wanted = spark_schema(schema)
    files = [_named(file) for file in files_below(uri, layout, storage_options)]
    reader = session.read
    try:
        match layout:
            case Format.PARQUET:
                frame = reader.parquet(*files)
            case Format.CSV:
                frame = _read_csv(reader, files, list(schema), chosen)
            case Format.AVRO:
                frame = reader.format("avro").load(files)
            case _:
                read = opener or (lambda file: opened(file, storage_options))
                array = layout is Format.JSON and is_array(files_below(uri, layout, storage_options)[0], read)
                raw = spark_schema({name: native_of_json(dtype) for name, dtype in schema.items()})
                frame = reader.schema(raw).json(files, multiLine=array, mode="FAILFAST")
        return frame.select(*(_cast(field.name, field.dataType) for field in wanted.fields))
    except failures() as error:
        if layout is Format.AVRO and "Failed to find data source: avro" in str(error):
            msg = (
                f"This Spark session can't read Avro. Start it with the jar, as by `spark.jars.packages` = "
                f"`...,{AVRO}`, or annotate the input with another frame than Spark's."
            )
            raise ConfigError(msg) from error
        msg = f"`{uri}` can't be read as {layout} by Spark: {why(error)}. Repair it, or say its format."
        raise InputError(msg) from error


def parts_of(frame: DataFrame) -> Parts:
    """The rows of a Spark DataFrame, brought to this machine by Arrow, one partition at a time.

    Args:
        frame: A classic or a Connect DataFrame.

    Returns:
        Its columns with the types of the local engine, and its rows in its order. Memory holds a partition.
    """
    schema = from_spark(frame.limit(0)).schema
    return Parts(schema=schema, frames=_batches(frame))


def _batches(frame: DataFrame) -> Iterator[pl.DataFrame]:
    packed = frame.mapInArrow(_packer(), "batch binary")
    for row in packed.toLocalIterator():
        yield from_arrow(pa.ipc.open_stream(row["batch"]).read_all())


def _packer() -> Callable[[Any], Any]:
    # Made here, so that it travels to the workers as code: they need pyarrow, and nothing of ours.
    def pack(batches: Any) -> Any:
        import pyarrow as pa

        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.record_batch({"batch": pa.array([sink.getvalue().to_pybytes()], pa.binary())})

    return pack


def _read_csv(reader: Any, files: list[str], names: list[str], options: FileOptions) -> DataFrame:
    """All columns as text, and the text to types afterwards: Spark's own parser makes nulls of what it can't read."""
    assert isinstance(options, CsvOptions)
    found: DataFrame = reader.schema(spark_schema(dict.fromkeys(names, pl.String()))).csv(
        files,
        sep=options.separator,
        header=options.header,
        encoding=options.encoding,
        escape='"',
        nullValue=options.null or _NO_VALUE,
        emptyValue="",
        multiLine=True,
        enforceSchema=True,
        mode="FAILFAST",
    )
    return found


def _cast(name: str, wanted: Any) -> Column:
    from pyspark.sql import functions

    return functions.col(quoted(name)).cast(wanted).alias(name)


def _named(file: str) -> str:
    """A file as Hadoop takes it, whatever signs its name has."""
    plain = file if not is_local(file) else f"file://{file}"
    return "".join(f"\\{sign}" if sign in "*?[]{}\\" else sign for sign in plain)
