"""One file per outside system that holds data; the registry that finds them by name.

Adding one takes its module, a line here, an extra in pyproject.toml, and a test that inherits the contract
suite. Other packages add theirs through the entry point group `fuse_dagster.connectors`.
"""

from __future__ import annotations

from fuse_dagster.connectors.base import Connector
from fuse_dagster.core.registry import Registry

BUILTIN = {
    "adls": "fuse_dagster.connectors.adls:ADLS",
    "bigquery": "fuse_dagster.connectors.bigquery:BigQuery",
    "dbfs": "fuse_dagster.connectors.dbfs:DBFS",
    "duckdb": "fuse_dagster.connectors.duckdb:DuckDB",
    "eventhubs": "fuse_dagster.connectors.event_hubs:EventHubs",
    "gcs": "fuse_dagster.connectors.gcs:GCS",
    "http": "fuse_dagster.connectors.http_files:HTTPFiles",
    "kafka": "fuse_dagster.connectors.kafka:Kafka",
    "local": "fuse_dagster.connectors.local:Local",
    "mssql": "fuse_dagster.connectors.mssql:SQLServer",
    "mysql": "fuse_dagster.connectors.mysql:MySQL",
    "odbc": "fuse_dagster.connectors.odbc:ODBC",
    "onelake": "fuse_dagster.connectors.onelake:OneLake",
    "rest": "fuse_dagster.connectors.rest:REST",
    "qdrant": "fuse_dagster.connectors.qdrant:Qdrant",
    "postgres": "fuse_dagster.connectors.postgres:PostgreSQL",
    "s3": "fuse_dagster.connectors.s3:S3",
    "sftp": "fuse_dagster.connectors.sftp:SFTP",
    "snowflake": "fuse_dagster.connectors.snowflake:Snowflake",
    "sparql": "fuse_dagster.connectors.sparql:SPARQL",
    "sqlite": "fuse_dagster.connectors.sqlite:SQLite",
    "volumes": "fuse_dagster.connectors.volumes:Volume",
}

connectors: Registry[Connector] = Registry(
    "fuse_dagster.connectors",
    Connector,  # type: ignore[type-abstract]  # only compared with, never called
    BUILTIN,
)
"""Every connector that is installed, by the value of its `type`."""

__all__ = ["BUILTIN", "Connector", "connectors"]
