"""The second source: the flight board of New York's airports, a database that changes while the demo runs.

Real flights of one day, played: each is listed, departs, lands or is taken off, and every change is in a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import polars as pl

from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.databases.modes import AppendRows, Comparison, ReplaceRows, UpsertRows
from fuse_dagster.definitions.demo.delivery import SHIPPED
from fuse_dagster.definitions.demo.flights import MISSING

DAY = date(2013, 1, 1)
"""The day that is played."""

KEYS = ("flight_date", "carrier", "flight", "origin")
"""What tells flights apart."""

BOARD, LOG = "public.flights", "public.flight_changes"

AHEAD, TAXI, GONE = 360, 20, 120
"""Minutes: from listing to departure, from the runway to the gate, and until a cancelled flight goes."""

STEP = 150
"""Minutes of the day that are played at a time."""

LATE = timedelta(seconds=2)
"""Newark reports this much later than it says: its changes are behind those that a load has read already."""


def events() -> pl.DataFrame:
    """Everything that happens on the board, in order.

    Returns:
        One row per change: `batch`, the step that it is played in; `seq`; `op` (`I`, `U` or `D`); the columns of the
        board without its time.
    """
    flights = _flights()
    scheduled = pl.col("scheduled") - AHEAD
    departed = pl.col("scheduled") + pl.col("dep_delay")
    happened = [
        flights.with_columns(at=scheduled, op=pl.lit("I"), status=pl.lit("scheduled"), dep_delay=None),
        flights.filter(pl.col("dep_delay").is_not_null()).with_columns(
            at=departed, op=pl.lit("U"), status=pl.lit("departed")
        ),
        flights.filter(pl.col("air_time").is_not_null()).with_columns(
            at=departed + pl.col("air_time") + TAXI, op=pl.lit("U"), status=pl.lit("landed")
        ),
        flights.filter(pl.col("dep_delay").is_null()).with_columns(
            at=pl.col("scheduled") + GONE, op=pl.lit("D"), status=pl.lit("cancelled")
        ),
    ]
    return (
        pl.concat(happened, how="vertical_relaxed")
        .sort("at", *KEYS, maintain_order=True)
        .with_row_index("seq", offset=1)
        .select(
            (pl.col("at").clip(0) // STEP).alias("batch"), pl.col("seq").cast(pl.Int64), "op",
            *KEYS, "dest", "tailnum", "status", "dep_delay",
        )
    )  # fmt: skip


def _flights() -> pl.DataFrame:
    """The day's flights, with their scheduled departure in minutes after midnight."""
    file = SHIPPED / "flights" / f"flights_{DAY:%Y-%m}.csv.zst"
    raw = pl.read_csv(file, infer_schema=False, null_values=list(MISSING))
    return raw.filter(day=str(DAY.day)).select(
        pl.lit(DAY).alias("flight_date"),
        "carrier",
        pl.col("flight").cast(pl.Int32),
        "origin",
        "dest",
        "tailnum",
        pl.col("dep_delay", "air_time").cast(pl.Int32),
        (pl.col("hour").cast(pl.Int32) * 60 + pl.col("minute").cast(pl.Int32)).alias("scheduled"),
    )


def _now(batch: int) -> datetime:
    del batch
    return datetime.now(tz=UTC)


class Traffic:
    """Plays the day into a database, step by step; it goes on where another one has stopped.

    Args:
        database: Where the board is, or is made.
        clock: What time a step happens at; now, by default.
    """

    def __init__(self, database: Database, clock: Callable[[int], datetime] = _now) -> None:
        self._database, self._clock = database, clock
        self._batches = events().partition_by("batch", maintain_order=True)
        self._next = self._played()

    def step(self) -> bool:
        """Play the next hours.

        Returns:
            Whether there was something left to play.
        """
        if self._next == len(self._batches):
            return False
        batch = self._batches[self._next]
        at = pl.lit(self._clock(self._next), pl.Datetime("us", "UTC"))
        changed = batch.with_columns(changed_at=pl.when(origin="EWR").then(at - LATE).otherwise(at))
        self._show(changed)
        # The log comes last: what is in it has been played.
        self._database.write_rows(LOG, changed.to_arrow().to_reader(), AppendRows())
        self._next += 1
        return True

    def begin(self) -> None:
        """Make the tables, by the first step, where nothing has been played yet."""
        if self._next == 0:
            self.step()

    def finish(self) -> None:
        """Play the day to its end."""
        while self.step():
            pass

    def _show(self, changed: pl.DataFrame) -> None:
        last = changed.unique(KEYS, keep="last", maintain_order=True)
        board = last.drop("batch", "seq", "op").rename({"changed_at": "updated_at"})
        there = board.filter(last["op"] != "D")
        if there.height:
            self._database.write_rows(BOARD, there.to_arrow().to_reader(), UpsertRows(keys=KEYS))
        gone = last.filter(op="D").select(KEYS).rows(named=True)
        if gone:
            which = tuple(tuple(Comparison(name, "=", value) for name, value in key.items()) for key in gone)
            self._database.write_rows(BOARD, board.clear().to_arrow().to_reader(), ReplaceRows(where=which))

    def _played(self) -> int:
        """How many steps the log holds."""
        if LOG not in self._database.names(LOG):
            return 0
        with self._database.query(f"SELECT count(DISTINCT batch) AS n FROM {self._database.table(LOG)}") as found:  # noqa: S608 - quoted
            return int(found.read_all().column(0)[0].as_py())


class Background:
    """Lets traffic go on beside what runs: a step for each `tick`.

    Args:
        traffic: What is played.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flight-board")
        self._steps: list[Future[bool]] = []
        self._is_over = False

    def tick(self) -> None:
        """Let it play a step, and don't wait for it; nothing, once the day is over."""
        if not self._is_over:
            self._steps.append(self._pool.submit(self._traffic.step))

    def finish(self) -> None:
        """Play the day to its end, and wait for that.

        Raises:
            Exception: What went wrong while it was played.
        """
        self.stop()
        for step in self._steps:
            step.result()
        self._traffic.finish()

    def stop(self) -> None:
        """Let it end after the steps that it was given."""
        self._is_over = True
        self._pool.shutdown()


@contextmanager
def in_background(traffic: Traffic) -> Iterator[Background]:
    """Begin, then play on in a thread, which has ended afterwards."""
    traffic.begin()
    playing = Background(traffic)
    try:
        yield playing
    finally:
        playing.stop()
