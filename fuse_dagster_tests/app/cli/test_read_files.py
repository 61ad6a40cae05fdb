"""`fuse read`: files of connections that hold no tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster_tests.servers.web import web_server

if TYPE_CHECKING:
    from pathlib import Path

    from fuse_dagster_tests.app.cli.conftest import Fuse


def test_a_file_of_a_connection_that_is_no_lake_is_shown(
    fuse: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "root" / "in" / "a b.csv").write_text("k,v\n1,x\n2,y\n")
    (tmp_path / "root" / "other").write_bytes(os.urandom(20))
    with web_server(tmp_path / "root") as server:
        place = f"http://127.0.0.1:{server.port}"
        fields = f"{{type: http, base_url: '{place}', allow_http: true, index: true, retry_timeout: 0}}"
        (tmp_path / "fuse.yaml").write_text(f"profiles: {{dev: {{connections: {{open: {fields}}}}}}}\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FUSE_PROFILE", "dev")
        found = fuse("--json", "read", "open", "in/a b.csv", "--where", "k > 1").result
        assert (found["uri"], found["format"]) == (f"{place}/in/a b.csv", "csv")
        assert found["rows"] == [{"k": 2, "v": "y"}]
        missing = fuse("--json", "read", "open", "in/none.csv")
        assert missing.code == exits.CODES[Kind.NOT_FOUND]
        assert f"{place}/in/none.csv" in missing.error["message"]
