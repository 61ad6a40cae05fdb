from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from fuse_dagster import REST, load_profile
from fuse_dagster.connectors.base import CanAnswer, CanListNames, CanReadRows
from fuse_dagster.connectors.http.endpoints import Endpoint, Paging
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    NotThereError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.connectors.http.styles import read
from fuse_dagster_tests.docs.pages import PAGES
from fuse_dagster_tests.servers.rest import CLIENT, CLIENT_SECRET, KEY, PASSWORD, USER, Reply, RestServer, rest_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def started() -> Iterator[RestServer]:
    with rest_server() as server:
        yield server


@pytest.fixture
def rest(started: RestServer) -> RestServer:
    started.reset()
    return started


def api(rest: RestServer, endpoint: dict[str, Any] | None = None, **more: Any) -> REST:
    """A connection with one endpoint, `things`: the whole list by default."""
    endpoints = {"things": {"path": "all", **(endpoint or {})}}
    return REST(base_url=rest.url, allow_http=True, endpoints=endpoints, **{"retry_timeout": 0.0, **more})


class TestREST(ConnectorContract):
    @pytest.fixture
    def connector(self) -> REST:
        return REST(
            base_url="https://api.example.com/v1",
            token_url="https://login.example.com/token",
            client_id="loader",
            client_secret="s3cr3t-of-loader",
            endpoints={"flights": {"path": "flights", "paging": {"style": "link"}, "columns": {"id": "int64"}}},
        )

    def test_it_can_answer_list_and_read(self, connector: REST) -> None:
        assert isinstance(connector, CanAnswer)
        assert isinstance(connector, CanReadRows)
        assert isinstance(connector, CanListNames)


