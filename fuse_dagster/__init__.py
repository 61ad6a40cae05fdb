"""A lakehouse in Dagster: Delta tables and history (SCD2) as software-defined assets.

Every name is imported on first use, so that `import fuse_dagster` costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuse_dagster.connectors.adls import ADLS
    from fuse_dagster.connectors.base import Connector
    from fuse_dagster.connectors.bigquery import BigQuery
    from fuse_dagster.connectors.database import Database
    from fuse_dagster.connectors.dbfs import DBFS
    from fuse_dagster.connectors.duckdb import DuckDB
    from fuse_dagster.connectors.event_hubs import EventHubs
    from fuse_dagster.connectors.gcs import GCS
    from fuse_dagster.connectors.http_files import HTTPFiles
    from fuse_dagster.connectors.kafka import Kafka
    from fuse_dagster.connectors.lake import Lake
    from fuse_dagster.connectors.local import Local
    from fuse_dagster.connectors.mssql import SQLServer
    from fuse_dagster.connectors.mysql import MySQL
    from fuse_dagster.connectors.odbc import ODBC
    from fuse_dagster.connectors.onelake import OneLake
    from fuse_dagster.connectors.postgres import PostgreSQL
    from fuse_dagster.connectors.profiles import load_profile
    from fuse_dagster.connectors.qdrant import Qdrant
    from fuse_dagster.connectors.rest import REST
    from fuse_dagster.connectors.s3 import S3
    from fuse_dagster.connectors.sftp import SFTP
    from fuse_dagster.connectors.snowflake import Snowflake
    from fuse_dagster.connectors.sparql import SPARQL
    from fuse_dagster.connectors.sqlite import SQLite
    from fuse_dagster.connectors.volumes import Volume
    from fuse_dagster.core.columns import Column
    from fuse_dagster.orchestration.assets import delta_table, history_table
    from fuse_dagster.orchestration.checks import history_checks, table_checks
    from fuse_dagster.orchestration.database_io_manager import DatabaseIOManager
    from fuse_dagster.orchestration.file_io_manager import FileIOManager
    from fuse_dagster.orchestration.files import read_file, write_file
    from fuse_dagster.orchestration.io_manager import DeltaIOManager, DeltaTables
    from fuse_dagster.orchestration.loads import discover, load_table, load_tables
    from fuse_dagster.orchestration.maintenance import maintenance_job
    from fuse_dagster.orchestration.offset_partitions import OffsetPartitions
    from fuse_dagster.orchestration.qdrant_io_manager import QdrantIOManager
    from fuse_dagster.orchestration.reconciling import compare_keys_job
    from fuse_dagster.orchestration.spark import SparkResource
    from fuse_dagster.orchestration.sql_models import sql_model
    from fuse_dagster.orchestration.watermarks import watermark_check
    from fuse_dagster.quality.rules import Rule, split

__version__ = "0.1.0"

# name -> module below this package. A test compares it with the imports above and with __all__.
_WHERE = {
    "ADLS": "connectors.adls",
    "BigQuery": "connectors.bigquery",
    "Column": "core.columns",
    "Connector": "connectors.base",
    "DBFS": "connectors.dbfs",
    "Database": "connectors.database",
    "DatabaseIOManager": "orchestration.database_io_manager",
    "DeltaIOManager": "orchestration.io_manager",
    "DeltaTables": "orchestration.io_manager",
    "DuckDB": "connectors.duckdb",
    "EventHubs": "connectors.event_hubs",
    "FileIOManager": "orchestration.file_io_manager",
    "GCS": "connectors.gcs",
    "HTTPFiles": "connectors.http_files",
    "Kafka": "connectors.kafka",
    "Lake": "connectors.lake",
    "Local": "connectors.local",
    "MySQL": "connectors.mysql",
    "ODBC": "connectors.odbc",
    "OffsetPartitions": "orchestration.offset_partitions",
    "OneLake": "connectors.onelake",
    "REST": "connectors.rest",
    "Qdrant": "connectors.qdrant",
    "QdrantIOManager": "orchestration.qdrant_io_manager",
    "PostgreSQL": "connectors.postgres",
    "Rule": "quality.rules",
    "SFTP": "connectors.sftp",
    "SPARQL": "connectors.sparql",
    "S3": "connectors.s3",
    "SQLServer": "connectors.mssql",
    "SQLite": "connectors.sqlite",
    "Snowflake": "connectors.snowflake",
    "SparkResource": "orchestration.spark",
    "Volume": "connectors.volumes",
    "compare_keys_job": "orchestration.reconciling",
    "delta_table": "orchestration.assets",
    "discover": "orchestration.loads",
    "history_checks": "orchestration.checks",
    "history_table": "orchestration.assets",
    "load_profile": "connectors.profiles",
    "load_table": "orchestration.loads",
    "load_tables": "orchestration.loads",
    "maintenance_job": "orchestration.maintenance",
    "read_file": "orchestration.files",
    "split": "quality.rules",
    "sql_model": "orchestration.sql_models",
    "table_checks": "orchestration.checks",
    "watermark_check": "orchestration.watermarks",
    "write_file": "orchestration.files",
}

__all__ = [
    "ADLS",
    "DBFS",
    "GCS",
    "ODBC",
    "REST",
    "S3",
    "SFTP",
    "SPARQL",
    "BigQuery",
    "Column",
    "Connector",
    "Database",
    "DatabaseIOManager",
    "DeltaIOManager",
    "DeltaTables",
    "DuckDB",
    "EventHubs",
    "FileIOManager",
    "HTTPFiles",
    "Kafka",
    "Lake",
    "Local",
    "MySQL",
    "OffsetPartitions",
    "OneLake",
    "PostgreSQL",
    "Qdrant",
    "QdrantIOManager",
    "Rule",
    "SQLServer",
    "SQLite",
    "Snowflake",
    "SparkResource",
    "Volume",
    "compare_keys_job",
    "delta_table",
    "discover",
    "history_checks",
    "history_table",
    "load_profile",
    "load_table",
    "load_tables",
    "maintenance_job",
    "read_file",
    "split",
    "sql_model",
    "table_checks",
    "watermark_check",
    "write_file",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
