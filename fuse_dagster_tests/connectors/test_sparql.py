from __future__ import annotations

import datetime as dt
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
import rdflib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster import SPARQL
from fuse_dagster.connectors.base import CanAnswer, CanListNames, CanQuery, CanReadRows
from fuse_dagster.connectors.rdf.questions import question
from fuse_dagster.connectors.rdf.terms import IRI, Literal, written
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    InputError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.servers.faults import Fault
from fuse_dagster_tests.servers.sparql import Endpoint, sparql_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fuse_dagster_tests.servers.proxy import FaultyProxy

PREFIXES = "PREFIX : <https://example.org/>\nPREFIX xsd: <http://www.w3.org/2001/XMLSchema#>\n"
DATA = """@prefix : <https://example.org/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:a :name "Wien"@de ; :height 183 ; :open true ; :since "1954-05-01"^^xsd:date ; :part [ :x 1 ] .
:b :name "München" ; :height 448.5 ; :seen "2024-06-01T12:00:00+02:00"^^xsd:dateTime .
:c :name "Gra\\"z" ; :odd "abc"^^xsd:integer .
"""


@pytest.fixture(scope="module")
def started() -> Iterator[Endpoint]:
    with sparql_endpoint() as found:
        yield found


@pytest.fixture
def endpoint(started: Endpoint) -> Endpoint:
    started.reset()
    started.load(DATA)
    return started


@pytest.fixture
def other(endpoint: Endpoint) -> Callable[..., SPARQL]:
    """Makes connectors to the endpoint, with some fields changed."""
    fields: dict[str, Any] = {"base_url": endpoint.url, "allow_http": True, "retry_timeout": 5.0}
    return lambda **changed: SPARQL(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., SPARQL]) -> SPARQL:
    return other(queries={"names": PREFIXES + "SELECT ?s ?n { ?s :name ?n } ORDER BY ?s"})


class TestSPARQL(ConnectorContract):
    pass


def ask(one: SPARQL, text: str, **parameters: object) -> pa.Table:
    """The whole answer."""
    with one.query(PREFIXES + text, parameters) as reader:
        return reader.read_all()


def column(one: SPARQL, *terms: str) -> pa.ChunkedArray:
    """A column of these terms, in this order."""
    rows = " ".join(f"({number} {term})" for number, term in enumerate(terms))
    return ask(one, f"SELECT ?v {{ VALUES (?n ?v) {{ {rows} }} }} ORDER BY ?n").column("v")


def test_what_it_can(connector: SPARQL) -> None:
    assert isinstance(connector, CanAnswer)
    assert isinstance(connector, CanQuery)
    assert isinstance(connector, CanReadRows)
    assert isinstance(connector, CanListNames)
    assert connector.answer().startswith("SPARQL by BaseHTTP")


