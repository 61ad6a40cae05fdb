"""`fuse profiles` and `fuse connections`, and tables by the name of a connection: on this machine, and on S3."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import jsonschema
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.program import app
from fuse_dagster.app.envelope import Kind
from fuse_dagster.connectors.profile_schema import profile_schema
from fuse_dagster.tables import Append, write
from fuse_dagster_tests.app.cli.conftest import Fuse
from fuse_dagster_tests.servers.s3 import S3Server, s3_server

CANARY = "CANARY-51c2"
PROFILES = """
default: dev
profiles:
  dev:
    connections:
      lake:
        type: local
        root: {root}/dev
      store:
        type: s3
        bucket: lake
        region: us-east-1
        endpoint: http://127.0.0.1:{port}
        allow_http: true
        path_style: true
        access_key_id: env://LAKE_KEY
        secret_access_key: env://LAKE_SECRET
        connect_timeout: 1
        retry_timeout: 2
  staging:
    extends: dev
    connections:
      lake:
        root: {root}/staging
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with one bucket."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def _project(folder: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Path:
    (folder / "fuse.yaml").write_text(PROFILES.format(root=folder, port=port), encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FUSE_PROFILE", raising=False)
    monkeypatch.setenv("LAKE_KEY", "lake-key-id")
    monkeypatch.setenv("LAKE_SECRET", "lake-signing-key")
    for profile in ("dev", "staging"):
        write(folder / profile / "silver" / "airports", pl.DataFrame({"from": [profile]}), Append())
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two profiles; nothing listens where their store should be."""
    return _project(tmp_path, monkeypatch, 9)


@pytest.mark.usefixtures("project")
def test_a_profile_is_shown_with_where_each_value_came_from(fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_SECRET", CANARY)
    said = fuse("profiles", "show", "--profile", "staging", "--json")
    found = {row["field"]: row for row in said.result["fields"]}
    assert said.result["profile"] == "staging"
    assert found["connections.lake.root"]["value"].endswith("/staging")
    assert found["connections.lake.root"]["from"] == "fuse.yaml:24"
    assert found["connections.store.secret_access_key"]["value"] == "env://LAKE_SECRET"
    assert CANARY not in said.out + fuse("profiles", "show").out
    assert "Profile `dev`" in fuse("profiles", "show").out


def test_a_literal_secret_is_masked_and_warned_of(fuse: Fuse, project: Path) -> None:
    text = (project / "fuse.yaml").read_text(encoding="utf-8").replace("env://LAKE_SECRET", CANARY)
    (project / "fuse.yaml").write_text(text, encoding="utf-8")
    for words in (["profiles", "show"], ["connections", "list"], ["doctor"], ["connections", "test", "store"]):
        said = fuse(*words)
        assert CANARY not in said.out + said.err
    assert "WARNING" in fuse("read", "lake", "silver/airports").err
    assert fuse("profiles", "show", "--json").result["warnings"]


def test_all_that_is_wrong_with_a_profile_is_said_with_lines(fuse: Fuse, project: Path) -> None:
    text = (project / "fuse.yaml").read_text(encoding="utf-8")
    (project / "fuse.yaml").write_text(
        text.replace("bucket:", "buckett:").replace("path_style", "pathstyle"), encoding="utf-8"
    )
    said = fuse("profiles", "show", "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[Kind.CONFIG], "config")
    assert len(said.error["problems"]) >= 2
    assert all(one["line"] > 0 and one["path"].startswith("$.") for one in said.error["problems"])


@pytest.mark.usefixtures("project")
def test_connections_are_listed_with_where_they_lead(fuse: Fuse) -> None:
    found = {row["connection"]: row for row in fuse("connections", "list", "--json").result["connections"]}
    assert found["lake"]["root"].endswith("/dev")
    assert (found["store"]["type"], found["store"]["root"]) == ("s3", "s3://lake")


@pytest.mark.usefixtures("project")
def test_tables_are_named_below_a_connection(fuse: Fuse) -> None:
    found = fuse("read", "lake", "silver/airports", "--json").result
    assert found["rows"] == [{"from": "dev"}]
    assert fuse("--profile", "staging", "read", "lake", "silver/airports", "--json").result["rows"] == [
        {"from": "staging"}
    ]
    assert fuse("tables", "show", "silver/airports", "--connection", "lake", "--json").result["rows"] == 1
    [listed] = fuse("tables", "list", "--connection", "lake", "--json").result["tables"]
    assert listed["uri"].endswith("/dev/silver/airports")
    wrong = fuse("read", "lkae", "silver/airports", "--json")
    assert (wrong.error["kind"], "Did you mean `lake`" in wrong.error["message"]) == ("config", True)
    assert fuse("read", "lake", "a", "b").code == exits.CODES[Kind.USAGE]
    assert fuse("read", "lake", "a", "--profile", "prdo").code == exits.CODES[Kind.CONFIG]


def test_a_folder_without_fuse_yaml_says_so(fuse: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = fuse("profiles", "show")
    assert (said.code, "fuse.yaml" in said.err) == (exits.CODES[Kind.CONFIG], True)


def test_a_connection_is_tried_and_leaves_nothing_behind(fuse: Fuse, project: Path) -> None:
    said = fuse("connections", "test", "lake", "--write")
    assert (said.code, "`lake` works." in said.out) == (exits.OK, True)
    steps = [one["what"] for one in fuse("connections", "test", "lake", "--write", "--json").result["steps"]]
    assert steps[-3:] == ["write a file", "read it", "remove it"]
    assert not [path for path in (project / "dev").rglob("fuse-probe*") if path.is_file()]


@pytest.mark.usefixtures("project")
def test_a_store_that_is_not_there_says_what_to_check(fuse: Fuse) -> None:
    said = fuse("connections", "test", "store", "--json")
    document = json.loads(said.out)
    assert (said.code, document["ok"]) == (exits.CODES[Kind.TRANSIENT], False)
    last = document["result"]["steps"][-1]
    assert (last["ok"], "Check `endpoint`" in last["said"]) == (False, True)


@pytest.mark.usefixtures("project")
def test_a_secret_that_is_absent_is_found_before_the_store_is_asked(
    fuse: Fuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_SECRET")
    said = fuse("connections", "test", "store")
    assert said.code == exits.CODES[Kind.SECRET]
    assert "LAKE_SECRET" in said.out
    found = {one["what"]: one for one in json.loads(fuse("doctor", "--json").out)["result"]}
    assert found["secret store.secret_access_key"]["status"] == "fail"
    assert found["secret store.access_key_id"]["status"] == "ok"


def test_a_lake_in_s3_is_looked_at_by_the_name_of_its_connection(
    fuse: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server
) -> None:
    _project(tmp_path, monkeypatch, s3.port)
    assert fuse("connections", "test", "store", "--write").code == exits.OK
    rows = pl.DataFrame({"icao": ["EDDB", "LOWW"], "feet": [157, 600]})
    for _ in range(2):
        write(s3.uri("silver/air ports"), rows, Append(), storage_options=s3.options())
    rows.write_csv(s3.uri("landing/a.csv"), storage_options=s3.options())
    [listed] = fuse("tables", "list", "--connection", "store", "--json").result["tables"]
    assert (listed["uri"], listed["rows"]) == ("s3://lake/silver/air ports", 4)
    assert (
        fuse("read", "store", "silver/air ports", "--where", "feet > 200", "--json").result["rows"][0]["icao"] == "LOWW"
    )
    assert fuse("read", "store", "landing/a.csv", "--json").result["rows"] == rows.to_dicts()
    [compacted] = fuse("tables", "compact", "silver/air ports", "--connection", "store", "--json").result
    assert compacted["report"]["files_after"] == 1
    assert fuse("read", "store", "silver/none").code == exits.CODES[Kind.NOT_FOUND]


@pytest.mark.parametrize(
    "words",
    [
        ["read", "store", "silver/airports"],
        ["read", "store", "landing/a.csv"],
        ["tables", "show", "silver/airports", "--connection", "store"],
        ["tables", "list", "--connection", "store"],
        ["tables", "vacuum", "silver/airports", "--connection", "store"],
        ["history", "current", "silver/airports", "--connection", "store"],
        ["connections", "test", "store", "--write"],
    ],
    ids=" ".join,
)
def test_no_verb_tells_the_secret_that_a_store_refuses(
    fuse: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server, words: list[str]
) -> None:
    _project(tmp_path, monkeypatch, s3.port)
    monkeypatch.setenv("LAKE_SECRET", CANARY)
    said = fuse(*words, "--json", "--debug", "--log-level", "debug")
    assert said.code == exits.CODES[Kind.STORE], said.out
    assert not said.document["ok"]
    assert CANARY not in said.out + said.err


@pytest.mark.usefixtures("project")
def test_the_schema_of_the_profile_is_written_for_editors(fuse: Fuse) -> None:
    written = fuse("profiles", "schema")
    assert (written.code, json.loads(written.out)) == (exits.OK, profile_schema())
    assert fuse("profiles", "schema", "--json").result == profile_schema()
    jsonschema.validate(yaml.safe_load(Path("fuse.yaml").read_text()), json.loads(written.out))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fuse connections test ", ["lake", "store"]),
        ("fuse connections test s", ["store"]),
        ("fuse tables list --connection l", ["lake"]),
        ("fuse --profile ", ["dev", "staging"]),
        ("fuse ta", ["tables"]),
    ],
)
def test_the_shell_completes_verbs_and_the_names_of_the_project(words: str, offered: list[str]) -> None:
    asked = {"_FUSE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = CliRunner().invoke(app, [], prog_name="fuse", env=asked)
    assert done.stdout.split() == offered
    Path("fuse.yaml").write_text("profiles: [", encoding="utf-8")
    done = CliRunner().invoke(app, [], prog_name="fuse", env=asked)
    assert done.stdout.split() == (offered if offered == ["tables"] else []), "a broken file is no error here"


class _Wrong(BaseHTTPRequestHandler):
    """A server whose clock is wrong: no real one here can be told to be."""

    ahead: ClassVar[float] = 0

    def do_HEAD(self) -> None:
        self.send_response_only(403)
        self.send_header("Date", formatdate(time.time() + self.ahead, usegmt=True))
        self.end_headers()


@pytest.mark.parametrize(("ahead", "status"), [(0, "ok"), (30, "note"), (-30, "note"), (3600, "fail"), (-3600, "fail")])
def test_a_clock_that_differs_from_the_stores_is_found(
    fuse: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, status: str
) -> None:
    monkeypatch.setattr(_Wrong, "ahead", ahead)
    with HTTPServer(("127.0.0.1", 0), _Wrong) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        _project(tmp_path, monkeypatch, server.server_port)
        found = {one["what"]: one for one in json.loads(fuse("doctor", "--json").out)["result"]}
        server.shutdown()
    assert found["clock of store"]["status"] == status
    if ahead:
        assert f" {ahead:+.0f}"[:2] in found["clock of store"]["found"], "the sign; a second may pass"
        assert "NTP" in found["clock of store"]["do"]
    assert ("connection store" in found) == (status != "fail"), "nothing is signed at a wrong time"


@pytest.mark.usefixtures("project")
def test_the_doctor_asks_every_connection(fuse: Fuse, monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    found = {one["what"]: one for one in json.loads(fuse("doctor", "--json").out)["result"]}
    assert found["connection lake"]["status"] == "ok"
    assert found["clock of store"]["status"] == "fail"
    assert "Connection refused" in found["clock of store"]["do"]
    assert "connection store" not in found
    _project(Path.cwd(), monkeypatch, s3.port)
    monkeypatch.setenv("LAKE_SECRET", CANARY)
    found = {one["what"]: one for one in json.loads(fuse("doctor", "--json").out)["result"]}
    assert found["clock of store"] == {"what": "clock of store", "status": "ok", "found": "agrees with ours", "do": ""}
    assert (found["connection store"]["status"], "`secret_access_key`" in found["connection store"]["do"]) == (
        "fail",
        True,
    )
    assert CANARY not in str(found)
