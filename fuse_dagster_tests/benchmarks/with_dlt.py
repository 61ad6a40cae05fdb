"""dlt loads a table of PostgreSQL into Delta; a program of its own, because dlt lives in an environment of its own.

Arguments: the backend, the address as a URL, the table, an empty folder. Prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Load, and say how long it took and how much memory."""
    backend, url, table, folder = sys.argv[1:]
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "DLT_DATA_DIR": folder}
    import dlt
    from dlt.sources.sql_database import sql_table

    began, cpu = time.perf_counter(), time.process_time()
    destination = dlt.destinations.filesystem(f"file://{folder}/lake")
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="bench", pipelines_dir=f"{folder}/state")
    own = {"connectorx": {"backend_kwargs": {"return_type": "arrow", "conn": url}}}
    driver = url.replace("postgresql:", "postgresql+psycopg2:", 1)
    rows = sql_table(driver, table=table, schema="public", backend=backend, **own.get(backend, {}))
    pipeline.run(rows, write_disposition="append", table_format="delta")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "table": f"{folder}/lake/bench/{table}"}))


if __name__ == "__main__":
    main()