@pytest.mark.parametrize(
    ("terms", "kind", "values"),
    [
        (["1", '"-9223372036854775808"^^xsd:integer', "UNDEF"], pa.int64(), [1, -(2**63), None]),
        (['"9223372036854775808"^^xsd:integer'], pa.decimal128(19, 0), [Decimal(2**63)]),
        ([f'"{10**40}"^^xsd:integer'], pa.string(), [str(10**40)]),
        (["1.50", "-0.125", "7"], pa.decimal128(4, 3), [Decimal("1.5"), Decimal("-0.125"), Decimal(7)]),
        (["1.5e0", "2", "0.1"], pa.float64(), [1.5, 2.0, 0.1]),
        (["1e0", '"9007199254740993"^^xsd:integer'], pa.string(), None),
        (['"1.5"^^xsd:float'], pa.float32(), [1.5]),
        (['"-INF"^^xsd:double'], pa.float64(), [float("-inf")]),
        (["true", '"0"^^xsd:boolean'], pa.bool_(), [True, False]),
        (['"2024-02-29"^^xsd:date'], pa.date32(), [dt.date(2024, 2, 29)]),
        (['"2024-02-29Z"^^xsd:date'], pa.string(), ["2024-02-29Z"]),
        (['"2024-02-30"^^xsd:date'], pa.string(), ["2024-02-30"]),
        (['"23:59:59.5"^^xsd:time'], pa.time64("us"), [dt.time(23, 59, 59, 500_000)]),
        (
            ['"2024-06-01T12:00:00.25+02:00"^^xsd:dateTime', '"2024-06-01T00:00:00Z"^^xsd:dateTime'],
            pa.timestamp("us", tz="UTC"),
            [dt.datetime(2024, 6, 1, 10, 0, 0, 250_000, dt.UTC), dt.datetime(2024, 6, 1, tzinfo=dt.UTC)],
        ),
        (['"2024-06-01T24:00:00"^^xsd:dateTime'], pa.timestamp("us"), [dt.datetime(2024, 6, 2)]),  # noqa: DTZ001
        (['"2024-06-01T00:00:00Z"^^xsd:dateTime', '"2024-06-01T00:00:00"^^xsd:dateTime'], pa.string(), None),
        (['"2024-06-01T00:00:00.1234567"^^xsd:dateTime'], pa.string(), None),
        (['"12024-06-01T00:00:00"^^xsd:dateTime'], pa.string(), None),
        (['"aGk="^^xsd:base64Binary'], pa.binary(), [b"hi"]),
        (['"6869"^^xsd:hexBinary'], pa.binary(), [b"hi"]),
        (['"abc"^^xsd:integer', "1"], pa.string(), ["abc", "1"]),
        (["1", '"one"'], pa.string(), ["1", "one"]),
        (["1", "true"], pa.string(), ["1", "true"]),
        ([":a", '"x"@de', '""'], pa.string(), ["https://example.org/a", "x", ""]),
        (["UNDEF"], pa.string(), [None]),
    ],
)
def test_a_column_has_one_type_without_loss_or_is_text(
    connector: SPARQL, terms: list[str], kind: pa.DataType, values: list[object] | None
) -> None:
    found = column(connector, *terms)
    assert found.type == kind
    if values is not None:
        assert found.to_pylist() == values


def test_columns_come_in_the_order_of_the_question_and_what_is_not_bound_is_null(connector: SPARQL) -> None:
    found = ask(
        connector,
        "SELECT ?h ?s ?none ?o { ?s :name ?n OPTIONAL { ?s :height ?h } OPTIONAL { ?s :open ?o } } ORDER BY ?s",
    )
    assert found.column_names == ["h", "s", "none", "o"]
    assert found.column("h").to_pylist() == [Decimal(183), Decimal("448.5"), None]
    assert found.column("none").to_pylist() == [None] * 3
    assert found.column("o").to_pylist() == [True, None, None]


def test_blank_nodes_are_texts_that_say_so(connector: SPARQL) -> None:
    (name,) = ask(connector, "SELECT ?p { :a :part ?p }").column("p").to_pylist()
    assert name.startswith("_:")


def test_datatypes_and_languages_are_kept_where_they_are_asked_for(other: Callable[..., SPARQL]) -> None:
    found = ask(other(with_terms=True), "SELECT ?n ?h { ?s :name ?n OPTIONAL { ?s :height ?h } } ORDER BY ?s")
    assert found.column_names == ["n", "n_datatype", "n_language", "h", "h_datatype", "h_language"]
    assert found.column("n_language").to_pylist() == ["de", None, None]
    assert [kind and kind.rpartition("#")[2] for kind in found.column("h_datatype").to_pylist()] == [
        "integer",
        "decimal",
        None,
    ]
    with pytest.raises(InputError, match="`n_language` are there twice"):
        ask(other(with_terms=True), "SELECT ?n (1 AS ?n_language) { ?s :name ?n }")


def test_an_ask_is_one_row(connector: SPARQL) -> None:
    assert ask(connector, "ASK { :a :height 183 }").to_pydict() == {"answer": [True]}
    assert ask(connector, "# why?\nASK { :a :height 184 }").to_pydict() == {"answer": [False]}


def test_nothing_found_is_an_empty_table_with_its_columns(connector: SPARQL) -> None:
    assert ask(connector, "SELECT ?a ?b { ?a :absent ?b }").to_pydict() == {"a": [], "b": []}


