"""The engine of one machine: polars, DuckDB and delta-rs, without a JVM."""
