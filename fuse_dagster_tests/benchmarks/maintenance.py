"""How a table reads after 200 small batches: as they left it, and maintained, over the same rows freshly written.

`python -m fuse_dagster_tests.benchmarks.maintenance`; prints ratios of medians. No test asserts a time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, History, Upsert, current, maintain, write

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
Keys = tuple[str, ...]


def _rows(keys: pl.Series, step: int) -> pl.DataFrame:
    at = pl.lit(START + dt.timedelta(hours=step))
    return pl.DataFrame({"k": keys}).with_columns(
        at=at, name=pl.format("name {} {}", pl.col("k") * 7919 % 1_000_003, step), number=pl.col("k") * 31 % 977
    )


def _batch(keys: int, size: int, step: int) -> pl.DataFrame:
    """Every key first, then some of them all over the range, one in fifty of them new."""
    if step == 0:
        return _rows(pl.int_range(keys, dtype=pl.Int64, eager=True), step)
    some = pl.Series("k", [(step * 104_729 + n * 48_271) % keys for n in range(size)]).unique()
    new = pl.Series("k", [keys + step * size + n for n in range(size // 50)])
    return _rows(pl.concat([some, new]), step)


def changes(table: str, keys: int, size: int, step: int) -> None:
    """A history by changes."""
    write(table, _batch(keys, size, step), History(keys=["k"], source="changes", effective_column="at"))


def snapshots(table: str, keys: int, size: int, step: int) -> None:
    """A history by snapshots: each has every key, of which some changed."""
    full = _batch(keys, size, 0).with_columns(
        name=pl.col("name") + pl.format(" {}", (pl.col("k") + step) * size // keys)
    )
    write(table, full.drop("at"), History(keys=["k"], effective_at=START + dt.timedelta(hours=step)))


def upserts(table: str, keys: int, size: int, step: int) -> None:
    """A table by key."""
    write(table, _batch(keys, size, step), Upsert(keys=["k"]))


def appends(table: str, keys: int, size: int, step: int) -> None:
    """A table that grows."""
    write(table, _batch(keys, size, step), Append())


FEEDS: dict[str, tuple[Callable[[str, int, int, int], None], Keys | None, bool]] = {
    "history by changes": (changes, None, True),
    "history by snapshots": (snapshots, None, True),
    "upserts": (upserts, ("k",), False),
    "appends": (appends, None, False),
}


def _reads(table: str, key: int, *, history: bool) -> dict[str, Callable[[], object]]:
    """What is timed; each opens the table anew."""
    found: dict[str, Callable[[], object]] = {
        "all": lambda: scan(table).collect(),
        "one key": lambda: scan(table).filter(k=key).collect(),
    }
    return found | ({"current": lambda: current(table).collect()} if history else {})


def _timed(read: Callable[[], object]) -> float:
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def run(keys: int, size: int = 1000, batches: int = 200, rounds: int = 15) -> list[dict[str, object]]:
    """Measure every feed: three tables of the same rows, read in turns.

    Args:
        keys: Rows of the first batch.
        size: Rows of a later one.
        batches: How many.
        rounds: How often each read is timed; the median counts.

    Raises:
        AssertionError: The tables do not hold the same rows.
    """
    found = []
    for name, (apply, cluster_by, history) in FEEDS.items():
        with tempfile.TemporaryDirectory() as folder:
            table, fresh, worn = f"{folder}/t", f"{folder}/fresh", f"{folder}/worn"
            for step in range(batches):
                apply(table, keys, size, step)
            rows = pl.read_delta(table)
            order = [column for column in ("k", "valid_from", "at") if column in rows.columns]
            if apply is appends:
                order.reverse()  # nothing puts these in order, so they lie as they came
            write(fresh, rows.sort(order).clear(), Append())
            write(fresh, rows.sort(order), Append())
            Path(table).rename(worn)
            _copy(worn, table)
            report = maintain(table, cluster_by=cluster_by)
            assert pl.read_delta(table).sort(order).equals(rows.sort(order)), "maintenance changed rows"
            assert report.compaction is not None
            times: dict[tuple[str, str], list[float]] = {}
            for _ in range(rounds):
                for place in (fresh, worn, table):
                    for what, read in _reads(place, keys // 3, history=history).items():
                        times.setdefault((what, place), []).append(_timed(read))
            median = {case: statistics.median(each) for case, each in times.items()}
            for what in _reads(fresh, 0, history=history):
                base = median[what, fresh]
                found.append(
                    {
                        "table": name,
                        "read": what,
                        "fresh ms": round(base * 1000, 1),
                        "worn": round(median[what, worn] / base, 2),
                        "maintained": round(median[what, table] / base, 2),
                        "files": f"{report.compaction.files_before} -> {report.compaction.files_after}",
                        "maintain s": round(report.seconds, 2),
                        "rows": rows.height,
                    }
                )
    return found


def _copy(source: str, target: str) -> None:
    shutil.copytree(source, target)
    assert DeltaTable(target).version() == DeltaTable(source).version()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200_000)
    found = run(parser.parse_args().keys)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=True):
        print(pl.DataFrame(found))


if __name__ == "__main__":
    main()