@pytest.mark.parametrize("send_as", ["form", "direct", "get"])
def test_questions_travel_in_each_form(send_as: str, other: Callable[..., SPARQL], endpoint: Endpoint) -> None:
    one = other(send_as=send_as, default_graphs=["https://example.org/absent"])
    assert ask(one, 'SELECT ?s { ?s :name "a&b=c+ü%20" }').num_rows == 0
    assert endpoint.graphs == ["https://example.org/absent"]
    assert '"a&b=c+ü%20"' in endpoint.asked[-1]
    assert ask(other(send_as=send_as), "SELECT ?s { ?s :name ?n }").num_rows == 3


def test_queries_are_read_by_name(connector: SPARQL, endpoint: Endpoint) -> None:
    assert list(connector.names("n*")) == ["names"]
    with connector.rows("names", columns=["n"], limit=2) as reader:
        assert reader.read_all().to_pydict() == {"n": ["Wien", "München"]}
    assert endpoint.asked[-1].endswith("LIMIT 2 OFFSET 0")
    with connector.rows("names") as reader:
        assert pl.from_arrow(reader.read_all()).height == 3
    with pytest.raises(NotThereError, match="Did you mean `names`"), connector.rows("name"):
        pass
    with pytest.raises(ConfigError, match="no column `m`"), connector.rows("names", columns=["m"]):
        pass


VALUES = [
    ("plain", '"plain"'),
    (3, "3"),
    (2.5, "2.5e0"),
    (Decimal("1.10"), "1.10"),
    (True, "true"),
    (dt.date(2024, 1, 2), '"2024-01-02"^^xsd:date'),
    (dt.datetime(2024, 1, 2, 3, 4, 5, 6, dt.UTC), '"2024-01-02T03:04:05.000006+00:00"^^xsd:dateTime'),
    (dt.time(3, 4), '"03:04:00"^^xsd:time'),
    (b"hi", '"aGk="^^xsd:base64Binary'),
    (IRI("https://example.org/a?b=c#d"), "<https://example.org/a?b=c#d>"),
    (Literal(text="Wien", language="de-AT"), '"Wien"@de-AT'),
    (Literal(text="P1D", datatype="http://www.w3.org/2001/XMLSchema#duration"), '"P1D"^^xsd:duration'),
]


@pytest.mark.parametrize(("value", "term"), VALUES, ids=[str(term) for _, term in VALUES])
def test_a_parameter_is_the_term_of_its_value(value: object, term: str, connector: SPARQL) -> None:
    assert ask(connector, f"ASK {{ FILTER(sameTerm(?p, {term})) }}", p=value).column("answer").to_pylist() == [True]


ATTACKS = [
    '" } DROP ALL #',
    '"',
    "'''",
    '\\" . ?s ?p ?o . #',
    "\\",
    "\\\\",
    "\\u0022 } #",
    "\\U00000022",
    "\\\\u0022",
    "\n\r\t\f\b\x01\x7f",
    "?s",
    "{{}}<>",
    "%s{0}",
    "日本 \U0001f600",
    "\ufffe\u2028",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_no_text_can_be_taken_for_a_part_of_the_question(text: str, connector: SPARQL) -> None:
    found = ask(connector, "SELECT (?p AS ?v) (STRLEN(?p) AS ?n) { FILTER(?p = ?p) }", p=text)
    assert found.to_pydict() == {"v": [text], "n": [len(text)]}
    theirs = rdflib.Graph().query(question("SELECT (?p AS ?v) {}", {"p": text}).text)
    assert [str(row[0]) for row in theirs] == [text], "also by an engine that reads escapes before all else"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_any_text_comes_back_as_it_is(connector: SPARQL, text: str) -> None:
    assert ask(connector, "SELECT (?p AS ?v) {}", p=text).to_pydict() == {"v": [text]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (IRI("https://a> ?s ?p <b"), "is no IRI"),
        (IRI("relative"), "is no IRI"),
        (IRI("https://a\\u003e"), "is no IRI"),
        (Literal(text="a", language='de" . #'), "is no language"),
        (Literal(text="a", datatype="xsd:int> <"), "is no IRI"),
        (Literal(text="a", language="de", datatype="x:y"), "not both"),
        ("\ud800", "no RDF text can hold"),
        ("\0", "no RDF text can hold"),
        (None, "RDF has no null"),
        (["a"], "A `list` can't be a parameter"),
        (Decimal("NaN"), "A `Decimal` can't be"),
    ],
)
def test_what_is_no_term_is_refused_before_anything_is_sent(
    value: object, words: str, connector: SPARQL, endpoint: Endpoint
) -> None:
    with pytest.raises(InputError, match=words):
        ask(connector, "SELECT * { ?s ?q ?p }", p=value)
    assert endpoint.asked == []


