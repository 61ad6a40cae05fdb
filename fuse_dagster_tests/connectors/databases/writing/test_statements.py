"""What systems that don't run here would be told: read by a parser of their SQL, with names that attack it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.comparing import condition
from fuse_dagster.connectors.databases.dialects import BIGQUERY, MSSQL, SNOWFLAKE, Dialect
from fuse_dagster.connectors.databases.fitting import fits_of
from fuse_dagster.connectors.databases.kinds import kind_of, word_for
from fuse_dagster.connectors.databases.links import Link, link_of
from fuse_dagster.connectors.databases.modes import Comparison, UpsertRows
from fuse_dagster.connectors.databases.staging import making
from fuse_dagster.connectors.databases.upserting import Merge, statements
from fuse_dagster.core.errors import ConfigError, SchemaError

EVIL = "a]; DROP TABLE t; --\"'x"
COLUMNS = [TableColumn(name=EVIL, type="int"), TableColumn(name="b", type="varchar(20)")]
SCHEMA = pa.schema({EVIL: pa.int32(), "b": pa.string()})


@pytest.mark.parametrize("dialect", [MSSQL, SNOWFLAKE], ids=lambda one: one.name)
def test_statements_are_one_each_and_name_what_they_should(dialect: Dialect) -> None:
    link = Link(None, dialect)
    fits = fits_of(dialect, "t", COLUMNS, SCHEMA)
    merge = Merge(link.path(["s", EVIL]), link.path(["stage"]), fits, UpsertRows(keys=EVIL))
    texts = [
        making(link, ["#stage" if dialect is MSSQL else "stage"], ["s", EVIL], fits),
        *statements(link, merge),
        "DELETE FROM t WHERE " + condition(dialect, [[Comparison(EVIL, "in", (1, 2))]], words={})[0],
    ]
    for text in texts:
        (tree,) = sqlglot.parse(text, read=dialect.name)
        assert tree is not None
        assert not isinstance(tree, exp.Command)
        assert EVIL in {name.this for name in tree.find_all(exp.Identifier)}
        assert next(tree.find_all(exp.Drop), None) is None


@pytest.mark.parametrize("dialect", [MSSQL, SNOWFLAKE], ids=lambda one: one.name)
def test_a_new_table_has_a_type_for_each_column(dialect: Dialect) -> None:
    kinds: Sequence[Any] = [
        pa.int8(), pa.uint8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(38, 9), pa.bool_(),
        pa.string(), pa.binary(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", "UTC"),
    ]  # fmt: skip
    for number, kind in enumerate(kinds):
        word = word_for(dialect, pa.field(f"c{number}", kind))
        assert sqlglot.parse_one(f"CREATE TABLE t (a {word})", read=dialect.name).find(exp.ColumnDef)
        # And what it is called is understood again.
        fits_of(dialect, "t", [TableColumn(name="a", type=word)], pa.schema({"a": kind}))
    for kind in (pa.list_(pa.int8()), pa.struct({"a": pa.int8()}), pa.duration("s"), pa.decimal256(60, 2)):
        with pytest.raises(SchemaError, match="no type that holds it without loss"):
            word_for(dialect, pa.field("a", kind))


def test_an_unknown_driver_is_said() -> None:
    with pytest.raises(ConfigError, match="can't be written by the driver `builtins`"):
        link_of(object(), BIGQUERY)


@pytest.mark.parametrize(
    ("said", "family", "size"),
    [("numeric(10,2)", "decimal", 10), ("int(10) unsigned", "integer", 32), ("character varying(7)", "text", 7),
     ("timestamp(3) with time zone", "instant", 0), ("time without time zone", "time", 0), ("integer[]", "list", 0),
     ('"char"', "other", 0), ("geometry(Point,4326)", "other", 0), ("bit varying(3)", "other", 0)],
)  # fmt: skip
def test_words_of_types_are_understood(said: str, family: str, size: int) -> None:
    from fuse_dagster.connectors.databases.dialects import POSTGRES

    kind = kind_of(POSTGRES, said)
    assert (kind.family, kind.size) == (family, size)
