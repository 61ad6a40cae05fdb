"""Where the flight board is kept: in a PostgreSQL of the demo's own, or, where there is none, in a file of DuckDB."""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.duckdb import DuckDB
from fuse_dagster.connectors.postgres import PostgreSQL
from fuse_dagster.core.errors import FuseError

NAME = "airport"
"""The database, and the role that owns it."""

FILE = f"{NAME}.duckdb"

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs of each version."""

PORTS = range(15432, 15532)

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 20
shared_buffers = '16MB'
fsync = off
timezone = 'UTC'
"""


class ServerError(FuseError, RuntimeError):
    """The demo's PostgreSQL does not start; the message says why."""


@contextmanager
def flight_board(folder: Path, given: Database | None = None) -> Iterator[Database]:
    """Open the database of the flight board; a server that it needs runs as long as anybody has it open.

    Args:
        folder: Where the demo keeps it.
        given: A database to take instead.

    Raises:
        ServerError: PostgreSQL is there, and does not start.
    """
    if given is not None:
        yield given
    elif why_no_server(folder):
        yield file_board(folder)
    else:
        with _served(folder) as board:
            yield board


def file_board(folder: Path) -> DuckDB:
    """The database in a file, which is made where it isn't there; from then on the board stays in it."""
    folder.mkdir(parents=True, exist_ok=True)
    board = DuckDB(path=str(folder / FILE))
    if not (folder / FILE).exists():
        with board.session(writing=True) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS public")
            connection.commit()
    return board


def why_no_server(folder: Path) -> str:
    """Say why the flight board can't lie in a PostgreSQL of its own; empty where it can."""
    if programs() is None:
        return "PostgreSQL is not installed here"
    if find_spec("adbc_driver_postgresql") is None:
        return 'its driver is not installed (pip install "fuse-dagster[postgres]")'
    folder.mkdir(parents=True, exist_ok=True)
    who = unprivileged()
    if who is not None:
        os.chown(folder, who.pw_uid, who.pw_gid)
        if subprocess.run(["test", "-w", str(folder)], check=False, **running_as(who)).returncode:  # noqa: S603, S607 - no input
            return f"PostgreSQL does not run as root, and `{who.pw_name}` may not enter `{folder}`"
    return f"the flight board already lies in `{folder / FILE}`" if (folder / FILE).exists() else ""


@contextmanager
def _served(folder: Path) -> Iterator[PostgreSQL]:
    """Start the server, unless somebody else has; the last one to leave stops it."""
    with (folder / "users").open("w") as users:
        with _alone(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (folder / "port").exists():
                _make(folder)
            if _control(folder, "status").returncode:
                _start(folder)
        try:
            yield PostgreSQL(
                host="127.0.0.1",
                port=int((folder / "port").read_text()),
                database=NAME,
                user=NAME,
                password=(folder / "password").absolute().as_uri(),
                sslmode="disable",
            )
        finally:
            with _alone(folder):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others still use it
                else:
                    _control(folder, "stop", "-m", "fast")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    """Make the cluster and its database; the file `port` says that it is complete."""
    who = unprivileged()
    shutil.rmtree(folder / "data", ignore_errors=True)
    word = folder / "password"
    word.touch(mode=0o600)
    word.write_text(secrets.token_hex(16))
    if who is not None:
        os.chown(word, who.pw_uid, who.pw_gid)
    options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync", f"--pwfile={word}"]
    _checked(_run(folder, "initdb", "-D", str(folder / "data"), "-U", NAME, *options), folder)
    port = next((port for port in PORTS if _is_free(port)), None)
    if port is None:
        raise ServerError(f"no port from {PORTS[0]} to {PORTS[-1]} is free for the demo's PostgreSQL")
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write(f"{SETTINGS}port = {port}\n")
    _start(folder)
    try:
        login = {"PGPASSWORD": word.read_text()}
        address = ["-h", "127.0.0.1", "-p", str(port), "-U", NAME]
        _checked(_run(folder, "createdb", *address, NAME, more=login), folder)
    finally:
        _control(folder, "stop", "-m", "fast")
    (folder / "port").write_text(str(port))


def _start(folder: Path) -> None:
    log = folder / "data" / "server.log"
    if _control(folder, "start", "-l", str(log)).returncode:
        said = log.read_text(errors="replace")[-1000:] if log.exists() else ""
        raise ServerError(
            f"the demo's PostgreSQL in `{folder}` does not start. Its log `{log}` ends with:\n{said}\nWhere its port "
            f"is taken, end what took it; or remove `{folder}` and the lake's folder `public` to begin anew"
        )


def _control(folder: Path, *what: str) -> subprocess.CompletedProcess[str]:
    return _run(folder, "pg_ctl", "-D", str(folder / "data"), "-w", "-s", *what)


def _checked(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    if done.returncode:
        raise ServerError(f"the demo's PostgreSQL can't be made in `{folder}`: {done.stdout}{done.stderr}")


def _run(
    folder: Path, program: str, *arguments: str, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    found = programs()
    assert found is not None
    return subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        [str(found / program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", **(more or {})},
        **running_as(unprivileged()),
    )


def programs() -> Path | None:
    """Where the programs of the newest PostgreSQL are: Debian keeps the server's out of the path."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


def unprivileged() -> pwd.struct_passwd | None:
    """Who runs the server where we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def running_as(who: pwd.struct_passwd | None) -> dict[str, Any]:
    """What `subprocess` is told to run a program as somebody; nothing for whoever asks."""
    return {} if who is None else {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
