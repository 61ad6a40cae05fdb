"""The database servers of the tests keep their word."""

from __future__ import annotations

from fuse_dagster_tests.servers.mariadb import MariaDBServer
from fuse_dagster_tests.servers.postgres import PostgresServer


def test_a_database_of_postgresql_is_made_anew(postgres: PostgresServer) -> None:
    name = postgres.database('one "quoted" name')
    postgres.sql("CREATE TABLE first (id int); INSERT INTO first VALUES (1), (NULL)", name)

    assert postgres.sql("SELECT id FROM first", name) == [["1"], [""]]
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'first'", postgres.database(name)) == [["0"]]


def test_a_database_of_mariadb_is_made_anew(mariadb: MariaDBServer) -> None:
    name = mariadb.database("one `quoted` name")
    mariadb.sql("CREATE TABLE first (id int); INSERT INTO first VALUES (1), (NULL)", name)

    assert mariadb.sql("SELECT id FROM first", name) == [["1"], ["NULL"]]
    assert mariadb.sql("SHOW TABLES", mariadb.database(name)) == []
