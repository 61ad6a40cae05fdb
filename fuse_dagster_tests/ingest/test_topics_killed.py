"""SIGKILL at random moments, while producers keep writing: each message lands once.

`FUSE_SOAK` multiplies the rounds.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Self

import polars as pl
import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import load
from fuse_dagster_tests.servers.kafka import KafkaServer
from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.faults.worker import Worker

pytest.importorskip("confluent_kafka")

from fuse_dagster_tests.ingest.topics_killed import MODES, load_on, source_of

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
        self._thread = Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
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
                else:
                    producer.abort_transaction(60)
        except BaseException:
            self._failed = True
            raise


@pytest.mark.parametrize("mode", MODES)
def test_loads_that_are_killed_lose_and_double_nothing(kafka: KafkaServer, tmp_path: Path, mode: str) -> None:
    topic, table = kafka.topic(partitions=3), tmp_path / "orders"
    source, chance = source_of(kafka.plain, topic), random.Random(mode)
    landed = 0
    with Producers(kafka, topic, mode) as producers, ExitStack() as workers:
        following = workers.enter_context(Worker())
        for _ in range(ROUNDS):
            worker, rival = following, None
            worker.run(load_on, kafka.plain, topic, table, mode)
            if chance.random() < 0.3:  # two loads of one source at once
                rival = workers.enter_context(Worker())
                rival.run(load_on, kafka.plain, topic, table, mode)
            following = workers.enter_context(Worker())
            assert worker.wait_for(1)
            time.sleep(chance.uniform(0, 0.3))
            landed += 1 + len(worker.kill())
            if rival is not None:
                landed += len(rival.kill())
    while (last := load(source, table, MODES[mode])).written.version is not None:
        landed += 1
    assert landed > ROUNDS
    readable = [(number, key, value) for number, key, value in producers.written if value != BROKEN]
    held = scan(table).collect()
    if mode == "append":
        assert sorted(held["n"].to_list()) == sorted(number for number, _, _ in readable)
        assert held.select("_partition", "_offset").is_duplicated().sum() == 0
    else:
        newest = {key: number for number, key, value in sorted(readable) if value is not None}
        deleted = {key: number for number, key, value in sorted(readable) if value is None}
        expected = sorted((key, number) for key, number in newest.items() if deleted.get(key, 0) < number)
        assert sorted(held.filter(~pl.col("is_deleted")).select("id", "n").rows()) == expected
    aside = scan(f"{table}__rejected").collect()
    places = aside.select("_partition", "_offset").unique()
    assert places.height == len(producers.written) - len(readable), "each once, or again where a load was killed"
    assert last.rows == 0
