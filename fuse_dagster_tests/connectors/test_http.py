from __future__ import annotations

import gzip
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuse_dagster import HTTPFiles
from fuse_dagster.connectors.parts import PART
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.ingest.landing import LandingFiles
from fuse_dagster.testing.connectors import ConnectorContract, ListContract, ReadContract, content
from fuse_dagster_tests.ingest.landing.folders import Table
from fuse_dagster_tests.servers.faults import Fault
from fuse_dagster_tests.servers.web import WebServer, web_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fuse_dagster_tests.servers.proxy import FaultyProxy

BIG = os.urandom(PART + 500_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "root").mkdir()
    with web_server(tmp_path / "root") as found:
        yield found


@pytest.fixture
def other(server: WebServer) -> Callable[..., HTTPFiles]:
    """Makes connectors to the server, with some fields changed."""
    fields: dict[str, Any] = {"base_url": f"http://127.0.0.1:{server.port}", "allow_http": True, "retry_timeout": 0.0}
    return lambda **changed: HTTPFiles(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., HTTPFiles]) -> HTTPFiles:
    return other(index=True)


@pytest.fixture
def put(server: WebServer) -> Callable[[str, bytes], None]:
    def write_by_others(path: str, data: bytes) -> None:
        place = server.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    return write_by_others


class TestHTTPFiles(ConnectorContract, ListContract, ReadContract):
    pass


def test_it_answers_with_what_the_server_calls_itself(connector: HTTPFiles) -> None:
    assert connector.answer().startswith("BaseHTTP")


@pytest.mark.parametrize("tags", [True, False])
def test_files_land_once_and_are_known_by_a_strong_etag_without_reading_them(
    tags: bool, connector: HTTPFiles, server: WebServer, put: Callable[[str, bytes], None]
) -> None:
    server.tags = tags
    put("in/a.csv", b"id\n1\n")
    put("in/b.csv", b"id\n1,2\n")
    table, source = Table(), LandingFiles(connector=connector, folder="in", settle=0)
    taken = table.load(source)
    assert taken.rows.to_dicts() == [{"id": 1}]
    assert taken.rejected["_file_path"].to_list() == ["in/b.csv"]
    server.seen.clear()
    again = table.load(source)
    assert (again.rows.height, again.rejected.height) == (0, 0)
    assert any(method == "GET" and path.endswith(".csv") for method, path, _ in server.seen) is not tags
    put("in/a.csv", b"id\n22\n")
    assert table.load(source).rows.to_dicts() == [{"id": 22}]
    server.headers = {"ETag": 'W/"1"'}
    assert {entry.version for entry in connector.list("in")} == {""}


@pytest.mark.parametrize(
    "name", ["a b.csv", "näme.csv", "a=b", "it's", "a+b~c", "日本", "a#b&c?", "100%", "%2e%2e", "a;b"]
)
def test_odd_names_are_names(name: str, connector: HTTPFiles, put: Callable[[str, bytes], None]) -> None:
    put(f"odd/{name}", name.encode())
    assert [entry.path for entry in connector.list("odd")] == [f"odd/{name}"]
    assert content(connector, f"odd/{name}") == name.encode()


@pytest.mark.parametrize("name", ["", "..", "a/../b", "a//b", "a\\b", "a\nb"])
def test_names_that_could_lead_elsewhere_are_refused(name: str, connector: HTTPFiles, server: WebServer) -> None:
    for act in (connector.open, connector.exists):
        with pytest.raises(ConfigError, match="can't be part of a path"):
            act(name)
    assert server.seen == []


@pytest.mark.parametrize(
    "fields",
    [{}, {"ranges": False}, {"packed": True}, {"tags": False}, {"tags": False, "times": False}, {"digest": True}],
)
def test_a_file_is_whole_whatever_the_server_can(
    fields: dict[str, Any], connector: HTTPFiles, server: WebServer, put: Callable[[str, bytes], None]
) -> None:
    put("big", BIG)
    put("empty", b"")
    for name, value in fields.items():
        setattr(server, name, value)
    with connector.open("big") as file:
        assert file.read() == BIG
        assert file.seek(-5, os.SEEK_END) == len(BIG) - 5
        assert file.read() == BIG[-5:]
    assert content(connector, "empty") == b""


def test_a_file_that_is_packed_itself_is_the_file(
    connector: HTTPFiles, server: WebServer, put: Callable[[str, bytes], None]
) -> None:
    data = gzip.compress(b"a,b\n1,2\n", mtime=0)
    put("a.csv.gz", data)
    server.headers = {"Content-Encoding": "x-gzip"}
    assert content(connector, "a.csv.gz") == data
    server.headers = {"Content-Encoding": "br"}
    with pytest.raises(StoreError, match="is a packing that is not read here"):
        connector.open("a.csv.gz")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"lie": lambda body: body[:-1]}, "broke off"),
        ({"lie": lambda body: body[:-1] + b"?", "digest": True}, "another checksum"),
        ({"lie": lambda body: body[:-1] + b"?", "digest": True, "ranges": False}, "another checksum"),
        ({"ranges": False, "length": False}, "comes without a length"),
        ({"headers": {"Content-Range": "bytes 1-100/101"}}, "other bytes than it was asked for"),
        ({"headers": {"Content-Range": "bytes 0-10/*"}}, "other bytes than it was asked for"),
        ({"headers": {"Content-Digest": "sha-256=:AAAA:"}}, "another checksum"),
    ],
    ids=lambda told: str(sorted(told)) if isinstance(told, dict) else None,
)
def test_a_file_that_is_not_whole_is_no_file(
    told: dict[str, Any], words: str, connector: HTTPFiles, server: WebServer, put: Callable[[str, bytes], None]
) -> None:
    put("a", b"1234567890" * 100)
    for name, value in told.items():
        setattr(server, name, value)
    with pytest.raises((StoreError, StoreUnavailableError), match=words):
        content(connector, "a")


