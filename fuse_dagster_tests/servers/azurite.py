"""Azure's blob storage for tests: Azurite, as a child process on a free port."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import shutil
import socket
import ssl
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
ONELAKE = "onelake"  # the one account of OneLake, whose containers are workspaces
# Printed in Azurite's manual: the same for everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "lake"


@dataclass(frozen=True)
class AzuriteServer:
    """A running server with one container in each account.

    Attributes:
        port: Where it listens on 127.0.0.1.
        tls: A certificate that it shows; it then takes tokens of Entra ID as well.
    """

    port: int
    tls: Path | None = None

    @property
    def endpoint(self) -> str:
        """Address of the account."""
        return self.endpoint_of(ACCOUNT)

    def endpoint_of(self, account: str) -> str:
        """Address of one of the accounts."""
        return f"https://localhost:{self.port}/{account}" if self.tls else f"http://127.0.0.1:{self.port}/{account}"

    def put(self, path: str, data: bytes = b"", account: str = ACCOUNT, **query: str) -> None:
        """Write a blob, or make a container, as somebody else would."""
        address = f"{self.endpoint_of(account)}/{quote(path)}?{urlencode(query)}&{sas_token(account=account)}"
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
        request = urllib.request.Request(address, data=data, method="PUT", headers=headers)
        trusted = ssl.create_default_context(cafile=self.tls) if self.tls else None
        urllib.request.urlopen(request, timeout=5, context=trusted).close()


def sas_token(rights: str = "rwdlacup", account: str = ACCOUNT) -> str:
    """A signature of an account's, with these rights for every container and blob."""
    start, end, version = "2024-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2021-12-02"
    said = f"{account}\n{rights}\nb\nsco\n{start}\n{end}\n\nhttps,http\n{version}\n\n"
    signature = hmac.new(base64.b64decode(KEY), said.encode(), hashlib.sha256).digest()
    fields = {"sv": version, "ss": "b", "srt": "sco", "sp": rights, "st": start, "se": end, "spr": "https,http"}
    return urlencode({**fields, "sig": base64.b64encode(signature).decode()})


def missing() -> str:
    """Why the server can't start here; empty where it can."""
    if not PROGRAM.exists():
        return "Azurite is not installed: run .ci/azurite"
    return "" if shutil.which("node") else "Azurite needs Node, and there is no `node` here"


@contextlib.contextmanager
def azurite_server(folder: Path, *, tls: Path | None = None) -> Iterator[AzuriteServer]:
    """Start the server, make the containers, and end the server afterwards.

    Args:
        folder: Where it keeps its log; its data stay in memory.
        tls: A certificate with its key. With it the server talks TLS and takes tokens, whose audience, issuer and times
            it checks, and whose signature it does not.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = AzuriteServer(int(free.getsockname()[1]), tls)
    folder.mkdir(parents=True)
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    command = ["node", str(PROGRAM), *options, "--blobHost", "127.0.0.1", "--blobPort", str(server.port)]
    command += ["--oauth", "basic", "--cert", str(tls), "--key", str(tls)] if tls else []
    accounts = {"AZURITE_ACCOUNTS": ";".join(f"{name}:{KEY}" for name in (ACCOUNT, ONELAKE))}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | accounts)
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
            for account in (ACCOUNT, ONELAKE):
                server.put(CONTAINER, account=account, restype="container")
        except OSError:
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        else:
            return
