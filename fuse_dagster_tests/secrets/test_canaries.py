"""Canaries: secrets that are planted everywhere, and looked for wherever a run has left something."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from fuse_dagster_tests.servers.s3 import s3_server
from fuse_dagster_tests.servers.vault import vault_server

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).with_name("canary_project.py")

IN_ENVIRONMENT = "canary+of/the=environment"
IN_ENV_FILE = "canary+of/the=env-file"
IN_FILE = "canary+of/the=file"
IN_VAULT = "canary+of/the=vault"
LITERAL = "canary+of/the=profile"
TOKEN = "canary-token-of-the-vault"
CANARIES = (IN_ENVIRONMENT, IN_ENV_FILE, IN_FILE, IN_VAULT, LITERAL, TOKEN)

PROFILE = """\
default: dev
profiles:
  dev:
    connections:
      lake: {{type: local, root: "{folder}/lake"}}
      store: &store
        type: s3
        bucket: lake
        endpoint: {endpoint}
        allow_http: true
        region: us-east-1
        retry_timeout: 1
        access_key_id: env://CANARY_ID
        secret_access_key: vault://secret/lake/s3#key
        session_token: file://{folder}/mounted/token
      from_env_file: {{type: s3, bucket: lake, endpoint: "{endpoint}", allow_http: true, region: us-east-1,
        access_key_id: env://CANARY_ID, secret_access_key: env://CANARY_IN_ENV_FILE}}
      literal: {{type: s3, bucket: lake, endpoint: "{endpoint}", allow_http: true, region: us-east-1,
        access_key_id: env://CANARY_ID, secret_access_key: {literal}}}
      down: {{type: s3, bucket: lake, endpoint: "{nowhere}", allow_http: true, region: us-east-1, retry_timeout: 1,
        access_key_id: env://CANARY_ID, secret_access_key: vault://secret/lake/s3#key}}
      gone: {{type: s3, bucket: no-such-bucket, endpoint: "{endpoint}", allow_http: true, region: us-east-1,
        retry_timeout: 1, access_key_id: env://CANARY_ID, secret_access_key: vault://secret/lake/s3#key}}
      no_field: {{type: s3, bucket: lake, access_key_id: env://CANARY_ID,
        secret_access_key: vault://secret/lake/s3#kex}}
      no_variable: {{type: s3, bucket: lake, access_key_id: env://CANARY_IX,
        secret_access_key: file://{folder}/mounted/token}}
"""
FUSE = [sys.executable, "-m", "fuse_dagster.app.cli", "--debug", "--log-level", "debug"]
SUCCEED = ("lake", "store", "from_env_file", "literal")
FAIL = ("down", "gone", "no_field", "no_variable")


@dataclass(frozen=True)
class Left:
    """What the run has left: what it printed, and the folder with everything else."""

    printed: str
    folder: Path


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """What one run of the project leaves, in a process of its own."""
    folder = tmp_path_factory.mktemp("project")
    with contextlib.ExitStack() as stack:
        vault = stack.enter_context(vault_server(tmp_path_factory.mktemp("vault")))
        store = stack.enter_context(s3_server(tmp_path_factory.mktemp("s3") / "server", asks=False))
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        vault.put("lake/s3", key=IN_VAULT)
        vault.client.sys.create_or_update_policy("lake", 'path "secret/data/lake/*" { capabilities = ["read"] }')
        vault.client.auth.token.create(id=TOKEN, policies=["lake"])
        for name in ("home", "mounted"):
            (folder / name).mkdir()
        (folder / "mounted" / "token").write_text(IN_FILE + "\n")
        (folder / ".env").write_text(f"CANARY_IN_ENV_FILE='{IN_ENV_FILE}'\n")
        text = PROFILE.format(
            folder=folder,
            endpoint=f"http://127.0.0.1:{store.port}",
            nowhere=f"http://127.0.0.1:{taken.getsockname()[1]}",
            literal=LITERAL,
        )
        (folder / "fuse.yaml").write_text(text)
        environment = os.environ | {
            "CANARY_PROJECT": str(folder),
            "CANARY_ID": IN_ENVIRONMENT,
            "DAGSTER_HOME": str(folder / "home"),
            "VAULT_ADDR": vault.address,
            "VAULT_TOKEN": TOKEN,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        command = [sys.executable, "-m", "dagster", "job", "execute", "-f", str(PROJECT), "-j", "everything"]
        asked = [
            [*FUSE, "profiles", "show"],
            [*FUSE, "profiles", "show", "--json"],
            [*FUSE, "profiles", "schema"],
            [*FUSE, "spark", "conf"],
            [*FUSE, "doctor"],
            [*FUSE, "doctor", "--json"],
            [*FUSE, "read", "store", "planes_store", "--json"],
            [*FUSE, "connections", "test", "literal", "--write", "--json"],
            [*FUSE, "tables", "compact", "planes_store", "none", "--connection", "store", "--json"],
            *([*FUSE, "connections", "test", name] for name in ("store", "down", "no_field")),
            [*FUSE, "--connection", "gone", "tables", "show", "planes_gone"],
        ]
        printed = ""
        for words in [command, *asked]:
            done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
            printed += f"$ {words}\n{done.stdout}{done.stderr}\nexit code {done.returncode}\n"
        yield Left(printed, folder)


def test_the_canaries_were_used_and_the_errors_happened(left: Left) -> None:
    for canary in (IN_ENVIRONMENT, IN_VAULT, IN_FILE):
        assert hashlib.sha256(canary.encode()).hexdigest() in left.printed, canary
    for name in SUCCEED:
        assert f'STEP_SUCCESS - Finished execution of step "planes_{name}"' in left.printed, left.printed[-3000:]
    for name in (*(f"planes_{name}" for name in FAIL), "careless"):
        assert f'STEP_FAILURE - Execution of step "{name}" failed' in left.printed, left.printed[-3000:]
    assert "It holds a secret itself" in left.printed
    codes = [line.removeprefix("exit code ") for line in left.printed.splitlines() if line.startswith("exit code ")]
    went_well = [False, True, True, True, True, False, False, True, True, False, True, False, False, False]
    assert [code == "0" for code in codes] == went_well, left.printed


@pytest.mark.parametrize("canary", CANARIES)
def test_no_canary_is_printed_or_kept(left: Left, canary: str) -> None:
    for where, text in _seen(left):
        for form in _forms(canary):
            assert form not in text, f"`{form!r}` is in {where}"


def test_what_is_looked_at_holds_what_may_be_shown(left: Left) -> None:
    """References are no secrets: that they are found shows that a secret in their place would be."""
    shown = {where for where, text in _seen(left) if b"env://CANARY_ID" in text}
    assert "printed" in shown
    assert {Path(where).name for where in shown} >= {"store.pickle", "store.yaml"}
    assert any("runs" in where and where.endswith(": event_logs") for where in shown), sorted(shown)


def _seen(left: Left) -> list[tuple[str, bytes]]:
    return [("printed", left.printed.encode()), *_kept(left.folder)]


def _forms(secret: str) -> list[bytes]:
    plain = secret.encode()
    return [plain, quote(secret, safe="").encode(), base64.b64encode(plain), plain[::-1]]


def _kept(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file but those in which the canaries were planted, and each value in Dagster's databases, unpacked."""
    planted = {folder / ".env", folder / "fuse.yaml", folder / "mounted" / "token"}
    for file in folder.rglob("*"):
        if file.is_file() and file not in planted:
            yield str(file), file.read_bytes()
            if file.suffix == ".db":
                yield from _rows(file)


def _rows(file: Path) -> Iterator[tuple[str, bytes]]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in database.execute(f'select * from "{table}"'):
                for value in row:
                    if isinstance(value, bytes):
                        with contextlib.suppress(zlib.error):
                            yield f"{file}: {table}", zlib.decompress(value)
                    elif isinstance(value, str):
                        yield f"{file}: {table}", value.encode()
