"""What every database keeps when it is read, to be inherited by the test of each connector to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa
import pytest

from fuse_dagster.connectors.base import CanAnswer, CanCountRows, CanListNames, CanQuery, CanReadRows
from fuse_dagster.connectors.databases.naming import written
from fuse_dagster.connectors.databases.partitions import read_parted
from fuse_dagster.core.errors import ConfigError, FuseError, InputError, NotThereError, SchemaError
from fuse_dagster.testing.connectors import ConnectorContract, secrets_of

if TYPE_CHECKING:
    from fuse_dagster.connectors.database import Database

ODD = (
    "a b",
    "it's",
    'say "hi"',
    "semi;colon",
    "x; DROP TABLE guarded; --",
    "Ä日本",
    "select",
    "per%cent",
    "a:b",
    "q?",
    "a.b",
)
"""Names that break SQL which pastes them."""
VALUES = ("'; DROP TABLE guarded; --", '" OR 1=1 --', "\\'; DROP TABLE guarded; --", "%s ? $1 :x", "", "日本\n\t")
"""Values that break SQL which pastes them."""


class Run(Protocol):
    """Runs statements as others would, without the connector, and commits them."""

    def __call__(self, *statements: str) -> object:
        """Run statements one after the other."""


class DatabaseContract(ConnectorContract):
    """For connectors to databases; `connector` gives one to an empty database, and `run` changes it from outside."""

    schema: ClassVar[str]
    """Where a table lies whose name has one part."""
    text: ClassVar[str] = "VARCHAR(100)"
    """The type of texts."""
    types: ClassVar[Sequence[tuple[str, str, pa.DataType, Any]]]
    """Type in SQL, a value in SQL, the Arrow type it is read as, and the value in Python."""
    refused: ClassVar[Sequence[tuple[str, str]]]
    """Type in SQL, and a value in SQL that Arrow can't hold as what it is."""

    def table(self, connector: Database, run: Run, name: str, columns: dict[str, str], *rows: str) -> None:
        """Make a table with some rows, as others would."""
        quoted = connector.dialect.quoted
        said = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns.items())
        run(
            f"CREATE TABLE {quoted(name)} ({said})",
            *(f"INSERT INTO {quoted(name)} VALUES ({row})" for row in rows),  # noqa: S608 - of the tests' own names
        )

    def test_it_says_what_answers(self, connector: Database) -> None:
        assert isinstance(connector, CanAnswer)
        assert any(sign.isdigit() for sign in connector.answer())

    def test_a_table_is_read_with_its_columns(self, connector: Database, run: Run) -> None:
        assert isinstance(connector, CanReadRows)
        self.table(connector, run, "t", {"a": "INTEGER", "b": self.text}, "1, 'x'", "2, NULL")
        for name in ("t", f"{self.schema}.t"):
            with connector.rows(name) as reader:
                assert reader.schema.names == ["a", "b"]
                assert sorted(reader.read_all().to_pylist(), key=str) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
        with connector.rows("t", columns=["b"], limit=1) as reader:
            found = reader.read_all()
        assert (found.schema.names, found.num_rows) == (["b"], 1)
        with connector.rows("t", limit=0) as reader:
            assert reader.read_all().num_rows == 0
        assert isinstance(connector, CanCountRows)
        assert connector.count_rows("t") == 2

    def test_names_are_listed_and_columns_described(self, connector: Database, run: Run) -> None:
        assert isinstance(connector, CanListNames)
        run(f"CREATE TABLE t (k INTEGER NOT NULL, j INTEGER NOT NULL, v {self.text}, PRIMARY KEY (j, k))")
        run("CREATE VIEW w AS SELECT v FROM t", "CREATE TABLE other (a INTEGER)")
        assert list(connector.names()) == [f"{self.schema}.{name}" for name in ("other", "t", "w")]
        assert list(connector.names(f"{self.schema}.?")) == [f"{self.schema}.t", f"{self.schema}.w"]
        columns = connector.columns("t")
        assert [(one.name, one.nullable, one.key) for one in columns] == [
            ("k", False, 2),
            ("j", False, 1),
            ("v", True, 0),
        ]
        assert all(one.type for one in columns)
        with connector.rows("w") as reader:
            assert reader.schema.names == ["v"]

    def test_what_is_not_there_is_said_with_the_nearest(self, connector: Database, run: Run) -> None:
        self.table(connector, run, "flights", {"icao": "INTEGER"})
        with pytest.raises(NotThereError, match=r"no table `flihgts`.*`[\w.]*flights`"), connector.rows("flihgts"):
            pass
        with (
            pytest.raises(SchemaError, match=r"no column `icoa`\. Did you mean `icao`"),
            connector.rows("flights", columns=["icoa"]),
        ):
            pass
        for question in ("SELECT * FROM nowhere", "SELECT nothing FROM flights", "SELEC 1"):
            with pytest.raises((InputError, NotThereError)), connector.query(question) as reader:
                reader.read_all()
        run("DROP TABLE flights")
        with pytest.raises(NotThereError), connector.rows("flights"):
            pass

    def test_what_breaks_into_sql_is_a_name_like_others(self, connector: Database, run: Run) -> None:
        self.table(connector, run, "guarded", {"a": "INTEGER"}, "1")
        for number, name in enumerate(ODD):
            self.table(connector, run, name, {name: "INTEGER", "b": "INTEGER"}, f"{number}, 0")
            with connector.rows(written([name]), columns=[name]) as reader:
                assert reader.read_all().to_pylist() == [{name: number}]
            with pytest.raises((NotThereError, ConfigError)), connector.rows(f"{name}x"):
                pass
            with pytest.raises(SchemaError), connector.rows("guarded", columns=[name]):
                pass
        assert {written([self.schema, name]) for name in (*ODD, "guarded")} == set(connector.names())

    def test_parameters_are_bound(self, connector: Database, run: Run) -> None:
        assert isinstance(connector, CanQuery)
        self.table(connector, run, "guarded", {"a": "INTEGER", "b": self.text}, "1, 'x'", "2, 'y'")
        question = "SELECT a, b FROM guarded WHERE b = :b OR a = :a ORDER BY a"
        with connector.query(question, {"a": 2, "b": "x"}) as reader:
            assert reader.read_all().to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
        for value in VALUES:
            with connector.query(question, {"a": -1, "b": value}) as reader:
                assert reader.read_all().num_rows == 0
        assert connector.count_rows("guarded") == 2
        with pytest.raises(InputError, match="leaves `:a` open"), connector.query(question, {"b": "x"}):
            pass

    def test_reading_changes_nothing(self, connector: Database, run: Run) -> None:
        self.table(connector, run, "guarded", {"a": "INTEGER"}, "1")
        for question in (
            "DELETE FROM guarded",
            "INSERT INTO guarded VALUES (2)",
            "DROP TABLE guarded",
            "SELECT 1; DELETE FROM guarded",
        ):
            with pytest.raises(FuseError), connector.query(question) as reader:
                reader.read_all()
        assert connector.count_rows("guarded") == 1

    def test_two_columns_of_one_name_are_refused(self, connector: Database) -> None:
        with pytest.raises(InputError, match="several columns `a`"), connector.query("SELECT 1 AS a, 2 AS a") as reader:
            reader.read_all()

    def test_types_are_read_as_what_they_are(self, connector: Database, run: Run) -> None:
        columns = {f"c{number}": kind for number, (kind, *_) in enumerate(self.types)}
        nulls = ", ".join("NULL" for _ in self.types)
        self.table(connector, run, "typed", columns, ", ".join(value for _, value, *_ in self.types), nulls)
        with connector.rows("typed") as reader:
            found = reader.read_all()
        said = {kind: (one.type, values[0]) for (kind, *_), one, values in self._read(found)}
        assert said == {kind: (arrow, value) for kind, _, arrow, value in self.types}
        assert all(None in values for *_, values in self._read(found))

    def _read(self, found: pa.Table) -> list[tuple[Any, pa.Field, list[Any]]]:
        columns = [sorted(column.to_pylist(), key=lambda one: one is None) for column in found.columns]
        return list(zip(self.types, found.schema, columns, strict=True))

    def test_a_value_that_its_type_cannot_hold_is_refused(self, connector: Database, run: Run) -> None:
        for number, (kind, value) in enumerate(self.refused):
            self.table(connector, run, f"r{number}", {"good": "INTEGER", "bad": kind}, f"1, {value}")
            with pytest.raises(InputError, match="bad"), connector.rows(f"r{number}") as reader:
                reader.read_all()
            with connector.rows(f"r{number}", columns=["good"]) as reader:
                assert reader.read_all().num_rows == 1, "the other columns are read"

    def test_a_long_answer_comes_in_batches(self, connector: Database, run: Run) -> None:
        self.numbers(connector, run, doublings=15)
        with connector.rows("numbers") as reader:
            first = reader.read_next_batch()
            assert 0 < first.num_rows < 2**17
        with connector.query("SELECT n FROM numbers WHERE n >= :least", {"least": 0}) as reader:
            assert sum(batch.num_rows for batch in reader) == 2**15
        assert connector.answer(), "the next one is served"

    def test_parts_are_read_at_once_and_make_the_whole(self, connector: Database, run: Run) -> None:
        self.numbers(connector, run, doublings=10)
        run("INSERT INTO numbers VALUES (NULL, -1)")
        with read_parted(connector, "numbers", on="n", connections=3) as reader:
            found = reader.read_all()
        assert sorted(found["m"].to_pylist()) == list(range(-1, 2**10)), "rows without a key, too"
        with read_parted(connector, "numbers", on="n", columns=["m"], connections=2) as reader:
            assert reader.schema.names == ["m"]

    def numbers(self, connector: Database, run: Run, *, doublings: int) -> None:
        """Make a table `numbers` with `n` and `m` from 0 to 2 ** `doublings` - 1."""
        self.table(connector, run, "numbers", {"n": "INTEGER", "m": "INTEGER"}, "0, 0")
        for power in range(doublings):
            run(f"INSERT INTO numbers SELECT n + {2**power}, m + {2**power} FROM numbers")  # noqa: S608 - a number

    def test_no_secret_is_in_what_goes_wrong(self, connector: Database) -> None:
        with pytest.raises(FuseError) as caught, connector.query("SELECT nonsense FROM nowhere") as reader:
            reader.read_all()
        error: BaseException | None = caught.value
        while error is not None:
            assert not [secret for secret in secrets_of(connector) if secret in f"{error}"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
