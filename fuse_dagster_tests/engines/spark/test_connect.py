"""Spark Connect, on a server that runs here: the same functions work on its session."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.slow]

# In processes of their own: pyspark speaks either to a server or to its own JVM. The jar of the server comes with
# pyspark, and runs as a plugin of a session.
SERVER = """
    import sys
    from fuse_dagster.engines.spark.session import spark_session

    session = spark_session({
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.port": sys.argv[1],
    })
    print("ready", flush=True)
    sys.stdin.read()
    session.stop()
"""

CLIENT = """
    import json, os, sys
    import polars as pl

    from fuse_dagster.core.errors import FuseError
    from fuse_dagster.engines.local.frames import to_polars
    from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
    from fuse_dagster.engines.spark.reading import scan
    from fuse_dagster.engines.spark.session import spark_session
    from fuse_dagster.engines.spark.sql import query

    def refused(call):
        try:
            call()
        except FuseError as error:
            return type(error).__name__

    server = f"sc://localhost:{sys.argv[1]}"
    session = spark_session({"spark.sql.shuffle.partitions": 3}, remote=server)
    frame = pl.DataFrame({"n": [1, 2, None], "t": [None, "x", "y"]})
    given = to_spark(session, frame)
    given.write.format("delta").save(os.path.abspath("t"))
    rows = from_spark(scan(session, os.path.abspath("t"), where="n = 2", columns=["t"])).rows()
    print(json.dumps({
        "module": type(session).__module__,
        "is_spark": is_spark(given),
        "back": from_spark(given).equals(frame),
        "accepted": to_polars(given).equals(frame),
        "conf": [session.conf.get("spark.sql.shuffle.partitions"), session.conf.get("spark.sql.session.timeZone")],
        "rows": rows,
        "sql": from_spark(query(session, "SELECT sum(n) AS s FROM a", {"a": frame})).item(),
        "absent": refused(lambda: scan(session, "/nowhere")),
        "column": refused(lambda: query(session, "SELECT nope FROM a", {"a": frame})),
        "cast": refused(lambda: from_spark(query(session, "SELECT t::INT AS i FROM a", {"a": frame}))),
        "fixed": refused(lambda: spark_session({"spark.driver.memory": "7g"}, remote=server)),
    }))
"""


def start(program: str, port: int, folder: Path) -> subprocess.Popen[str]:
    with (folder / "stderr").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
        )


def test_a_connect_session_reads_converts_and_queries(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = [tmp_path / name for name in ("server", "client")]
    for folder in folders:
        folder.mkdir()
    with start(SERVER, port, folders[0]) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n", (folders[0] / "stderr").read_text()[-3000:]
        with start(CLIENT, port, folders[1]) as client:
            out, _ = client.communicate(timeout=300)
        server.communicate()  # the end of its input ends it
    assert client.returncode == 0, (folders[1] / "stderr").read_text()[-3000:]
    assert json.loads(out.splitlines()[-1]) == {
        "module": "pyspark.sql.connect.session",
        "is_spark": True,
        "back": True,
        "accepted": True,
        "conf": ["3", "UTC"],
        "rows": [["x"]],
        "sql": 3,
        "absent": "TableNotFoundError",
        "column": "ConfigError",
        "cast": "InputError",
        "fixed": "ConfigError",
    }