@pytest.mark.parametrize("fields", [{}, {"tags": False}], ids=str)
def test_a_file_that_changes_while_it_is_read_is_an_error(
    fields: dict[str, Any], connector: HTTPFiles, server: WebServer, put: Callable[[str, bytes], None]
) -> None:
    for name, value in fields.items():
        setattr(server, name, value)
    put("big", BIG)
    with connector.open("big") as file:
        assert file.read(10) == BIG[:10]
        put("big", BIG[::-1])
        os.utime(server.root / "big", (1, 1))
        with pytest.raises(StoreUnavailableError, match="was replaced while it was read"):
            file.read()


def test_a_line_that_breaks_is_taken_up_at_the_part(
    other: Callable[..., HTTPFiles],
    server: WebServer,
    put: Callable[[str, bytes], None],
    proxy_before: Callable[[int], FaultyProxy],
) -> None:
    put("big", BIG)
    proxy = proxy_before(server.port)
    base = f"http://127.0.0.1:{proxy.port}"
    for ranges in (True, False):
        server.ranges = ranges
        for fault in (Fault("half answered", "GET"), Fault("reset"), Fault("refused", retry_after=0)):
            proxy.calm()
            proxy.cause(fault)
            assert content(other(base_url=base, retry_timeout=20.0), "big") == BIG
            assert proxy.happened == 1
    for fault in (Fault("half answered", times=1000), Fault("silent", times=1000), Fault("reset", times=1000)):
        proxy.calm()
        proxy.cause(fault)
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            content(other(base_url=base, timeout=0.5, retry_timeout=0.5), "big")
        assert time.monotonic() - began < 15


def test_files_are_those_that_are_declared(
    other: Callable[..., HTTPFiles], put: Callable[[str, bytes], None], server: WebServer
) -> None:
    put("in/a.csv", b"1")
    put("in/b.csv", b"22")
    declared = other(files=["in/b.csv", "in/a.csv", "out/c"])
    assert [(entry.path, entry.size) for entry in declared.list("in")] == [("in/a.csv", 1), ("in/b.csv", 2)]
    with pytest.raises(NotThereError, match="out/c"):
        list(declared.list())
    with pytest.raises(ConfigError, match="say what there is by `files`, or by `index`"):
        list(other().list())
    server.head = False
    assert [(entry.path, entry.size) for entry in declared.list("in")] == [("in/a.csv", 1), ("in/b.csv", 2)]


def test_an_address_that_is_not_there_is_no_empty_folder(connector: HTTPFiles, other: Callable[..., HTTPFiles]) -> None:
    with pytest.raises(NotThereError):
        list(other(base_url=f"{connector.base_url}/absent", index=True).list())


def test_a_page_that_is_no_index_is_an_error(connector: HTTPFiles, server: WebServer) -> None:
    server.headers = {"Content-Type": "application/json"}
    with pytest.raises(StoreError, match="lists no files"):
        list(connector.list())


def test_links_that_lead_elsewhere_are_not_followed(connector: HTTPFiles, server: WebServer) -> None:
    page = b'<a href="http://elsewhere.invalid/a">a</a><a href="//elsewhere.invalid/">b</a><a href="/etc">c</a>'
    page += b'<a href="../up">d</a><a href="x/../../y">e</a><a href="javascript:alert(1)">f</a><a href="deep/er">g</a>'
    (server.root / "in").mkdir()
    server.lie, server.headers = lambda _: page, {"Content-Length": str(len(page))}
    assert list(connector.list("in")) == []


def test_credentials_go_nowhere_else(
    other: Callable[..., HTTPFiles], server: WebServer, put: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    put("a", b"1")
    server.token = "a-token-of-files"
    one = other(token="a-token-of-files")
    assert content(one, "a") == b"1"
    with pytest.raises(CredentialsError) as caught:
        content(other(token="another-token-of-files"), "a")
    assert "another-token" not in str(caught.value)
    with web_server(server.root) as elsewhere:
        server.redirect = f"http://127.0.0.1:{elsewhere.port}"
        with pytest.raises(ConfigError, match="leads on to another host"):
            content(one, "a")
        allowed = other(token="a-token-of-files", allowed_hosts=[f"127.0.0.1:{elsewhere.port}"])
        assert content(allowed, "a") == b"1"
        assert [headers.get("authorization") for _, _, headers in elsewhere.seen] == [None]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"files": ["../a"]}, r"`\$\.files`"), ({"files": ["a"], "index": True}, r"`\$\.index`")],
)
def test_what_cannot_be_is_refused_when_it_is_declared(
    fields: dict[str, Any], words: str, other: Callable[..., HTTPFiles]
) -> None:
    with pytest.raises(ConfigError, match=words):
        other(**fields)