def test_parameters_stand_where_variables_do_and_nowhere_else(connector: SPARQL) -> None:
    text = """SELECT ?s ("?n" AS ?text) { # ?n in a comment stays
        ?s :name ?m OPTIONAL { ?s :name $n } FILTER(?m = ?n && <https://a/?n> != ?s) }"""
    found = ask(connector, text, n="München")
    assert found.to_pydict() == {"s": ["https://example.org/b"], "text": ["?n"]}
    assert ask(connector, "SELECT (?n AS ?v) { { SELECT ?s { ?s :name ?n } } }", n="München").num_rows == 1
    for wrong in ("SELECT ?n { ?s :name ?n }", "SELECT (1 AS ?n) {}", "SELECT * { VALUES ?n { 1 } }"):
        with pytest.raises(InputError, match="is a parameter"):
            ask(connector, wrong, n="x")
    with pytest.raises(InputError, match=r"no variable `\?m`"):
        ask(connector, "SELECT ?s { ?s :name ?n }", m="x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CONSTRUCT { ?s ?p ?o } WHERE { ?s ?p ?o }", "`CONSTRUCT` answers with a graph"),
        ("DELETE WHERE { ?s ?p ?o }", "changes nothing, and this is `DELETE`"),
        ("DROP ALL", "this is `DROP`"),
        ("", "no question in SPARQL"),
    ],
)
def test_only_questions_with_rows_are_asked(text: str, words: str, connector: SPARQL, endpoint: Endpoint) -> None:
    with pytest.raises(InputError, match=words):
        ask(connector, text)
    assert endpoint.asked == []


def test_a_question_that_is_not_understood_is_an_input_error(connector: SPARQL) -> None:
    with pytest.raises(InputError, match=r"is not understood by `http://.*` \(status 400\)"):
        ask(connector, "SELECT ?s { ?s :name }")


def test_pages_together_are_the_whole(other: Callable[..., SPARQL], endpoint: Endpoint) -> None:
    endpoint.load("".join(f"<https://e/{number}> <https://e/n> {number} .\n" for number in range(25)))
    text = "SELECT ?n { ?s <https://e/n> ?n } ORDER BY ?n"
    assert ask(other(page_size=10), text).column("n").to_pylist() == list(range(25))
    assert [line.split()[-1] for line in endpoint.asked] == ["0", "10", "20", "25"]
    with other(page_size=10, queries={"n": text}).rows("n", limit=12) as reader:
        assert reader.read_all().column("n").to_pylist() == list(range(12))
    for wrong, words in ((text.partition("ORDER")[0], "needs an ORDER BY"), (f"{text} LIMIT 5", "can't have a LIMIT")):
        with pytest.raises(InputError, match=words):
            ask(other(page_size=10), wrong)
    with pytest.raises(InputError, match="needs an ORDER BY"):
        ask(other(page_size=10), "SELECT ?n { { SELECT ?n { ?s <https://e/n> ?n } ORDER BY ?n } }")


def test_types_are_those_of_all_pages(other: Callable[..., SPARQL]) -> None:
    text = "SELECT ?v { VALUES (?n ?v) { (1 1) (2 2.5) (3 3) } } ORDER BY ?n"
    assert ask(other(page_size=1), text).column("v").to_pylist() == [Decimal("1.0"), Decimal("2.5"), Decimal("3.0")]


