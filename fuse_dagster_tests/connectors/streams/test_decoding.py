"""Bytes become values without loss, or are refused with the reason."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.connectors.streams.decoding import Registry, UndecodableError, decoder
from fuse_dagster.connectors.streams.decoding.fitting import fit
from fuse_dagster.core.errors import ConfigError, CredentialsError, FuseError, StoreUnavailableError
from fuse_dagster_tests.servers.schema_registry import PASSWORD, USER, SchemaRegistry, framed, schema_registry

Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(scope="module")
def server() -> Iterator[SchemaRegistry]:
    with schema_registry() as made:
        yield made


@pytest.fixture
def registry(server: SchemaRegistry) -> Iterator[Registry]:
    made = Registry(server.url, timeout=5)
    yield made
    made.close()


def test_raw_and_text_are_what_they_are() -> None:
    assert decoder("raw", None)(b"\x00\xff").value == b"\x00\xff"
    assert decoder("text", None)("ü".encode()).value == "ü"
    with pytest.raises(UndecodableError, match="no text in UTF-8"):
        decoder("text", None)(b"\xff")
    with pytest.raises(ConfigError, match="Set `schema_registry`"):
        decoder("registry", None)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    assert decoder("json", None)(json.dumps(value).encode()).value == value


def test_a_number_that_no_double_holds_is_kept() -> None:
    found = decoder("json", None)(b'{"a": 0.1, "b": 1.10, "c": 0.12345678901234567890, "d": 1e400, "e": 1e2}').value
    assert found == {
        "a": 0.1,
        "b": 1.1,
        "c": Decimal("0.12345678901234567890"),
        "d": Decimal("1e400"),
        "e": 100.0,
    }


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b'{"a": 1} x', "no JSON"),
        (b'{"a": NaN}', "`NaN`"),
        (b'{"a": -Infinity}', "`-Infinity`"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"\xff", "UTF-8"),
        (b"[" * 100 + b"]" * 100, "64 deep"),
        (b"[" * 100_000, "64 deep"),
        (b"9" * 5000, "too many digits"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UndecodableError, match=why):
        decoder("json", None)(data)


WHEN = dt.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
AVRO = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "i", "type": "int"},
        {"name": "l", "type": ["null", "long"]},
        {"name": "f", "type": "float"},
        {"name": "n", "type": ["int", "null", "long"]},
        {"name": "s", "type": "string"},
        {"name": "b", "type": "bytes"},
        {"name": "x", "type": {"type": "fixed", "name": "two", "size": 2}},
        {"name": "e", "type": {"type": "enum", "name": "kind", "symbols": ["A", "B"]}},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "m", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "u", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "list", "type": {"type": "array", "items": ["null", "long"]}},
        {"name": "map", "type": {"type": "map", "values": "double"}},
        {"name": "inner", "type": {"type": "record", "name": "inner", "fields": [{"name": "z", "type": "kind"}]}},
    ],
}
ORDER = {
    "i": -(2**31),
    "l": 2**63 - 1,
    "f": 0.5,
    "n": 2**40,
    "s": "ü",
    "b": b"\xff",
    "x": b"ab",
    "e": "B",
    "d": Decimal("-12345.67"),
    "t": WHEN,
    "m": WHEN.replace(microsecond=678000),
    "day": dt.date(1969, 12, 31),
    "u": UUID(int=7),
    "list": [None, 3],
    "map": {"a": 1.5},
    "inner": {"z": "A"},
}


def avro(schema: Any, value: Any) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def test_avro_keeps_values_and_types(server: SchemaRegistry, registry: Registry) -> None:
    number = server.add("AVRO", AVRO)
    found = decoder("registry", registry)(framed(number, avro(AVRO, ORDER)))
    assert found.value == {**ORDER, "u": str(UUID(int=7))}
    types = found.types()
    assert [str(types[name]) for name in ("i", "l", "n", "f", "d", "t", "x", "e", "u")] == [
        "int32", "int64", "int64", "float", "decimal128(9, 2)", "timestamp[us, tz=UTC]", "fixed_size_binary[2]",
        "string", "string",
    ]  # fmt: skip
    row = pa.array([found.value], pa.struct(list(types.items()))).to_pylist()[0]
    assert row == {**found.value, "map": [("a", 1.5)]}


def test_avro_that_names_another_schema_is_read(server: SchemaRegistry, registry: Registry) -> None:
    kind = {"type": "enum", "name": "shop.kind", "symbols": ["A", "B"]}
    first = server.add("AVRO", kind, subject="kinds/of shop")
    order = {"type": "record", "name": "shop.order", "fields": [{"name": "kind", "type": "shop.kind"}]}
    number = server.add("AVRO", order, **{"shop.kind": first})
    assert decoder("registry", registry)(framed(number, b"\x02")).value == {"kind": "B"}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "record", "name": "r", "fields": [{"name": "a", "type": ["int", "string"]}]}, "a union of 2 types"),
        (
            {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "r"]}]},
            "holds itself, which a column can't",
        ),
        ({"type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 0}, "more than 38 digits"),
        ({"type": "nonsense"}, "can't be read"),
        ("text", "can't be read"),
        ([], "no Avro|can't be read"),
    ],
)
def test_an_avro_schema_that_no_column_holds_is_refused(
    server: SchemaRegistry, registry: Registry, schema: Any, why: str
) -> None:
    number = server.add("AVRO", schema)
    decode = decoder("registry", registry)
    for _ in range(3):
        with pytest.raises(UndecodableError, match=why):
            decode(framed(number, b"\x00"))
    assert server.asked.count(f"/schemas/ids/{number}") == 1, "it is not asked for each message"


@given(st.binary(max_size=80))
def test_any_bytes_are_an_order_or_refused(data: bytes) -> None:
    from fuse_dagster.connectors.streams.decoding import avro as reading

    read = _read_order.setdefault("read", reading.reader(json.dumps(AVRO), {}))
    try:
        found = read(data).value
    except UndecodableError:
        return
    assert found.keys() == ORDER.keys()


_read_order: dict[str, Any] = {}


def test_avro_that_is_cut_or_too_long_is_refused(server: SchemaRegistry, registry: Registry) -> None:
    decode, number, data = decoder("registry", registry), server.add("AVRO", AVRO), avro(AVRO, ORDER)
    for wrong in (data[:-1], data[:5], data + b"x", b"\xff" * 20):
        with pytest.raises(UndecodableError):
            decode(framed(number, wrong))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01\x00\x00\x00\x01a", b'{"a": 1}', b"\x00\x00\x00\xff\xff"])
def test_what_is_not_framed_or_of_an_unknown_schema_is_refused(registry: Registry, data: bytes) -> None:
    with pytest.raises(UndecodableError, match=r"does not begin with a zero byte|has no schema with the id"):
        decoder("registry", registry)(data)


def file_of(name: str, *messages: Any, imports: tuple[str, ...] = ()) -> Any:
    made = descriptor_pb2.FileDescriptorProto(name=name, package="shop", syntax="proto3", dependency=imports)
    made.message_type.extend(messages)
    return made


def message_of(name: str, *fields: Any, nested: tuple[Any, ...] = ()) -> Any:
    made = descriptor_pb2.DescriptorProto(name=name)
    made.field.extend(fields)
    made.nested_type.extend(nested)
    return made


def field_of(name: str, number: int, kind: int, *, many: bool = False, type_name: str = "") -> Any:
    label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
    return Field(name=name, number=number, type=kind, label=label, type_name=type_name or None)


TIME, WRAPPED = ".google.protobuf.Timestamp", ".google.protobuf.Int64Value"
LINE = message_of("Line", field_of("sku", 1, Field.TYPE_STRING))
NEST = message_of("Deep", field_of("n", 1, Field.TYPE_SINT32))
ORDERED = message_of(
    "Order",
    field_of("id", 1, Field.TYPE_INT64),
    field_of("u", 2, Field.TYPE_UINT64),
    field_of("at", 3, Field.TYPE_MESSAGE, type_name=TIME),
    field_of("maybe", 4, Field.TYPE_MESSAGE, type_name=WRAPPED),
    field_of("lines", 5, Field.TYPE_MESSAGE, many=True, type_name=".shop.Line"),
    field_of("data", 6, Field.TYPE_BYTES),
    field_of("ratio", 7, Field.TYPE_DOUBLE),
    nested=(NEST,),
)
IMPORTS = ("google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto")


def classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2):
        made = descriptor_pb2.FileDescriptorProto()
        known.DESCRIPTOR.CopyToProto(made)
        pool.Add(made)
    pool.Add(file_of("line.proto", LINE))
    pool.Add(file_of("order.proto", ORDERED, imports=(*IMPORTS, "line.proto")))
    names = ("shop.Order", "shop.Line", "shop.Order.Deep")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


def test_protobuf_keeps_values_and_types(server: SchemaRegistry, registry: Registry) -> None:
    first = server.add("PROTOBUF", file_of("line.proto", LINE), subject="line")
    number = server.add("PROTOBUF", file_of("order.proto", ORDERED, imports=(*IMPORTS, "line.proto")), line_proto=first)
    made = classes()
    order = made["shop.Order"](id=-(2**63), u=2**64 - 1, data=b"\xff", ratio=0.1)
    order.at.FromDatetime(WHEN)
    order.lines.add(sku="ü")
    decode = decoder("registry", registry)
    found = decode(framed(number, b"\x00" + order.SerializeToString()))
    assert found.value == {
        "id": -(2**63),
        "u": 2**64 - 1,
        "at": WHEN,
        "maybe": None,
        "lines": [{"sku": "ü"}],
        "data": b"\xff",
        "ratio": 0.1,
    }
    assert [str(found.types()[name]) for name in ("id", "u", "at", "maybe")] == [
        "int64", "uint64", "timestamp[us, tz=UTC]", "int64",
    ]  # fmt: skip
    order.maybe.value = 0
    assert decode(framed(number, b"\x00" + order.SerializeToString())).value["maybe"] == 0
    deep = made["shop.Order.Deep"](n=-5).SerializeToString()
    assert decode(framed(number, b"\x04\x00\x00" + deep)).value == {"n": -5}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x02", b"\x02\x08", b"\x04\x00\x08", b"\x01", b"\xff\xff\xff\xff\xff\xff", b"\x00\xff", b"\x00\x0a\x05a"],
)
def test_what_is_no_protobuf_of_its_schema_is_refused(server: SchemaRegistry, registry: Registry, data: bytes) -> None:
    first = server.add("PROTOBUF", file_of("line.proto", LINE), subject="line")
    number = server.add("PROTOBUF", file_of("o.proto", ORDERED, imports=(*IMPORTS, "line.proto")), line_proto=first)
    with pytest.raises(UndecodableError):
        decoder("registry", registry)(framed(number, data))


def test_protobuf_that_a_column_cannot_hold_is_refused(server: SchemaRegistry, registry: Registry) -> None:
    tree = message_of("Tree", field_of("left", 1, Field.TYPE_MESSAGE, type_name=".shop.Tree"))
    decode = decoder("registry", registry)
    with pytest.raises(UndecodableError, match="holds itself"):
        decode(framed(server.add("PROTOBUF", file_of("tree.proto", tree)), b"\x00"))
    fine = message_of("Fine", field_of("at", 1, Field.TYPE_MESSAGE, type_name=TIME))
    number = server.add("PROTOBUF", file_of("fine.proto", fine, imports=IMPORTS[:1]))
    inner = timestamp_pb2.Timestamp(seconds=1, nanos=1).SerializeToString()
    with pytest.raises(UndecodableError, match="finer than microseconds"):
        decode(framed(number, b"\x00\x0a" + struct.pack("B", len(inner)) + inner))


def test_a_json_schema_says_types_and_refuses_what_does_not_fit(server: SchemaRegistry, registry: Registry) -> None:
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "price": {"type": ["number", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "any": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        },
    }
    decode, number = decoder("registry", registry), server.add("JSON", schema)
    found = decode(framed(number, b'{"id": 1, "price": 2, "tags": ["a"], "any": 5, "more": true}'))
    assert {name: str(kind) for name, kind in found.types().items()} == {
        "id": "int64", "price": "double", "tags": "list<item: string>",
    }  # fmt: skip
    assert found.value == {"id": 1, "price": 2.0, "tags": ["a"], "any": 5, "more": True}
    with pytest.raises(UndecodableError, match="in `id`, a text is no `int64`"):
        decode(framed(number, b'{"id": "1"}'))


def test_a_kind_of_schema_that_nobody_knows_is_refused(server: SchemaRegistry, registry: Registry) -> None:
    with pytest.raises(UndecodableError, match="of the kind `THRIFT`"):
        decoder("registry", registry)(framed(server.add("THRIFT", {}), b""))


def test_the_registrys_failures_are_told_and_stop_the_load(server: SchemaRegistry) -> None:
    number = server.add("AVRO", "long")
    server.login = True
    try:
        with pytest.raises(CredentialsError, match="refuses this login") as caught:
            Registry(server.url, USER, "wrong-canary").schema(number)
        assert "canary" not in f"{caught.value!r}{Registry(server.url, USER, PASSWORD)!r}"
        assert Registry(server.url, USER, PASSWORD).schema(number).kind == "AVRO"
    finally:
        server.login = False
    server.busy = 2
    assert Registry(server.url).schema(number).kind == "AVRO", "it is asked again"
    server.busy = 9
    with pytest.raises(StoreUnavailableError, match="ill or busy"):
        Registry(server.url).schema(number)
    server.busy = 0
    with pytest.raises(StoreUnavailableError, match="can't be reached"):
        Registry("http://127.0.0.1:1").schema(number)
    with pytest.raises(FuseError, match=r"can't be reached|no valid address"):
        Registry("http://[oops").schema(number)


MOMENT, LOCAL = pa.timestamp("us", tz="UTC"), pa.timestamp("ms")
FITS: list[tuple[Any, pa.DataType, Any]] = [
    (True, pa.bool_(), True),
    (-128, pa.int8(), -128),
    (3.0, pa.int64(), 3),
    (2**64 - 1, pa.uint64(), 2**64 - 1),
    (0.5, pa.float32(), 0.5),
    (7, pa.float64(), 7.0),
    (12.34, pa.decimal128(5, 2), Decimal("12.34")),
    ("12.34", pa.decimal128(5, 2), Decimal("12.34")),
    ("2024-01-02T03:04:05.678901Z", MOMENT, WHEN),
    ("2024-01-02T04:04:05.678901+01:00", MOMENT, WHEN),
    ("2024-01-02T03:04:05.678000", LOCAL, WHEN.replace(tzinfo=None, microsecond=678000)),
    ("2024-01-02", pa.date32(), dt.date(2024, 1, 2)),
    ({"a": 1}, pa.map_(pa.string(), pa.int64()), [("a", 1)]),
    ([{"a": None}], pa.list_(pa.struct({"a": pa.int64()})), [{"a": None}]),
]


@pytest.mark.parametrize(("value", "kind", "expected"), FITS)
def test_a_value_fits_a_declared_type(value: Any, kind: pa.DataType, expected: Any) -> None:
    assert fit(value, kind) == expected
    assert pa.array([fit(value, kind)], kind).to_pylist() == [expected]
    assert fit(None, kind) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, pa.bool_()),
        (True, pa.int64()),
        (128, pa.int8()),
        (-1, pa.uint8()),
        (1.5, pa.int64()),
        ("1", pa.int64()),
        (2**53 + 1, pa.float64()),
        (0.1, pa.float32()),
        (1e300, pa.float32()),
        (1, pa.string()),
        ("\ud800", pa.string()),
        ("2024-01-02T03:04:05", MOMENT),
        ("2024-01-02T03:04:05.1234567Z", MOMENT),
        ("2024-01-02T03:04:05Z", LOCAL),
        ("2024-01-02T03:04:05.0001", LOCAL),
        ("tomorrow", MOMENT),
        ("2024-13-01", pa.date32()),
        (1, MOMENT),
        ({"a": 1, "b": 2}, pa.struct({"a": pa.int64()})),
        ([1, "a"], pa.list_(pa.int64())),
        ("a", pa.binary()),
        ("NaN", pa.decimal128(5, 2)),
    ],
)
def test_a_value_that_a_declared_type_would_change_is_refused(value: Any, kind: pa.DataType) -> None:
    with pytest.raises(UndecodableError, match="is no `") as caught:
        fit(value, kind)
    assert "tomorrow" not in str(caught.value), "a value may be a secret"
