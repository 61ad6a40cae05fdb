"""SIGKILL at random moments, while producers keep writing: each message lands once.

`FUSE_SOAK` multiplies the rounds.
"""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import polars as pl
import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import load
from fuse_dagster_tests.ingest.killing import kill_loads
from fuse_dagster_tests.servers.kafka import KafkaServer
from fuse_dagster_tests.soak import SOAK

pytest.importorskip("confluent_kafka")

from fuse_dagster_tests.ingest.topics_killed import MODES, source_of

ROUNDS = SOAK
BROKEN = b"{no json"


class Producers:
    """What keeps writing: rows, some of them broken, by transactions of which some are aborted.

    Attributes:
        written: What was committed: number, key, and whether it can be read.
    """

    def __init__(self, kafka: KafkaServer, topic: str, mode: str) -> None:
        self.written: list[tuple[int, int, bytes | None]] = []
        self._kafka, self._topic, self._mode = kafka, topic, mode
        self._stop, self._failed = Event(), False
        self._begun = Event()
        self._thread = Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self._failed

    def _write(self) -> None:
        from confluent_kafka import Producer

        chance, number = random.Random(self._mode), 0
        settings = {"bootstrap.servers": self._kafka.plain, "transactional.id": self._topic, "linger.ms": 0}
        try:
            producer = Producer(settings)
            producer.init_transactions(60)
            while not self._stop.wait(0.1):
                part = []
                producer.begin_transaction()
                for _ in range(chance.randint(1, 9)):
                    number += 1
                    key = number if self._mode == "append" else number % 50
                    kind = chance.random()
                    deleted = self._mode == "upsert" and kind < 0.1
                    value = None if deleted else BROKEN if kind > 0.95 else json.dumps({"n": number}).encode()
                    named = {"id": key, "n": number} if deleted else {"id": key}
                    producer.produce(self._topic, key=json.dumps(named), value=value, partition=key % 3)
                    part.append((number, key, value))
                if chance.random() < 0.8:
                    producer.commit_transaction(60)
                    self.written += part
                    if any(value not in (None, BROKEN) for _, _, value in part):
                        self._begun.set()
                else:
                    producer.abort_transaction(60)
        except BaseException:
            self._failed = True
            raise


@pytest.mark.parametrize("mode", MODES)
def test_loads_that_are_killed_lose_and_double_nothing(kafka: KafkaServer, tmp_path: Path, mode: str) -> None:
    topic, table = kafka.topic(partitions=3), tmp_path / "orders"
    source = partial(source_of, kafka.plain, topic)
    with Producers(kafka, topic, mode) as producers:
        tally = kill_loads(source, table, MODES[mode], rounds=ROUNDS, chance=random.Random(mode))
    while (last := load(source(), table, MODES[mode])).written.version is not None:
        pass
    readable = [(number, key, value) for number, key, value in producers.written if value != BROKEN]
    held, expected = _of(scan(table).collect(), readable, mode)
    aside = scan(f"{table}__rejected").collect().select("_partition", "_offset").unique()
    print(
        f"Kafka, {mode}: {tally}; {len(expected)} rows expected, {len(held)} found; "
        f"{len(producers.written) - len(readable)} broken messages expected, {aside.height} found"
    )
    assert held == expected
    assert aside.height == len(producers.written) - len(readable), "each once, or again where a load was killed"
    assert tally.killed >= ROUNDS / 2
    assert last.rows == 0


def _of(held: pl.DataFrame, written: list[tuple[int, int, bytes | None]], mode: str) -> tuple[list[Any], list[Any]]:
    """What is held, and what should be: each message, or the newest of each key unless that deletes it."""
    if mode == "append":
        assert held.select("_partition", "_offset").is_duplicated().sum() == 0
        return sorted(held["n"].to_list()), sorted(number for number, _, _ in written)
    newest = {key: (number, value) for number, key, value in sorted(written, key=lambda one: one[0])}
    expected = sorted((key, number) for key, (number, value) in newest.items() if value is not None)
    return sorted(held.filter(~pl.col("is_deleted")).select("id", "n").rows()), expected
