"""Azure's blob storage for tests: Azurite, as a child process on a free port."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from fuse_dagster_tests.house.source import ROOT

PROGRAM = ROOT / ".venv" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
# Printed in Azurite's manual: the same for everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "lake"


@dataclass(frozen=True)
class AzuriteServer:
    """A running server with one container.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int

    @property
    def endpoint(self) -> str:
        """Address of the account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def put(self, path: str, data: bytes = b"", **query: str) -> None:
        """Write a blob, or make a container, as somebody else would."""
        address = f"{self.endpoint}/{quote(path)}?{urlencode(query)}&{sas_token()}"
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
        request = urllib.request.Request(address, data=data, method="PUT", headers=headers)
        urllib.request.urlopen(request, timeout=5).close()


def sas_token(rights: str = "rwdlacup") -> str:
    """A signature of the account's, with these rights for every container and blob."""
    start, end, version = "2024-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2021-12-02"
    said = f"{ACCOUNT}\n{rights}\nb\nsco\n{start}\n{end}\n\nhttps,http\n{version}\n\n"
    signature = hmac.new(base64.b64decode(KEY), said.encode(), hashlib.sha256).digest()
    fields = {"sv": version, "ss": "b", "srt": "sco", "sp": rights, "st": start, "se": end, "spr": "https,http"}
    return urlencode({**fields, "sig": base64.b64encode(signature).decode()})


def missing() -> str:
    """Why the server can't start here; empty where it can."""
    if not PROGRAM.exists():
        return "Azurite is not installed: run .ci/azurite"
    return "" if shutil.which("node") else "Azurite needs Node, and there is no `node` here"


@contextlib.contextmanager
def azurite_server(folder: Path) -> Iterator[AzuriteServer]:
    """Start the server, make the container, and end the server afterwards.

    Args:
        folder: Where it keeps its log; its data stay in memory.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = AzuriteServer(int(free.getsockname()[1]))
    folder.mkdir(parents=True)
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    command = ["node", str(PROGRAM), *options, "--blobHost", "127.0.0.1", "--blobPort", str(server.port)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _make_container(process, server, folder / "log.txt")
        yield server
    finally:
        process.kill()
        process.wait()


def _make_container(process: subprocess.Popen[bytes], server: AzuriteServer, log: Path) -> None:
    patience = time.monotonic() + 60
    while True:
        try:
            server.put(CONTAINER, restype="container")
        except OSError:
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        else:
            return
