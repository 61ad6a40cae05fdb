"""A GCS server for tests: SeaweedFS, whose S3 is spelt like GCS's XML API, behind a proxy that translates one header.

GCS's clients ask for "only where there is none" by `x-goog-if-generation-match: 0`, which an S3 server ignores; the
proxy says it in S3's words. So the tests prove what our side sends and makes of the answer, not that Google holds it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuse_dagster_tests.servers.s3 import S3Server, s3_server

_THEIRS, _OURS = b"x-goog-if-generation-match: 0\r\n", b"if-none-match: *\r\n"
_spawn = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[S3Server]:
    """Start the server and the proxy, and end both afterwards.

    Args:
        folder: Where the server keeps its data and its log.
    """
    with s3_server(folder, asks=False) as server:
        ours, theirs = _spawn.Pipe()
        # In a process of its own, because delta-rs holds Python's global lock while it waits for some answers.
        process = _spawn.Process(target=_run, args=(server.port, theirs), daemon=True)
        process.start()
        try:
            yield S3Server(ours.recv())
        finally:
            process.kill()
            process.join()


def _run(server: int, port: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        port.send(listener.getsockname()[1])
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, server), daemon=True).start()


def _serve(client: socket.socket, port: int) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server, translate=True)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, *, translate: bool = False) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            # The headers of a request come in one piece; none of the tests writes them as data.
            sink.sendall(data.replace(_THEIRS, _OURS) if translate else data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
