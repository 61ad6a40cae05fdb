"""The protocols that sources of other rooms meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from fuse_dagster.ingest import Ledger, Position, Reading, Source


class _Counted:
    identity = "numbers"

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[Reading]:
        del ledger
        yield _Numbers(0 if since is None else since.value["at"])


class _Numbers:
    def __init__(self, at: int) -> None:
        self._at = at

    def batches(self) -> pa.RecordBatchReader:
        return pa.table({"n": [self._at]}).to_reader()

    def position(self) -> Position | None:
        return Position(value={"at": self._at + 1}, said=str(self._at + 1))

    def rejected(self) -> pl.DataFrame:
        return pl.DataFrame()

    def landed(self) -> None:
        return


def test_a_source_is_one_by_its_shape() -> None:
    source: Source = _Counted()
    assert isinstance(source, Source)
    with source.read(None) as first:
        assert isinstance(first, Reading)
        assert first.batches().read_all()["n"].to_pylist() == [0]
    with source.read(first.position()) as second:
        assert second.batches().read_all()["n"].to_pylist() == [1]