def test_an_answer_that_the_endpoint_cuts_is_refused(other: Callable[..., SPARQL], endpoint: Endpoint) -> None:
    endpoint.most = 2
    text = "SELECT ?s { ?s :name ?n }"
    assert ask(other(), text).num_rows == 2, "nobody can know"
    with pytest.raises(StoreError, match="answers with 2 rows, which is the most that it gives"):
        ask(other(max_rows=2), text)
    endpoint.headers = {"X-SPARQL-MaxRows": "2"}
    with pytest.raises(StoreError, match="which is the most that it gives"):
        ask(other(), text)
    endpoint.most, endpoint.headers = 0, {"X-SQL-State": "S1TAT"}
    with pytest.raises(StoreError, match="is only a part"):
        ask(other(), text)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda body: body[:-40], "broke off in the middle"),
        (lambda body: body + b"\njava.util.concurrent.TimeoutException", "broke off in the middle"),
        (lambda body: b"", "broke off in the middle"),
        (lambda body: b"{}", "is no result of SPARQL"),
        (lambda body: b"[]", "is no result of SPARQL"),
        (lambda body: b'{"head": {"vars": ["s"]}}', "answers without `bindings`"),
        (
            lambda body: b'{"head": {"vars": []}, "results": {"bindings": [{"s": {"type": "uri", "value": "a"}}]}}',
            "none of",
        ),
        (lambda body: b'{"head": {"vars": ["s"]}, "results": {"bindings": [{"s": "a"}]}}', "without terms of RDF"),
        (lambda body: b'{"head": {"vars": ["s"]}, "results": {"bindings": [7]}}', "without terms of RDF"),
        (lambda body: body.replace(b"example", b"\xff\xfe"), "broke off in the middle"),
    ],
)
def test_an_answer_that_lies_is_never_a_shorter_table(
    lie: Callable[[bytes], bytes], words: str, connector: SPARQL, endpoint: Endpoint
) -> None:
    endpoint.lie = lie
    with pytest.raises(StoreError if "broke" not in words else StoreUnavailableError, match=words):
        ask(connector, "SELECT ?s { ?s :name ?n }")


def test_a_page_for_people_is_no_answer(connector: SPARQL, endpoint: Endpoint) -> None:
    endpoint.kind = "text/html; charset=utf-8"
    with pytest.raises(StoreError, match="answers with `text/html`, and not with results"):
        connector.answer()


def test_logins(other: Callable[..., SPARQL], endpoint: Endpoint) -> None:
    endpoint.token = "a-token-of-sparql"
    assert other(token=endpoint.token).answer()
    with pytest.raises(CredentialsError, match="401") as caught:
        other(token="another-token-of-sparql").answer()
    assert "another-token" not in str(caught.value)


def test_faults_that_pass_are_got_over_and_those_that_last_are_errors_in_time(
    other: Callable[..., SPARQL], endpoint: Endpoint, proxy_before: Callable[[int], FaultyProxy]
) -> None:
    proxy = proxy_before(endpoint.port)
    address = f"http://127.0.0.1:{proxy.port}/sparql"
    text = "SELECT ?s { ?s :name ?n }"
    for fault in (Fault("half answered"), Fault("reset"), Fault("lost"), Fault("refused", retry_after=0)):
        proxy.calm()
        proxy.cause(fault)
        assert ask(other(base_url=address, retry_timeout=20.0), text).num_rows == 3
        assert proxy.happened == 1
    for fault in (Fault("half answered", times=1000), Fault("silent", times=1000), Fault("reset", times=1000)):
        proxy.calm()
        proxy.cause(fault)
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            ask(other(base_url=address, timeout=0.5, retry_timeout=0.5), text)
        assert time.monotonic() - began < 15


def test_many_rows_come_in_batches(connector: SPARQL, endpoint: Endpoint) -> None:
    row = {"s": {"type": "literal", "value": "7", "datatype": "http://www.w3.org/2001/XMLSchema#integer"}}
    endpoint.lie = lambda _: json.dumps({"results": {"bindings": [row] * 25_000}, "head": {"vars": ["s"]}}).encode()
    with connector.query("SELECT ?s { ?s ?p ?o }") as reader:
        assert [batch.num_rows for batch in reader] == [10_000, 10_000, 5_000]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"page_size": -1}, r"`\$\.page_size`"),
        ({"default_graphs": ["a> <b"]}, r"`\$\.default_graphs`: .*is no IRI"),
        ({"queries": {"x": "DROP ALL"}}, r"`\$\.queries`: `x`: .*DROP"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_declared(
    fields: dict[str, Any], words: str, other: Callable[..., SPARQL]
) -> None:
    with pytest.raises(ConfigError, match=words):
        other(**fields)


def test_terms_say_how_they_are_written() -> None:
    assert written("a\\u0022") == '"a\\\\\\U000000750022"'
    assert written(float("inf")) == '"INF"^^<http://www.w3.org/2001/XMLSchema#double>'
