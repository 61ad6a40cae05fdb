"""MariaDB, which speaks MySQL's protocol, for tests: a child process on a free port with a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER = "fuse"
PASSWORD = "pass word@of:the/tests"
SETTINGS = (
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--local-infile=ON",
    "--max-connections=60",
    "--skip-log-bin",
    "--skip-name-resolve",
)


@dataclass(frozen=True)
class MariaDBServer:
    """A running server, on which `USER` with `PASSWORD` may do everything.

    Attributes:
        port: Where it listens on 127.0.0.1.
        log: What it says.
        socket: Where its own client reaches it as root.
    """

    port: int
    log: Path
    socket: Path
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD

    def sql(self, text: str, database: str = "") -> list[list[str]]:
        """Run statements as root, by MariaDB's own client.

        Returns:
            The rows of all answers as text; a null is `NULL`.

        Raises:
            AssertionError: The server refuses one.
        """
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-u", "root", "--batch", "-N"]
        said = subprocess.run([*command, database], input=text, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        return [line.split("\t") for line in said.stdout.splitlines()]

    def database(self, name: str) -> str:
        """Make an empty database in place of one of that name, and say its name."""
        quoted = "`" + name.replace("`", "``") + "`"
        self.sql(f"DROP DATABASE IF EXISTS {quoted}; CREATE DATABASE {quoted};")
        return name


def missing() -> str:
    """Why the server can't start here; empty where it can."""
    needed = ("mariadbd", "mariadb-install-db", "mariadb")
    lacking = [name for name in needed if shutil.which(name, path=_path()) is None]
    return f"MariaDB is not installed: apt-get install mariadb-server ({', '.join(lacking)})" if lacking else ""


@contextlib.contextmanager
def mariadb_server(*settings: str) -> Iterator[MariaDBServer]:
    """Make the server's own tables, start it, and end it and remove its folder afterwards.

    Args:
        settings: Options of `mariadbd`, added to those that make it fast.
    """
    # The path of a socket may have 107 bytes, and those of pytest's folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="fuse-mariadb-"))
    try:
        data = f"--datadir={folder / 'data'}"
        user = ["--user=root"] if os.geteuid() == 0 else []
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--force"]
        command = [_program("mariadb-install-db"), "--no-defaults", data, *options, *user]
        said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert said.returncode == 0, said.stdout + said.stderr
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        server = MariaDBServer(port, folder / "log.txt", folder / "socket")
        with _running(folder, server, [data, *user, *SETTINGS, *settings]):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(folder: Path, server: MariaDBServer, options: list[str]) -> Iterator[None]:
    places = [f"--port={server.port}", f"--socket={server.socket}", f"--pid-file={folder / 'pid'}"]
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            [_program("mariadbd"), "--no-defaults", *options, *places],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        _make_user(process, server)
        yield
    finally:
        process.kill()
        process.wait()


def _make_user(process: subprocess.Popen[bytes], server: MariaDBServer) -> None:
    patience = time.monotonic() + 60
    statement = (
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION"
    )
    while True:
        try:
            server.sql(statement)
        except AssertionError:
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, server.log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)
        else:
            return


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


def _program(name: str) -> str:
    found = shutil.which(name, path=_path())
    assert found is not None, missing()
    return found
