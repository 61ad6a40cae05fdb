"""PostgreSQL for tests: a cluster of its own in a temporary folder, as child processes on a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fuse_dagster.definitions.demo.server import programs, running_as, unprivileged

USER = "fuse"
PASSWORD = "pass word@of:the/tests"  # every sign of it has to be escaped somewhere
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running server, whose superuser is `USER` with `PASSWORD`.

    Attributes:
        port: Where it listens on 127.0.0.1.
        log: What it says.
    """

    port: int
    log: Path
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD

    def sql(self, text: str, database: str = "postgres") -> list[list[str]]:
        """Run statements as the superuser, by `psql`; each by itself, so that `CREATE DATABASE` works.

        Returns:
            The rows of all answers as text; a null is ``.

        Raises:
            AssertionError: The server refuses one.
        """
        command = [str(_program("psql")), "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"]
        address = ["-h", self.host, "-p", str(self.port), "-U", self.user, "-d", database]
        said = subprocess.run(
            [*command, *address],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGPASSWORD": self.password},
        )
        assert said.returncode == 0, said.stderr
        return [line.split("\x1f") for line in said.stdout.splitlines()]

    @contextlib.contextmanager
    def psql(self, text: str, database: str) -> Iterator[IO[bytes]]:
        """Run one command as the superuser that takes what is written to it.

        Raises:
            AssertionError: The server refuses it.
        """
        command = [str(_program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", text]
        address = ["-h", self.host, "-p", str(self.port), "-U", self.user, "-d", database]
        env = {**os.environ, "PGPASSWORD": self.password}
        with subprocess.Popen([*command, *address], stdin=subprocess.PIPE, env=env) as program:
            assert program.stdin is not None
            yield program.stdin
            program.stdin.close()
            assert program.wait() == 0, text

    def database(self, name: str) -> str:
        """Make an empty database in place of one of that name, and say its name."""
        quoted = '"' + name.replace('"', '""') + '"'
        self.sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE);\nCREATE DATABASE {quoted};")
        return name


def missing() -> str:
    """Why the server can't start here; empty where it can."""
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    return ""


def missing_driver() -> str:
    """Why it can't be reached by ODBC here; empty where it can."""
    try:
        import pyodbc
    except ImportError as error:
        return f"There is no ODBC ({error}): apt-get install unixodbc"
    there = "PostgreSQL Unicode" in pyodbc.drivers()
    return "" if there else "PostgreSQL's ODBC driver is not installed: apt-get install odbc-postgresql"


@contextlib.contextmanager
def postgres_server(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Make a cluster, start the server, and end and remove both afterwards.

    Args:
        settings: Of `postgresql.conf`, added to those that make it fast.
    """
    # PostgreSQL runs as anybody but root, who has to be able to enter the folder: those of pytest are private.
    folder = Path(tempfile.mkdtemp(prefix="fuse-postgres-"))
    who = unprivileged()
    if who:
        os.chown(folder, who.pw_uid, who.pw_gid)
    try:
        _make_cluster(folder, who)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        server = PostgresServer(port, folder / "log.txt")
        with _running(folder, server, {**SETTINGS, **(settings or {})}, who):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(folder: Path, who: pwd.struct_passwd | None) -> None:
    word = folder / "password"
    word.write_text(PASSWORD)
    word.chmod(0o644)
    options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync", "--no-instructions"]
    command = [str(_program("initdb")), "-D", str(folder / "data"), "-U", USER, f"--pwfile={word}", *options]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, **running_as(who))
    assert said.returncode == 0, said.stdout + said.stderr


@contextlib.contextmanager
def _running(
    folder: Path, server: PostgresServer, settings: Mapping[str, str], who: pwd.struct_passwd | None
) -> Iterator[None]:
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(_program("postgres")), "-D", str(folder / "data"), "-p", str(server.port), *options]
    with server.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, **running_as(who))
    try:
        _wait(process, server)
        yield
    finally:
        process.send_signal(signal.SIGQUIT)  # it ends its own children at once
        process.wait()


def _wait(process: subprocess.Popen[bytes], server: PostgresServer) -> None:
    ready = [str(_program("pg_isready")), "-q", "-h", server.host, "-p", str(server.port), "-d", "postgres"]
    patience = time.monotonic() + 60
    while subprocess.run(ready, check=False).returncode != 0:
        lost = process.poll() is not None or time.monotonic() > patience
        assert not lost, server.log.read_text(errors="replace")[-2000:]
        time.sleep(0.05)


def _program(name: str) -> Path:
    folder = programs()
    assert folder is not None, missing()
    return folder / name
