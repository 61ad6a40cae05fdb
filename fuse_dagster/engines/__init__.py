"""Where frames are read and computed: `local` is polars, DuckDB and delta-rs in this process."""
