"""What every connector to an object store keeps, besides what `fuse_dagster.testing.connectors` asks of all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import polars as pl
import pytest

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.object_store import ObjectStore
from fuse_dagster.core.errors import FuseError, StoreError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, write
from fuse_dagster.testing.connectors import WriteContract, content, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# A file that is made while it is read, so that no gigabyte lies on the disk of the tests besides the server's.
THROUGH_LITTLE_MEMORY = """
import io, json, resource, sys
from fuse_dagster.connectors import connectors

SIZE, BLOCK = int(sys.argv[2]), bytes(range(250)) * 4000

class Made(io.RawIOBase):
    at = 0
    def readable(self):
        return True
    def readinto(self, buffer):
        size = min(len(buffer), len(BLOCK), SIZE - self.at)
        buffer[:size] = BLOCK[:size]
        self.at += size
        return size

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

lake = connectors.load(sys.argv[1])(**json.load(sys.stdin))
lake.write("warm", b"up")
before = peak()
lake.write("gigabyte", io.BufferedReader(Made(), buffer_size=len(BLOCK)))
source = io.BufferedReader(Made(), buffer_size=len(BLOCK))
with lake.open("gigabyte") as file:
    while part := file.read(4_000_000):
        assert part == source.read(len(part))
    assert file.tell() == SIZE
lake.delete("gigabyte")
print(before, peak())
"""


LONGEST = 30
"""Seconds that a failure may take, where the fields ask for 1."""


class BigFileContract(WriteContract):
    """For what sends and reads files in parts; another process has to reach it by the fields of the connector.

    Attributes:
        big: Bytes of a file that may not fit into memory.
    """

    big: ClassVar[int] = 1_000_000_000

    @pytest.mark.slow
    def test_a_big_file_passes_through_little_memory(self, connector: Lake) -> None:
        done = subprocess.run(
            [sys.executable, "-c", THROUGH_LITTLE_MEMORY, connector.type, str(self.big)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            input=json.dumps(connector.model_dump()),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        before, after = (int(word) for word in done.stdout.split())
        assert (after - before) * 1024 < min(300_000_000, self.big // 2), "bytes that memory grew by"


class StoreContract(BigFileContract):
    """For object stores; the fixture `other(**fields)` makes a connector to the same one with some fields changed.

    Attributes:
        wrong_credentials: Fields to change, so that the store refuses.
        missing_container: Fields to change, so that there is no such bucket.
    """

    wrong_credentials: ClassVar[Mapping[str, str]]
    missing_container: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def failing(self, other: Callable[..., ObjectStore], fault: str) -> Iterator[ObjectStore]:
        """A connector that fails in one way, and is told to wait for a second only."""
        quick = {"connect_timeout": 1.0, "timeout": 1.0, "retry_timeout": 1.0}
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(100)  # takes connections and never says a word
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            yield {
                "credentials": lambda: other(**self.wrong_credentials, **quick),
                "container": lambda: other(**self.missing_container, **quick),
                "host": lambda: other(endpoint="http://no-such-host.invalid", **quick),
                "port": lambda: other(endpoint="http://127.0.0.1:1", **quick),
                "time": lambda: other(endpoint=address, **quick),
            }[fault]()

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("credentials", StoreError),
            ("container", StoreError),
            ("host", StoreUnavailableError),
            ("port", StoreUnavailableError),
            ("time", StoreUnavailableError),
        ],
    )
    def test_what_fails_says_in_time_what_to_check(self, failing: ObjectStore, fault: str, kind: type) -> None:
        table = failing.uri("table")
        frame, options = pl.DataFrame({"a": [1]}), failing.storage_options()
        acts: dict[str, Callable[[], object]] = {
            "list": lambda: list(failing.list()),
            "exists": lambda: failing.exists("a"),
            "open": lambda: failing.open("a"),
            "write": lambda: failing.write("a", b"1"),
            "a table": lambda: write(table, frame, Append(), storage_options=options),
            "a scan": lambda: scan(table, storage_options=options).collect(),
        }
        for name, act in acts.items():
            began = time.monotonic()
            with pytest.raises(FuseError) as caught:
                act()
            assert time.monotonic() - began < LONGEST, name
            said = str(caught.value)
            # Some stores refuse to say whether a bucket is there.
            assert isinstance(caught.value, kind) or fault == "container", (name, said)
            assert "Check " in said or fault == "container", (name, said)
            assert not [secret for secret in secrets_of(failing) if secret in said], name
            assert caught.value.__cause__ is None or name in ("a table", "a scan")
            assert not [secret for secret in secrets_of(failing) if secret in str(caught.value.__cause__)], name

    def test_a_file_that_is_replaced_while_it_is_read_is_no_mixture(self, connector: ObjectStore) -> None:
        connector.write("big", b"a" * 20_000_000)
        with connector.open("big") as file:
            assert file.read(10) == b"a" * 10
            connector.write("big", b"b" * 20_000_000)
            with pytest.raises(StoreUnavailableError, match="replaced while it was read"):
                file.read()

    def test_a_secret_that_changed_in_its_store_is_fetched_anew(
        self, connector: ObjectStore, other: Callable[..., ObjectStore], tmp_path: Path
    ) -> None:
        (field, wrong), *_ = self.wrong_credentials.items()
        place = tmp_path / "secret"
        place.write_text(wrong)
        referring = other(**{field: f"file://{place}"})
        with pytest.raises(StoreError):
            referring.write("a", b"1")
        place.write_text(getattr(connector, field))
        referring.write("a", b"1")
        assert content(connector, "a") == b"1"