class TestDeclaring:
    @pytest.mark.parametrize(
        ("said", "words"),
        [
            ({"base_url": "api.example.com"}, r"`\$.base_url`: It is no URL"),
            ({"base_url": "https://ada:pw123@api.example.com"}, r"`\$.base_url`: It holds a user or a password"),
            ({"base_url": "http://api.example.com"}, "sends data in the clear"),
            ({"token": "t0ken!", "api_key": "k3y"}, r"`\$.api_key`: `token` is given as well"),
            ({"username": "ada"}, r"`\$.password`: `username` is given without it"),
            ({"token_url": "https://a.example"}, r"`\$.client_id`: The `grant` `client_credentials` needs it"),
            ({"client_id": "a"}, r"`\$.client_id`: It belongs to OAuth2"),
            ({"headers": {"Authorization": "Bearer abcdefg"}}, "holds credentials. Give `token`"),
            ({"headers": {"X-A": "b\r\nX-C: d"}}, "can't be sent"),
            ({"headers": {"X-A": "env://KEY"}}, "reference to a secret, and nobody resolves it"),
            ({"api_key": "k3y", "api_key_name": "a\nb"}, r"`\$.api_key_name`: It can't be the name of a header"),
            ({"concurrency": 0}, "Valid: 1 to 64"),
            ({"timeout": -1}, "is no time to wait"),
            ({"requests_per_second": -1}, "is below 0"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, said: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words) as raised:
            REST(**{"base_url": "https://api.example.com", **said})
        assert not any(secret in str(raised.value) for secret in ("t0ken!", "k3y", "pw123", "abcdefg"))

    @pytest.mark.parametrize(
        ("endpoint", "words"),
        [
            ({"pth": "a"}, "At `x.pth`: There is no such field"),
            ({"path": "https://evil.example/a"}, "`x.path`: It is an address"),
            ({"path": "s/{station}"}, "`x.path`: It needs a value for `station`"),
            ({"body": "{}"}, "`x.body`: A GET has none"),
            ({"method": "POST", "body": "{"}, "`x.body`: It is no JSON"),
            ({"method": "POST", "body": "{}", "form": {"a": "b"}}, "`x.form`: `body` is given as well"),
            ({"safe": True}, "`x.safe`: A GET is safe"),
            ({"records": "a..b"}, "`x.records`: `a..b` is no path"),
            ({"columns": {"a": "varchar"}}, "`a` has the type `varchar`, which there is not. Valid: `string`, `int64`"),
            ({"columns": {"a": "decimal(40,2)"}}, "has the type `decimal"),
            ({"keep": ["a"], "each": [{"a": "1"}, {"b": "2"}]}, "`x.keep`: `a` is not in every set"),
            ({"headers": {"Cookie": "a"}}, "`x.headers`: 'Cookie' can't be sent"),
            ({"paging": {"style": "pages"}}, "At `x.paging.style`: It is none of the values"),
            ({"paging": {"sise": 1}}, "At `x.paging.sise`: There is no such field"),
            ({"paging": {"total": "n", "size": 5}}, "needs a `style`"),
            ({"paging": {"style": "token"}}, "`x.paging.parameter`: The style `token` needs it"),
            ({"paging": {"style": "next_url"}}, "`x.paging.found_at`: The style `next_url` needs it"),
            ({"paging": {"style": "page", "uneven": True}}, "a page that is empty is the end"),
            ({"paging": {"style": "cursor", "parameter": "a", "found_at": "id"}}, "needs `more`, `total` or `size`"),
        ],
    )
    def test_an_endpoint_that_cannot_work_is_refused(self, endpoint: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            REST(base_url="https://api.example.com", endpoints={"x": {"path": "a", **endpoint}})

    def test_a_profile_says_the_same_as_the_constructor(self, rest: RestServer, tmp_path: Path) -> None:
        rest.auth, rest.rows = "bearer", [{"id": number} for number in range(25)]
        (tmp_path / "token").write_text(KEY)
        (tmp_path / "fuse.yaml").write_text(
            f"""
            profiles:
              prod:
                connections:
                  api:
                    type: rest
                    base_url: {rest.url}
                    allow_http: true
                    token: file://{tmp_path}/token
                    endpoints:
                      flights:
                        path: page/{{what}}
                        parameters: {{what: flights}}
                        records: data.items
                        columns: {{id: int64}}
                        paging: {{style: page, size: 10, size_parameter: size, total: total}}
            """
        )
        connection = load_profile(start=tmp_path).connections["api"]
        assert isinstance(connection, REST)
        assert list(connection.names("f*")) == ["flights"]
        assert read(connection) == rest.rows
        assert connection.answer().startswith(f"{rest.url} answers with status 404 (BaseHTTP")
        assert connection.place == rest.url

    def test_no_network_and_no_secret_is_needed_to_declare(self) -> None:
        said = repr(REST(base_url="https://nowhere.invalid", token="env://NOT_SET_ANYWHERE"))
        assert "env://NOT_SET_ANYWHERE" in said


class TestAsking:
    @pytest.mark.parametrize("value", ["../admin", "a/b", "a?b=c", "a#b", "a%2e", "'; --", "ü 日", "a&b=c", "a b+c"])
    def test_values_stay_one_part_of_the_path_and_one_parameter(self, rest: RestServer, value: str) -> None:
        said = {"path": "echo/{x}/end", "parameters": {"x": value, "y": value}, "records": ".", "nested": "json"}
        (found,) = read(api(rest, said), "things")
        assert found["path"].startswith("/v1/echo/")
        assert found["path"].count("/") == 4, "it opens no other folder"
        assert json.loads(found["query"]) == {"y": value}

    @pytest.mark.parametrize("value", ["..", ".", "", "a\r\nX-Evil: 1", "\x00"])
    def test_values_that_lead_elsewhere_are_refused(self, rest: RestServer, value: str) -> None:
        with pytest.raises(ConfigError, match="can't be `x` in the path"):
            read(api(rest, {"path": "echo/{x}", "parameters": {"x": "1"}}), "things", parameters={"x": value})
        assert not rest.seen

    def test_parameters_of_one_reading_count_more(self, rest: RestServer) -> None:
        said = {"path": "echo", "parameters": {"a": "1", "b": "2"}, "records": ".", "headers": {"X-Of": "this"}}
        (found,) = read(api(rest, said, headers={"X-All": "those"}), "things", parameters={"b": "3"})
        assert found["query"] == {"a": "1", "b": "3"}
        assert (found["headers"]["x-of"], found["headers"]["x-all"]) == ("this", "those")

    def test_a_post_sends_json_or_a_form_and_pages_in_it(self, rest: RestServer) -> None:
        rest.rows = [{"id": number} for number in range(25)]
        paging = {"style": "page", "size": 10, "size_parameter": "size", "parameters_in": "body"}
        said = {"path": "page/x", "method": "POST", "safe": True, "records": "data.items", "paging": paging}
        for more in ({"body": '{"where": {"carrier": "A"}}'}, {"form": {"carrier": "A&B"}}, {}):
            rest.seen.clear()
            assert read(api(rest, {**said, **more}), "things") == rest.rows
            assert len(rest.seen) == 4
        nested = {**said, "body": '{"page": 1}', "paging": {**paging, "parameter": "page.number"}}
        with pytest.raises(ConfigError, match="can't be put into the body"):
            read(api(rest, nested), "things")

    def test_a_post_is_repeated_only_if_it_is_safe(self, rest: RestServer) -> None:
        said = {"method": "POST", "body": "{}"}
        rest.replies = [Reply(503, {}, {"Retry-After": "0"})]
        with pytest.raises(StoreUnavailableError, match=r"asked only once.* say so by `safe`"):
            read(api(rest, said, retry_timeout=5.0), "things")
        rest.replies = [Reply(503, {}, {"Retry-After": "0"})]
        assert read(api(rest, {**said, "safe": True}, retry_timeout=5.0), "things") == []

    def test_an_unknown_endpoint_and_a_refusal(self, rest: RestServer) -> None:
        with pytest.raises(NotThereError, match=r"no endpoint `thing`\. Did you mean `things`"):
            read(api(rest), "thing")
        rest.auth = "bearer"
        with pytest.raises(CredentialsError, match="Check `token`"):
            read(api(rest), "things")
        with pytest.raises(CredentialsError):
            api(rest).answer()
        with pytest.raises(NotThereError):
            api(rest, token=KEY, test_path="nowhere").answer()

    def test_oauth2_is_one_token_for_many_readings(self, rest: RestServer) -> None:
        rest.auth = "oauth"
        login = {
            "token_url": f"http://127.0.0.1:{rest.port}/token",
            "client_id": CLIENT,
            "client_secret": CLIENT_SECRET,
        }
        for _ in range(3):
            assert read(api(rest, **login, scope="read"), "things") == []
        assert rest.handed_out == 1

    @pytest.mark.parametrize(
        ("auth", "login"),
        [
            ("basic", {"username": USER, "password": PASSWORD}),
            ("query", {"api_key": KEY, "api_key_name": "key", "api_key_in": "query"}),
        ],
    )
    def test_errors_show_no_credentials(self, rest: RestServer, auth: str, login: dict[str, str]) -> None:
        rest.auth = auth
        rest.lies = {1: lambda _: Reply(400, {"message": f"what is {KEY} or {PASSWORD}?"})}
        connection = api(rest, **login)
        with pytest.raises(StoreError) as raised:
            read(connection, "things")
        shown = f"{raised.value} {raised.value.__cause__} {connection!r}"
        assert not [secret for secret in login.values() if secret in shown and secret not in {"key", "query", USER}]
        assert read(connection, "things") == []


class TestTypes:
    """What a whole read is inferred to be, without loss."""

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ("[1, null, 2]", pa.int64()),
            ("[9223372036854775807, -9223372036854775808]", pa.int64()),
            ("[9223372036854775808]", pa.decimal128(38, 0)),
            ("[1234567890123456789012345678901234567890]", pa.string()),
            ("[1, 0.1, -2.5e-3]", pa.float64()),
            ("[0.1, 9007199254740993]", pa.decimal128(38, 1)),
            ("[12345678901234567.89, 1]", pa.decimal128(38, 2)),
            ("[1e400, 1]", pa.string()),
            ("[1e-30, 12345678901234567890.5]", pa.string()),
            ("[true, null]", pa.bool_()),
            ('["1", "01"]', pa.string()),
            ("[null, null]", pa.null()),
            ('[{"a": 1}, {"b": "x"}, null]', pa.struct([("a", pa.int64()), ("b", pa.string())])),
            ("[[1, 2], [], [0.5]]", pa.list_(pa.float64())),
            ('[[{"a": 1}], [{"a": null}]]', pa.list_(pa.struct([("a", pa.int64())]))),
            ("[{}, {}]", pa.string()),
        ],
    )
    def test_a_column_is_what_holds_all_its_values(self, rest: RestServer, values: str, expected: pa.DataType) -> None:
        said = json.loads(values, parse_float=Decimal)
        body = "[" + ", ".join(f'{{"v": {one}}}' for one in split(values)) + "]"
        rest.replies = [Reply(200, body.encode())] * 2
        with api(rest).rows("things") as reader:
            table = reader.read_all()
        assert table.schema.field("v").type == expected
        found = table["v"].to_pylist()
        if pa.types.is_string(expected):
            found = [json.loads(one, parse_float=Decimal) if not isinstance(said[0], str) else one for one in found]
        if not pa.types.is_nested(expected):
            assert [
                None if one is None else Decimal(repr(one)) if isinstance(one, float) else one for one in found
            ] == said

    def test_a_later_page_widens_what_the_first_one_was(self, rest: RestServer) -> None:
        rest.rows = [*({"v": number} for number in range(20)), {"v": 0.5, "new": "x"}, {"v": None}]
        said = {"path": "page/x", "records": "data.items", "paging": {"style": "page", "total": "total"}}
        assert [one["v"] for one in read(api(rest, said), "things")] == [*map(float, range(20)), 0.5, None]
        with pytest.raises(SchemaError, match=r"Page 3 of .* contradicts the first page: `(v|new)` was"):
            read(api(rest, {**said, "types": "first"}), "things")
        assert len(read(api(rest, {**said, "types": "first"}), "things", columns=["v"], limit=20)) == 20

    def test_several_kinds_are_refused_or_kept_as_json(self, rest: RestServer) -> None:
        rest.rows = [{"v": "1"}, {"v": 1}, {"v": [True]}, {"v": None}]
        with pytest.raises(SchemaError, match=r"`v` holds text \(`1`\) and numbers \(`1`\) and lists \(`\[true\]`\)"):
            read(api(rest), "things")
        found = read(api(rest, {"mixed": "json"}), "things")
        assert [one["v"] for one in found] == ['"1"', "1", "[true]", None]
        rest.rows = [{"v": True}, {"v": 1}]
        with pytest.raises(SchemaError, match="booleans"):
            read(api(rest), "things")

    def test_nested_values_as_json_keep_every_digit(self, rest: RestServer) -> None:
        rest.replies = [Reply(200, '[{"v": {"a": 1.10, "ü": [1, 12345678901234567890.123456789]}}]'.encode())]
        assert read(api(rest, {"nested": "json"}), "things") == [
            {"v": '{"a": 1.10, "ü": [1, 12345678901234567890.123456789]}'}
        ]

    def test_large_answers_wait_on_disk(self, rest: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fuse_dagster.connectors.http.records._IN_MEMORY", 2000)
        rest.rows = [{"id": number, "text": "x" * 100, "v": 0.5 if number == 299 else 1} for number in range(300)]
        paging = {"style": "token", "parameter": "token", "found_at": "next_token"}
        said = {
            "path": "token/x",
            "records": "items",
            "paging": paging,
            "each": [{"s": "1"}, {"s": "2"}],
            "keep": ["s"],
        }
        found = read(api(rest, said), "things")
        assert found == [{"s": one, **row, "v": float(row["v"])} for one in "12" for row in rest.rows]

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            ("int64", "12", 12),
            ("int64", 12.0, 12),
            ("decimal(10,2)", "1.5", Decimal("1.50")),
            ("float64", 1, 1.0),
            ("string", {"a": 1}, '{"a": 1}'),
            ("string", True, "true"),
            ("json", "a", '"a"'),
            ("bool", "true", True),
            ("date", "2024-02-29", "2024-02-29"),
            ("timestamp", "2024-06-01T02:00:00.123456+02:00", "2024-06-01 00:00:00.123456+00:00"),
            ("timestamp", "2024-06-01T00:00:00Z", "2024-06-01 00:00:00+00:00"),
            ("epoch_seconds", 1717200000.5, "2024-06-01 00:00:00.500000+00:00"),
            ("epoch_milliseconds", "1717200000001", "2024-06-01 00:00:00.001000+00:00"),
        ],
    )
    def test_a_declared_type_takes_what_it_can_hold(
        self, rest: RestServer, kind: str, value: Any, expected: Any
    ) -> None:
        rest.rows = [{"v": value, "other": 1}, {}]
        (found, nothing) = read(api(rest, {"columns": {"v": kind}}), "things")
        assert str(found["v"]) == str(expected)
        assert nothing == {"v": None}

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("int64", 1.5),
            ("int64", True),
            ("int64", 2**63),
            ("int64", " 1"),
            ("int64", "1_0"),
            ("decimal(4,2)", "1.234"),
            ("decimal(4,2)", 123),
            ("decimal(4,2)", "NaN"),
            ("float64", "1e999"),
            ("float64", "nan"),
            ("bool", 1),
            ("date", "2024-02-30"),
            ("date", "20240229"),
            ("timestamp", "2024-06-01T00:00:00"),
            ("timestamp", "2024-06-01T00:00:00.1234567Z"),
            ("timestamp", 1717200000),
            ("epoch_seconds", "2024"[:0]),
            ("epoch_seconds", 1e300),
        ],
    )
    def test_a_declared_type_refuses_what_it_would_change(self, rest: RestServer, kind: str, value: Any) -> None:
        rest.rows = [{"v": None}, {"v": value}]
        with pytest.raises(SchemaError, match=r"`v` is to be `.*`, and record 2 of page 1 of"):
            read(api(rest, {"columns": {"v": kind}}), "things")

    def test_a_declared_column_that_no_record_has_is_refused(self, rest: RestServer) -> None:
        rest.rows = [{"carrier": "A"}]
        with pytest.raises(SchemaError, match=r"`carier`, which `columns` names\. Did you mean `carrier`"):
            read(api(rest, {"columns": {"carier": "string"}}), "things")
        rest.rows = []
        with api(rest, {"columns": {"carier": "string"}}).rows("things") as reader:
            assert reader.schema == pa.schema([("carier", pa.string())]), "an empty read keeps its columns"
            assert reader.read_all().num_rows == 0

    def test_columns_are_chosen_in_order(self, rest: RestServer) -> None:
        rest.rows = [{"a": 1, "b": "x", "c": [1]}]
        for said in ({}, {"types": "first"}, {"columns": {"a": "int64", "b": "string"}}):
            assert [*read(api(rest, said), "things", columns=["b", "a"])[0].items()] == [("b", "x"), ("a", 1)]
            with pytest.raises(ConfigError, match="no column `d`"):
                read(api(rest, said), "things", columns=["d"])

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("data.items", '{"data": {"items": [{"a": 1}]}}', [{"a": 1}]),
            ("$.data[0]['x.y']", '{"data": [{"x.y": [{"a": 1}]}]}', [{"a": 1}]),
            (
                "routes[*].legs",
                '{"routes": [{"legs": [{"a": 1}]}, {"legs": []}, {"legs": [{"a": 2}]}]}',
                [{"a": 1}, {"a": 2}],
            ),
            ("by_id.*", '{"by_id": {"x": {"a": 1}, "y": {"a": 2}}}', [{"a": 1}, {"a": 2}]),
            ("items", '{"items": null}', []),
            (".", '{"a": 1}', [{"a": 1}]),
            ("", "[1, 2]", [{"value": 1}, {"value": 2}]),
        ],
    )
    def test_records_are_where_the_path_says(self, rest: RestServer, path: str, body: str, expected: Any) -> None:
        rest.replies = [Reply(200, body.encode())]
        assert read(api(rest, {"records": path}), "things") == expected

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"", "no whole JSON"),
            (b"<html>login</html>", "no whole JSON"),
            (b'[{"a": NaN}]', "no whole JSON"),
            (b'[{"a": 1}', "no whole JSON"),
            (b'[{"a": 1}] []', "no whole JSON"),
            (b'[{"a": "\xff"}]', "no whole JSON"),
            (b"[" * 100_000, "no whole JSON"),
            (b'[{"a": ' + b"1" * 5000 + b"}]", "no whole JSON"),
            (b'[{"a": 1, "a": 2}]', "has `a` twice"),
            (b'[{"a": "\\ud800"}]', "half a sign of Unicode"),
            (b'{"errors": [{"message": "no"}]}', "and an error at `errors`: `no`"),
            (b'{"a": 1}', "answers with an object, not with a list"),
        ],
    )
    @pytest.mark.filterwarnings("ignore")
    def test_an_answer_that_is_no_table_is_refused(self, rest: RestServer, body: bytes, says: str) -> None:
        rest.replies = [Reply(200, body)] * 3
        with pytest.raises((StoreError, StoreUnavailableError, SchemaError), match=says):
            read(api(rest), "things")


@pytest.mark.parametrize("model", [Endpoint, Paging])
def test_every_field_of_an_endpoint_is_on_the_page(model: type[Endpoint | Paging]) -> None:
    page = (PAGES / "connectors" / "rest.md").read_text(encoding="utf-8")
    for name, field in model.model_fields.items():
        assert f"| `{name}` |" in page
        assert f"| {field.description} |" in page


def split(values: str) -> list[str]:
    """The items of a list in JSON, as they are written."""
    decoder, at, found = json.JSONDecoder(), 1, []
    while values[at] != "]":
        if values[at] in ", ":
            at += 1
            continue
        _, end = decoder.raw_decode(values, at)
        found.append(values[at:end])
        at = end
    return found
