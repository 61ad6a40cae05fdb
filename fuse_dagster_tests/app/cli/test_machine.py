"""`fuse connectors`, `fuse spark` and `fuse doctor`: what is installed here, and how it is set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.connecting import Described
from fuse_dagster.app.envelope import Kind
from fuse_dagster.connectors import connectors
from fuse_dagster_tests.app.cli.conftest import Fuse


def test_all_connectors_are_listed_with_what_they_can_do(fuse: Fuse) -> None:
    found = {one["name"]: one for one in fuse("connectors", "list", "--json").result}
    assert set(found) == set(connectors.names)
    assert {"list", "read"} <= set(found["local"]["capabilities"])
    assert found["local"]["package"] == "fuse-dagster"
    assert "none needed" in fuse("connectors", "list").out


@pytest.mark.parametrize("name", connectors.names)
def test_a_connector_is_shown_with_its_fields(fuse: Fuse, name: str) -> None:
    found = fuse("connectors", "show", name, "--json").result
    model = connectors.load(name).model_fields
    assert {field["name"] for field in found["fields"]} == set(model) - {"type"}
    needed = [field["required"] for field in found["fields"]]
    assert needed == sorted(needed, reverse=True), "what has to be given comes first"
    assert all(field["description"] for field in found["fields"])
    assert found["fields"][0]["name"] in fuse("connectors", "show", name).out


def test_an_unknown_connector_is_an_error_that_guesses(fuse: Fuse) -> None:
    said = fuse("connectors", "show", "locl", "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[Kind.CONFIG], "config")
    assert "Did you mean `local`" in said.error["message"]


def test_what_is_missing_names_the_install_line() -> None:
    facts = {"target": "a:B", "package": "a", "version": "1", "problem": "", "capabilities": (), "fields": ()}
    lacking = Described(name="tape", what="", extra="tape", missing=("tapelib",), **facts)  # type: ignore[arg-type]
    assert (lacking.is_ready, lacking.install) == (False, 'pip install "a[tape]"')


def test_spark_settings_say_where_they_come_from_and_hide_secrets(fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "FUSE_SPARK_CONF",
        "spark.driver.memory=3g spark.hadoop.fs.azure.account.key.lake=CANARY spark.x.password=CANARY",
    )
    said = fuse("spark", "conf", "--json")
    found = {row["setting"]: row for row in said.result["settings"]}
    assert found["spark.driver.memory"] == {"setting": "spark.driver.memory", "value": "3g", "from": "environment"}
    assert found["spark.sql.session.timeZone"]["from"] == "platform"
    assert found["spark.x.password"]["value"] == "***"
    assert "CANARY" not in said.out + fuse("spark", "conf").out
    assert len(fuse("spark", "conf", "--chosen", "--json").result["settings"]) == 3
    monkeypatch.setenv("FUSE_SPARK_CONF", "driver.memory=3g")
    assert fuse("spark", "conf").code == exits.CODES[Kind.CONFIG]


def test_the_doctor_says_what_to_do(fuse_process: Fuse, tmp_path: Path) -> None:
    variables = {"DAGSTER_HOME": str(tmp_path / "nowhere"), "JAVA_HOME": str(tmp_path)}
    said = fuse_process("doctor", "--json", cwd=tmp_path, **variables)
    document = json.loads(said.out)
    found = {one["what"]: one for one in document["result"]}
    assert (said.code, document["ok"]) == (exits.CODES[Kind.FAILED], False)
    assert [one["status"] for one in (found["DAGSTER_HOME"], found["Java"])] == ["fail", "fail"]
    assert str(tmp_path) in found["Java"]["found"]
    assert all(one["do"] for one in found.values() if one["status"] != "ok")
    assert {found[what]["status"] for what in ("Python", "packages", "clock", "time zones")} == {"ok"}


def test_a_machine_in_order_is_no_error(fuse_process: Fuse, tmp_path: Path) -> None:
    said = fuse_process("doctor", cwd=tmp_path, DAGSTER_HOME=str(tmp_path), JAVA_HOME="")
    assert (said.code, "All is well." in said.out) == (exits.OK, True)
