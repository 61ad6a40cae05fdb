"""A shop in PostgreSQL that several clerks change at once, in transactions that begin early and commit late."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from typing import Any, Self

from fuse_dagster import PostgreSQL
from fuse_dagster_tests.servers.postgres import PostgresServer

LAG = timedelta(seconds=10)
_IDS, _CLERKS = 40, 3
_TABLES = """
CREATE TABLE visits (door int, stamp timestamptz DEFAULT now(), xid bigint DEFAULT pg_current_xact_id()::text::bigint);
CREATE TABLE orders (id bigint PRIMARY KEY, stamp timestamptz, name text);
CREATE TABLE changes (lsn bigserial, op text, stamp timestamptz DEFAULT now(), id bigint, name text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'DELETE' THEN INSERT INTO changes (op, id) VALUES ('D', OLD.id);
  ELSE INSERT INTO changes (op, id, name) VALUES (left(TG_OP, 1), NEW.id, NEW.name); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION tell();
"""
_VISIT = "INSERT INTO visits (door) SELECT {door} FROM generate_series(1, 3)"  # rows that are equal
_GONE = "DELETE FROM orders WHERE id = {id}"
_PUT = (
    "INSERT INTO orders VALUES ({id}, now(), '{name}') "
    "ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, name = excluded.name"
)


@dataclass(frozen=True)
class ShopFloor:
    """The database. All rows of a transaction have the time at which it began.

    It holds `visits`, rows without a key that only come; `orders`, which change and go; and `changes`, the log of these
    that a trigger writes.
    """

    server: PostgresServer
    database: str

    @classmethod
    def made(cls, server: PostgresServer, name: str) -> Self:
        """An empty one."""
        server.sql(_TABLES, server.database(name))
        return cls(server, name)

    def connector(self) -> PostgreSQL:
        server = self.server
        return PostgreSQL(
            host=server.host, port=server.port, database=self.database, user=server.user, password=server.password
        )

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        with self.connector().query(text) as reader:
            return [tuple(row.values()) for row in reader.read_all().to_pylist()]


@dataclass
class Clerks:
    """Those who change it, until the context is left: one takes seconds, within half of the lag, the others less."""

    shop: ShopFloor
    _stop: Event = field(default_factory=Event)
    _failed: list[BaseException] = field(default_factory=list)
    _threads: list[Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [Thread(target=self._work, args=(number,)) for number in range(_CLERKS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failed, self._failed

    def _work(self, number: int) -> None:
        chance, longest = random.Random(number), 3 if number == 0 else 0.2
        try:
            with closing(self.shop.connector().connect(writing=True)) as connection:
                while not self._stop.is_set():
                    connection.rollback()  # and a transaction begins
                    with connection.cursor() as cursor:
                        cursor.execute(_VISIT.format(door=chance.randint(1, 3)))
                        self._stop.wait(chance.uniform(0, longest))
                        for one in sorted(chance.sample(range(_IDS), 4)):  # in order: nobody waits in a circle
                            change = _GONE if chance.random() < 0.3 else _PUT
                            cursor.execute(change.format(id=one, name=chance.choice("abc")))
                        cursor.execute(f"SELECT clock_timestamp() - now() < interval '{LAG / 2}'")
                        in_time = cursor.fetchone()[0]
                    if in_time and chance.random() < 0.9:
                        connection.commit()
        except BaseException as error:
            self._failed.append(error)
            raise
