"""SQL models: an asset that is one SELECT over its upstream assets, run on DuckDB, with its column lineage."""

# Dagster reads the annotations of the function made here, so they are not postponed.
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import dagster as dg

from fuse_dagster.core.columns import Column
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.sql import query
from fuse_dagster.engines.spark.frames import is_spark
from fuse_dagster.engines.spark.sql import query as query_with_spark
from fuse_dagster.orchestration.assets import CommonOptions, declare
from fuse_dagster.orchestration.declarations import Declaration, PartitionBy, raise_together
from fuse_dagster.orchestration.engine import EngineFrame
from fuse_dagster.orchestration.metadata import COLUMN_LINEAGE, LINEAGE_TABLE, lineage_table, to_lineage
from fuse_dagster.sql.lineage import column_lineage, tables_read
from fuse_dagster.tables import Overwrite, WriteMode

_FRAME = dg.DagsterType(name="EngineFrame", type_check_fn=lambda _, __: True, typing_type=EngineFrame)
_UNSAID = dg.AssetIn().dagster_type


def sql_model(
    name: str | None = None,
    sql: str | Path = "",
    *,
    inputs: Mapping[str, dg.AssetIn | dg.AssetKey | str] | None = None,
    mode: WriteMode | None = None,
    partition_by: PartitionBy | None = None,
    columns: Mapping[str, Column] | None = None,
    **asset: Unpack[CommonOptions],
) -> dg.AssetsDefinition:
    """Make an asset of one SELECT over upstream assets.

    The tables that it reads are its dependencies: `silver.flights` is the asset `silver/flights`, unless `inputs` names
    another. It reads nothing else: no file, no address. Each input arrives lazily, and filters and columns are pushed
    down to the files. Where the IO manager has Spark, the SQL is translated and runs there. Column lineage is taken
    from the SQL.

    Args:
        name: Name of the asset; may be left out where `key` is given.
        sql: A DuckDB SELECT, or the path of a file that holds one; the file's leading comment lines describe the asset.
        inputs: Table in the SQL -> the asset it stands for: a key, its text form `silver/flights`, or an `AssetIn`
            whose metadata asks for columns, a version or a moment of a history.
        mode: `Overwrite` (the default), `Append` or `Upsert`.
        partition_by: Column that decides which rows belong to a Dagster partition.
        columns: What to say about the columns: description, key, mask.
        **asset: What `dagster.asset` takes.

    Returns:
        The asset.

    Raises:
        ConfigError: The SQL is not one SELECT, or declarations can't work, all of them, when the module loads.

    Examples:
        >>> model = sql_model("busiest", "SELECT origin, count(*) AS flights FROM silver.flights GROUP BY origin")
        >>> sorted(key.to_user_string() for key in model.dependency_keys)
        ['silver/flights']
    """
    text = sql.read_text(encoding="utf-8") if isinstance(sql, Path) else sql
    problems: list[str] = []
    upstream = _inputs(text, inputs or {}, problems)
    declared = Declaration(mode=mode or Overwrite(), partition_by=partition_by, columns=columns or {})
    arguments = declare(declared, {**({"name": name} if name else {}), **asset}, problems)
    label = name or (sql.stem if isinstance(sql, Path) else str(asset.get("key")))
    raise_together(problems, f"sql_model `{label}`")
    arguments["metadata"] |= {"sql": dg.MetadataValue.md(f"```sql\n{text.strip()}\n```")}
    arguments["description"] = arguments.get("description") or _leading_comment(text) or None
    arguments["kinds"] = {*arguments["kinds"], *({"duckdb"} if len(arguments["kinds"]) < 3 else ())}
    parameters = {f"table_{number}": table for number, table in enumerate(upstream)}

    def run_sql(**frames: Any) -> dg.Output[Any]:
        tables = {parameters[parameter]: frame for parameter, frame in frames.items()}
        result = _run(text, tables)
        traced = _traced(text, result, tables, {table: key for table, (key, _) in upstream.items()})
        return dg.Output(result, metadata=_lineage(traced))

    run_sql.__name__ = label.replace("/", "__")
    made = dg.asset(**arguments, ins={p: upstream[table][1] for p, table in parameters.items()})(run_sql)
    assert isinstance(made, dg.AssetsDefinition)
    return made


def _inputs(
    text: str, named: Mapping[str, dg.AssetIn | dg.AssetKey | str], problems: list[str]
) -> dict[str, tuple[dg.AssetKey, dg.AssetIn]]:
    """Table in the SQL -> the asset that it stands for, and how it is read."""
    try:
        read = tables_read(text)
    except ConfigError as error:
        problems.append(str(error))
        return {}
    unused = sorted(named.keys() - set(read))
    if unused:
        problems.append(f"`inputs` names {listing(unused)}, but the SQL reads {listing(read)}.")
    return {table: _input(table, named.get(table, table.replace(".", "/"))) for table in read}


def _input(table: str, said: dg.AssetIn | dg.AssetKey | str) -> tuple[dg.AssetKey, dg.AssetIn]:
    if isinstance(said, dg.AssetIn):
        key = said.key or dg.AssetKey([*(said.key_prefix or ()), *table.split(".")])
        kind = _FRAME if said.dagster_type is _UNSAID else said.dagster_type
        return key, dg.AssetIn(
            key=key, metadata=said.metadata, partition_mapping=said.partition_mapping, dagster_type=kind
        )
    key = dg.AssetKey.from_user_string(said) if isinstance(said, str) else said
    return key, dg.AssetIn(key=key, dagster_type=_FRAME)


def _run(text: str, tables: Mapping[str, Any]) -> Any:
    """Run the SQL where its tables are: on Spark if one of them is a Spark DataFrame, else on DuckDB."""
    in_spark = next((frame for frame in tables.values() if is_spark(frame)), None)
    return query(text, tables) if in_spark is None else query_with_spark(in_spark.sparkSession, text, tables)


def _names(frame: Any) -> list[str]:
    return list(frame.columns if is_spark(frame) else frame.lazy().collect_schema().names())


def _traced(
    text: str, result: Any, tables: Mapping[str, Any], keys: Mapping[str, dg.AssetKey]
) -> dg.TableColumnLineage | None:
    """The result's column lineage; None where the SQL is beyond what can be traced."""
    log = dg.get_dagster_logger()
    try:
        schemas = {table: _names(frame) for table, frame in tables.items()}
        sources = list(column_lineage(text, schemas).values())
    except ConfigError as error:
        # The rows are right: the query ran. Only the picture of where they come from is missing.
        log.warning("The column lineage is left out: %s", error)
        return None
    if len(sources) != len(result.columns):
        log.warning("The column lineage is left out: two columns of the SQL have one name.")
        return None
    named = zip(result.columns, sources, strict=True)
    return to_lineage(
        {column: [(keys[table].to_user_string(), name) for table, name in found] for column, found in named}
    )


def _lineage(traced: dg.TableColumnLineage | None) -> dict[str, dg.TableColumnLineage | dg.MetadataValue[str]]:
    return {} if traced is None else {COLUMN_LINEAGE: traced, LINEAGE_TABLE: lineage_table(traced)}


def _leading_comment(text: str) -> str:
    lines = []
    for line in text.strip().splitlines():
        if not line.strip().startswith("--"):
            break
        lines.append(line.strip().removeprefix("--").strip())
    return " ".join(lines)
