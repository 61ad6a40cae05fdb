"""Files as others deliver them: every dialect, encoding and packing; and what is broken, refused with its place."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import zipfile
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, FuseError, InputError
from fuse_dagster.engines.local.files.delimited import Delimited
from fuse_dagster.engines.local.files.fixed_width import FixedColumn, FixedWidth, fixed_columns
from fuse_dagster.engines.local.files.layouts import JsonOptions, NdjsonOptions
from fuse_dagster.engines.local.files.opening import Layout, read_file_parts
from fuse_dagster.engines.local.files.packing import Bound
from fuse_dagster.engines.local.files.parts import Part
from fuse_dagster.engines.local.files.texts import Forms, Telling, typed
from fuse_dagster.engines.local.files.xml_rows import XmlRows

FIXED = FixedWidth(columns="carrier:1-2; number:3-6:int64")
PACKERS: dict[str, Any] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def parts(data: bytes, layout: Layout | None, name: str = "file", bound: Bound | None = None) -> list[Part]:
    return [part for _, part in read_file_parts(lambda: io.BytesIO(data), name, layout, bound=bound)]


def rows(data: bytes, layout: Layout | None, name: str = "file") -> list[dict[str, Any]]:
    return pl.concat([part.rows for part in parts(data, layout, name)], how="diagonal_relaxed").to_dicts()


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (b"a,b\n007,\n", {}, [{"a": "007", "b": None}]),
        (b'a,b\n"",x\n', {}, [{"a": "", "b": "x"}]),
        (b"a,b\r\n1,2\r\n", {}, [{"a": "1", "b": "2"}]),
        (b'a,b\n1,"x\ny,z"\n', {}, [{"a": "1", "b": "x\ny,z"}]),
        (b"a|b\n1|'x|y'\n", {"separator": "|", "quote": "'"}, [{"a": "1", "b": "x|y"}]),
        (b'a,b\n1,"x\\"y"\n', {"escape": "\\"}, [{"a": "1", "b": 'x"y'}]),
        (b'a,b\n1,"x"y\n', {"quote": ""}, [{"a": "1", "b": '"x"y'}]),
        (b"1,2\n", {"header": False}, [{"column_1": "1", "column_2": "2"}]),
        (b"# c\na,b\n# d\n1,2\n", {"comment": "#"}, [{"a": "1", "b": "2"}]),
        (b'a,b\n1,"x\n# no comment"\n', {"comment": "#"}, [{"a": "1", "b": "x\n# no comment"}]),
        (b"Report\n\na,b\n1,2\n", {"skip": 2}, [{"a": "1", "b": "2"}]),
        (b"a,b\nNA,2\n", {"null": ("NA", "")}, [{"a": None, "b": "2"}]),
        (b"a\n1\n\n2\n", {}, [{"a": "1"}, {"a": None}, {"a": "2"}]),
        ("a\nü\n".encode("cp1252"), {"encoding": "cp1252"}, [{"a": "ü"}]),
        ("a\nü\n".encode("utf-16"), {"encoding": "utf-16"}, [{"a": "ü"}]),
        ("a\nü\n".encode("utf-16-be"), {"encoding": "utf-16-be"}, [{"a": "ü"}]),
        (codecs.BOM_UTF8 + "a\nü\n".encode(), {}, [{"a": "ü"}]),
    ],
)
def test_every_dialect_of_csv_can_be_declared(data: bytes, options: dict[str, Any], expected: list[Any]) -> None:
    assert rows(data, Delimited(**options)) == expected


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("id;name;x\n007;Ö a, b;1,5\n008;Straße;2,5\n", "cp1252", {"id": "007", "name": "Ö a, b", "x": "1,5"}),
        ("id\tname\n1\tx\n2\ty\n", "utf-16", {"id": "1", "name": "x"}),
        ("id|name\n1|'a|b'\n2|c\n", "utf-8", {"id": "1", "name": "a|b"}),
        ('id,name\n1,"say \\"hi\\" now"\n2,c\n', "utf-8", {"id": "1", "name": 'say "hi" now'}),
        ("Report of today\n\na,b,c\n1,2,3\n4,5,6\n", "utf-8", {"a": "1", "b": "2", "c": "3"}),
        ("name,city\nAnn,Rome\nBob,Paris\n", "utf-8", {"name": "Ann", "city": "Rome"}),
    ],
)
def test_a_dialect_is_detected(text: str, encoding: str, expected: dict[str, str]) -> None:
    assert rows(text.encode(encoding), Delimited.detected())[0] == expected


def test_where_two_dialects_fit_none_is_chosen() -> None:
    with pytest.raises(InputError, match=r"may be separated by any of .*Declare which"):
        parts(b"1;2,5\n3;4,5\n", Delimited.detected())


@pytest.mark.parametrize(
    ("data", "layout", "says"),
    [
        (b"", Delimited(), "is empty: not even a header"),
        (b"a,b\n1,2\n3\n", Delimited(), "row 2: 1 columns where the header has 2"),
        (b"a,b\n1,2,3\n", Delimited(), "row 1: 3 columns"),
        (b'a,b\n1,"x\n2,y\n', Delimited(), "ends within quotes"),
        (b'a\n"x\n', Delimited(), "ends within quotes"),
        (b'a,"b\n', Delimited(), "first line|within quotes"),
        (b"a,a\n1,2\n", Delimited(), "names columns twice"),
        (b"a,\n1,2\n", Delimited(), "without a name"),
        (b"a\nx\xff\n", Delimited(), "no utf-8 at byte 3: the bytes `ff 0a`"),
        (b"a\n" + b"x" * 600_000 + b"\xff", Delimited(), "no utf-8 at byte 600,002"),
        ("a\nb\n".encode("utf-16-le"), Delimited(), "null byte"),
        ("a\nü\n".encode("utf-16-le"), Delimited(encoding="utf-16"), "no byte order mark"),
        ("a\nü\n".encode("utf-16"), Delimited(encoding="cp1252"), "mark of utf-16-le, but is declared|mark of utf-16"),
        ("a\nü\n".encode("utf-16")[:-1], Delimited(encoding="utf-16"), "no utf-16-le at byte"),
        (b"a,b\n1,\0\n", Delimited(), "null byte at byte 6"),
        (b"AA0001\nBB1\n", FIXED, "line 2: 3 characters where 6 are declared"),
        (b"AA00011\n", FIXED, "7 characters where 6"),
        (b"", FIXED, "has no line"),
        (b"<a><r>", XmlRows(), "can't be read as XML.*cut off"),
        (b"", XmlRows(), "can't be read as XML"),
        (b"<a/>", XmlRows(record="r"), "no element `r`; its root is `a`"),
        (b"<a><r><t>1</t><t>2</t></r></a>", XmlRows(), "`t` twice in one row"),
        (b"<a><r>\xff</r></a>", XmlRows(), "can't be read as XML"),
        (b"<a>" * 300, XmlRows(), "200 deep"),
        (b'{"a": 1', JsonOptions(), "can't be read as JSON.*cut off"),
        (b'{"a": 1}\n{"a"', NdjsonOptions(), "line 2` can't be read as JSON"),
        (b'{"a": 1} {"a": 2}', NdjsonOptions(), "Extra data"),
        (b'[{"a": 1}] x', JsonOptions(), "goes on after its end"),
        (b"", JsonOptions(), "can't be read as JSON"),
        (b"[1]", JsonOptions(), "no row"),
        (b'{"a": NaN}', JsonOptions(), "`NaN` is no JSON"),
        (b'{"a": 1, "a": 2}', JsonOptions(), "names `a` twice"),
        (b"[" * 100_000, JsonOptions(), "nests too deep"),
        (b'{"a": "\xff"}', JsonOptions(), "no utf-8 at byte 7"),
    ],
)
def test_what_is_broken_is_refused_with_its_place(data: bytes, layout: Layout, says: str) -> None:
    with pytest.raises(InputError, match=f"(?s){says}") as caught:
        parts(data, layout, "in/file")
    assert "`in/file" in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname">%x;]>',
        '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;&x;">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">',
    ],
)
def test_no_entity_of_xml_is_expanded_or_fetched(declared: str) -> None:
    with pytest.raises(InputError, match="declares or uses an entity"):
        parts(f"{declared}<a><r>&x;</r></a>".encode(), XmlRows())


def test_xml_takes_attributes_children_and_what_lies_deeper() -> None:
    data = b"<f><r id='1'><a>x</a><o><code>y</code></o></r><r id='2'><a/><t>1</t><t>2</t></r></f>"
    assert rows(data, XmlRows(lists=("t",))) == [
        {"id": "1", "a": "x", "o_code": "y", "t": None},
        {"id": "2", "a": None, "o_code": None, "t": '["1", "2"]'},
    ]
    spaced = b"<p:f xmlns:p='u:1' xmlns:q='u:2'><p:r a='1'/><q:r a='2'/></p:f>"
    assert rows(spaced, XmlRows(record="f/r")) == [{"a": "1"}, {"a": "2"}]
    assert rows(spaced, XmlRows(record="x:f/x:r", namespaces={"x": "u:1"})) == [{"a": "1"}]
    nil = b"<f xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><r><a i:nil='true'/><b>1</b></r></f>"
    assert rows(nil, XmlRows(null=())) == [{"a": None, "b": "1"}]
    assert rows("<?xml version='1.0' encoding='latin-1'?><f><r>ü</r></f>".encode("latin-1"), XmlRows()) == [{"r": "ü"}]


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_are_read_whole_or_refused(ending: str) -> None:
    pack = PACKERS[ending]
    packed = pack(b"a\n1\n")
    assert rows(packed, None, f"x.csv{ending}") == [{"a": "1"}]
    assert rows(packed + pack(b"2\n"), None, f"x.csv{ending}") == [{"a": "1"}, {"a": "2"}]
    for cut in range(1, len(packed)):
        with pytest.raises(InputError):
            parts(packed[:-cut], None, f"x.csv{ending}")
    with pytest.raises(InputError, match="damaged"):
        parts(packed + b"junk", None, f"x.csv{ending}")
    bomb = pack(b"0" * 70_000_000)
    with pytest.raises(InputError, match="unpacks to more than 67,108,864 bytes"):
        parts(bomb, Delimited(), f"x.csv{ending}", Bound(ratio=2))


def test_archives_are_read_member_by_member() -> None:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"b.csv": "a\n2\n", "a.json": '{"a": 1}', "d/.hidden": "x", "__MACOSX/a.csv": "x"}.items():
            archive.writestr(name, text)
    data = kept.getvalue()
    found = list(read_file_parts(lambda: io.BytesIO(data), "x.zip"))
    assert [(name, part.rows.to_dicts()) for name, part in found if part.rows.height] == [
        ("a.json", [{"a": 1}]),
        ("b.csv", [{"a": "2"}]),
    ]
    for cut in (1, 30, len(data) // 2):
        with pytest.raises(InputError):
            parts(data[:-cut], None, "x.zip")
    flipped = bytearray(data)
    flipped[data.index(b"b.csv") + 6] ^= 1
    with pytest.raises(InputError, match="cut off or damaged"):
        parts(bytes(flipped), None, "x.zip")
    with pytest.raises(InputError, match="2 files; 1 are allowed"):
        parts(data, None, "x.zip", Bound(members=1))


def test_rows_of_another_length_can_be_rejected_alone() -> None:
    (part, *_) = parts(b"a,b\n1,2\n3\n4,5,6\n7,8\n", Delimited(bad_rows="reject"))
    assert (part.rows["a"].to_list(), part.numbers.to_list()) == (["1", "7"], [1, 4])
    assert [(row.number, row.text) for row in part.bad] == [(2, "3"), (3, "4,5,6")]
    (part,) = parts(b"AA0001\nBB1\nCC0003", FixedWidth(columns=FIXED.columns, bad_rows="reject"))
    assert (part.numbers.to_list(), [row.text for row in part.bad]) == ([1, 3], ["BB1"])


def test_types_are_told_only_where_nothing_is_lost() -> None:
    frame = pl.DataFrame(
        {
            "code": ["007", "1"], "whole": ["1", None], "number": ["1.5", "-2"], "no_day": ["2024-02-30", "2024-01-01"],
            "day": ["2024-02-29", None], "truth": ["true", "FALSE"], "long": ["1234567890123456.5", "1"],
            "phone": ["+43", "1"], "at": ["2024-01-01 00:00:00Z", "2024-01-01T00:00:00+02:00"], "none": [None, None],
            "huge": ["9999999999999999999", "1"],
        },
        schema_overrides={"none": pl.String},
    )  # fmt: skip
    telling = Telling()
    telling.see(frame)
    text = pl.String()
    assert telling.types() == {
        "code": text, "whole": pl.Int64(), "number": pl.Float64(), "no_day": text, "day": pl.Date(),
        "truth": pl.Boolean(), "long": text, "phone": text, "at": pl.Datetime("us", "UTC"), "none": None, "huge": text,
    }  # fmt: skip
    telling.see(pl.DataFrame({"whole": ["x"]}))
    assert telling.types()["whole"] == text


def test_declared_types_take_numbers_and_dates_as_they_are_written() -> None:
    part = Part.numbered(pl.DataFrame({"n": ["1.234,50", "-5"], "d": ["31.12.2024", "01.02.2024"]}), 0)
    forms = Forms(decimal=",", thousands=".", times={"d": "%d.%m.%Y"})
    found = typed(part, {"n": pl.Decimal(10, 2), "d": pl.Date()}, "f", forms=forms).rows
    assert found["n"].cast(pl.String).to_list() == ["1234.50", "-5.00"]
    assert found["d"].cast(pl.String).to_list() == ["2024-12-31", "2024-02-01"]
    with pytest.raises(InputError, match=r"row 1: `n` is `1.234,50`, which is no float64"):
        typed(part, {"n": pl.Float64()}, "f")
    with pytest.raises(InputError, match="no decimal"):
        typed(Part.numbered(pl.DataFrame({"n": ["1.005"]}), 0), {"n": pl.Decimal(10, 2)}, "f")
    kept = typed(part, {"n": pl.Int64()}, "f", reject=True)
    assert (kept.rows["n"].to_list(), kept.numbers.to_list(), kept.bad[0].number) == ([-5], [2], 1)


def test_json_keeps_every_number_and_mixture() -> None:
    data = b'[{"a": 1, "b": 1.5, "c": 9007199254740993, "d": 123456789012345678901234567890, "e": 1e999},'
    data += b' {"a": "x", "b": 2, "c": 1, "d": 1, "e": 1.23456789012345678901}]'
    assert rows(data, JsonOptions()) == [
        {"a": "1", "b": 1.5, "c": 9007199254740993, "d": "123456789012345678901234567890", "e": "1e999"},
        {"a": "x", "b": 2.0, "c": 1, "d": "1", "e": "1.23456789012345678901"},
    ]
    nested = b'[{"a": {"x": 1}}, {"a": {"y": [1, 2]}}, {"a": null}]'
    assert rows(nested, JsonOptions())[1] == {"a": {"x": None, "y": [1, 2]}}
    assert rows(b'[{"a": {"x": 1}}, {"a": {"x": "s"}}]', JsonOptions())[0] == {"a": '{"x": 1}'}
    assert rows(b'{"a": 1}\n\n{"a": 2}\n', JsonOptions()) == [{"a": 1}, {"a": 2}]
    assert rows(b"[]", JsonOptions()) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Delimited(separator=";;"), "`separator` is ';;'"),
        (lambda: Delimited(separator='"'), "two are the same sign"),
        (lambda: Delimited(encoding="utf-9"), "no encoding that Python knows"),
        (lambda: Delimited(bad_rows="skip"), "Valid: `refuse`, `reject`"),
        (lambda: FixedWidth(columns="a:1-3; b:3-4"), "overlap"),
        (lambda: FixedWidth(columns="a:3-1"), "no column of fixed width"),
        (lambda: FixedWidth(columns=""), "are none"),
        (lambda: FixedWidth(columns="a:1-2", length=1), "at least the 2 characters"),
        (lambda: FixedColumn(name="a", start=0, width=1), "is no column"),
        (lambda: fixed_columns("a:1-2:int46"), "is no type"),
        (lambda: XmlRows(record="p:a"), "unknown prefix"),
        (lambda: Bound(most=0), "allows no file"),
    ],
)
def test_declarations_that_can_not_be_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


@given(st.lists(st.tuples(VALUES, VALUES), max_size=8), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
@settings(max_examples=60, deadline=None)
def test_csv_that_was_written_comes_back(values: list[tuple[str, str]], encoding: str) -> None:
    text = "a;b\n" + "".join(f"{_quoted(a)};{_quoted(b)}\n" for a, b in values)
    assert rows(text.encode(encoding), Delimited(separator=";", encoding=encoding)) == [
        {"a": a, "b": b} for a, b in values
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES.filter(bool), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from("ab"), JSON, min_size=1), min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_json_comes_back_or_as_its_text(values: list[dict[str, Any]]) -> None:
    found = rows(json.dumps(values).encode(), JsonOptions())
    for row, wanted in zip(found, values, strict=True):
        for name, value in wanted.items():
            said = row[name]
            assert said == value or said == _text(value) or _sparse(said) == _sparse(value)


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sparse(value: Any) -> Any:
    """A value without the fields that are null: those of other rows' structs."""
    if isinstance(value, dict):
        return {name: _sparse(inner) for name, inner in value.items() if inner is not None} or None
    return [_sparse(inner) for inner in value] if isinstance(value, list) else value


@given(
    st.binary(max_size=60), st.sampled_from([None, Delimited(), Delimited.detected(), FIXED, XmlRows(), JsonOptions()])
)
@settings(max_examples=60, deadline=None)
def test_whatever_lands_is_read_or_refused_in_our_words(data: bytes, layout: Layout | None) -> None:
    try:
        parts(data, layout, "x.csv.gz")
    except FuseError:
        return
