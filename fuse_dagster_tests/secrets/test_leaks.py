"""Every field of every connector and store that holds a secret: where its value must not show."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pydantic import ValidationError

from fuse_dagster import DeltaIOManager, secrets
from fuse_dagster.app.hiding import hidden
from fuse_dagster.connectors import Connector, connectors
from fuse_dagster.connectors.base import CanAnswer, CanList, CanListNames, CanRead, CanReadRows
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError, FuseError
from fuse_dagster.engines.spark.settings import shown
from fuse_dagster.secrets import stores
from fuse_dagster_tests.servers.azurite import (
    ACCOUNT,
    CONTAINER,
    KEY,
    azurite_server,
    missing,
    sas_token,
)
from fuse_dagster_tests.servers.s3 import s3_server

CANARY = "canary+of/the=field"
REFERENCE = "env://CANARY_OF_THE_FIELD"

NOWHERE = "http://127.0.0.1:1"
VALUES = {
    "onelake.item": "lake.Lakehouse",
    "volumes.name": "main.raw.landing",
    "base_url": NOWHERE,
    "bootstrap_servers": "127.0.0.1:1",
    "host": "127.0.0.1",
    "dbfs.host": "https://127.0.0.1:1",
    "volumes.host": "https://127.0.0.1:1",
    "allow_http": True,
}
"""What is right for fields that are no plain name."""
OAUTH = {"token_url": f"{NOWHERE}/token", "client_id": "filled"}
REGISTRY = {"schema_registry": NOWHERE, "registry_username": "filled"}
BESIDE: dict[str, dict[str, Any]] = {
    "eventhubs.registry_password": REGISTRY,
    "kafka.client_secret": {"mechanism": "OAUTHBEARER", **OAUTH},
    "kafka.key_password": {"key_file": "filled", "certificate_file": "filled"},
    "kafka.password": {"mechanism": "PLAIN", "username": "filled"},
    "kafka.registry_password": REGISTRY,
    "kafka.token": {"mechanism": "OAUTHBEARER"},
    "qdrant.api_key": {"url": NOWHERE},
    "client_secret": OAUTH,
    "password": {"username": "filled"},
    "refresh_token": {"grant": "refresh_token", **OAUTH},
}
"""What a secret belongs to, where it is more than a plain name or two."""

SECRET_FIELDS = [
    (name, field) for name in connectors.names for field in sorted(secrets.secret_fields(connectors.load(name)))
]
OF_LAKES = [(name, field) for name, field in SECRET_FIELDS if issubclass(connectors.load(name), Lake)]


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_OF_THE_FIELD", CANARY)
    assert secrets.resolve(REFERENCE) == CANARY


def right(name: str, fields: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Of values by field, or by connector and field, those of some fields of one connector."""
    return {one: values.get(f"{name}.{one}", values.get(one)) for one in fields if {one, f"{name}.{one}"} & {*values}}


def made(name: str, field: str, value: str) -> Connector:
    """A connector with a secret in one field, and in as few others as that takes."""
    kind = connectors.load(name)
    fields = kind.model_fields
    needed = {one: "name" for one, facts in fields.items() if facts.is_required()} | right(name, fields, VALUES)
    beside = right(name, [field], BESIDE).get(field, {})
    needed |= {one: said for one, said in beside.items() if one in fields}
    texts = [one for one, facts in fields.items() if facts.annotation is str and one not in (field, *needed)]
    for count in range(3):
        for others in itertools.combinations(texts, count):
            try:
                return kind(**needed, **dict.fromkeys(others, "filled"), **{field: value})
            except ConfigError:
                continue
    raise AssertionError(f"`{name}` can't be made with `{field}`")


def ways_out(connector: Connector) -> Iterator[tuple[str, str]]:
    """Where what, and as which text, a connector may be shown or kept."""
    yield "str", str(connector)
    yield "repr", repr(connector)
    yield "repr of what holds it", f"{[connector]}"
    if isinstance(connector, Lake):
        yield "repr of an IO manager", f"{DeltaIOManager(lake=connector)!r}"
    yield "a format", f"{connector}"
    yield "a traceback", _failing(connector)


def _failing(connector: Connector) -> str:
    try:
        raise RuntimeError(connector)
    except RuntimeError as error:
        return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(("name", "field"), SECRET_FIELDS)
@pytest.mark.parametrize("value", [CANARY, REFERENCE])
def test_a_secret_does_not_show_where_a_connector_does(name: str, field: str, value: str) -> None:
    for where, text in ways_out(made(name, field, value)):
        assert CANARY not in text, where


@pytest.mark.parametrize(("name", "field"), SECRET_FIELDS)
def test_what_is_kept_of_a_connector_holds_the_reference(name: str, field: str) -> None:
    """Pickles, YAML and Dagster's configuration go to other processes, and to disks."""
    lake = made(name, field, REFERENCE)
    kept = {
        "a pickle": pickle.dumps(lake),
        "YAML": yaml.safe_dump(lake.model_dump()).encode(),
        "JSON": lake.model_dump_json().encode(),
        "the schema": json.dumps(type(lake).model_json_schema()).encode(),
    }
    for where, data in kept.items():
        assert CANARY.encode() not in data, where
    assert REFERENCE.encode() in kept["YAML"]

    @dg.asset(required_resource_keys={"lake"})
    def look(context) -> None:  # type: ignore[no-untyped-def]  # Dagster would read a string annotation
        context.log.info(str(context.resources.lake))

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([look], resources={"lake": lake}, instance=instance)
        events = repr(instance.all_logs(result.run_id))
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert CANARY not in events + repr(run) + json.dumps(run.run_config)
    assert REFERENCE in events, "what is looked at would show it"


@pytest.mark.parametrize(("name", "field"), SECRET_FIELDS)
def test_no_error_of_a_declaration_quotes_a_secret(name: str, field: str) -> None:
    kind = connectors.load(name)
    good = made(name, field, CANARY).model_dump()
    for wrong in ({f"{field}x": CANARY}, {field: [CANARY]}, {field: {"value": CANARY}}, {"type": CANARY}):
        with pytest.raises((ConfigError, ValidationError)) as caught:
            kind(**{**good, **wrong})
        said = "".join(traceback.format_exception(caught.value))
        assert CANARY not in said, (wrong, said)


@pytest.mark.parametrize(("name", "field"), OF_LAKES)
def test_settings_of_spark_are_shown_without_it(name: str, field: str) -> None:
    lake = made(name, field, REFERENCE)
    assert isinstance(lake, Lake)
    try:
        conf = lake.spark_conf()
    except FuseError:  # Spark has no such login, or takes it from a file
        return
    for setting, value in conf.items():
        assert CANARY not in shown(setting, value), setting


def acts(connector: Connector) -> Iterator[Callable[[], object]]:
    """What one may ask of a connector, each of which needs its secrets."""
    if isinstance(connector, Lake):
        yield from (connector.storage_options, connector.spark_conf)
    if isinstance(connector, CanAnswer):
        yield connector.answer
    if isinstance(connector, CanList):
        yield lambda: list(connector.list())
    if isinstance(connector, CanRead):
        yield lambda: connector.open("a")
    if isinstance(connector, CanListNames):
        yield lambda: list(connector.names())
    if isinstance(connector, CanReadRows):
        yield lambda: connector.rows("a").__enter__()


@pytest.mark.parametrize(("name", "field"), SECRET_FIELDS)
def test_what_fails_at_the_store_does_not_show_it(name: str, field: str) -> None:
    connector = made(name, field, REFERENCE)
    fields = type(connector).model_fields
    quick: dict[str, Any] = {"connect_timeout": 0.5, "timeout": 0.5, "retry_timeout": 0.5}
    nowhere = {"allow_http": True, "port": 1} | ({"endpoint": NOWHERE} if name != "eventhubs" else {}) | quick
    said_before = connector.model_dump()
    connector = type(connector)(**said_before | {key: value for key, value in nowhere.items() if key in fields})
    with ThreadPoolExecutor() as pool:  # each waits for what does not answer
        errors = [asked.exception() for asked in [pool.submit(act) for act in acts(connector)]]
    for error in errors:
        if error is not None:
            said = "".join(traceback.format_exception(error))
            assert CANARY not in said, said
            assert CANARY not in hidden(said)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in stores.names for field in stores.load(name).model_fields]
)
def test_a_store_of_secrets_shows_none_of_its_own(name: str, field: str) -> None:
    kind = stores.load(name)
    for wrong in ({field: {"value": CANARY}}, {f"{field}x": CANARY}):
        with pytest.raises(ValidationError) as caught:
            kind(**wrong)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    if field in secrets.secret_fields(kind):
        assert CANARY not in f"{kind(**{field: CANARY})!r}"


# Writes, reads and fails with each login; RUST_LOG has the clients of delta-rs and obstore say all that they can say.
TALKS = """
import json, sys
import polars as pl
from fuse_dagster.connectors import connectors
from fuse_dagster.tables import Append, write

for fields in json.load(sys.stdin):
    lake = connectors.load(fields["type"])(**fields)
    for act in (
        lambda: write(lake.uri("t"), pl.DataFrame({"a": [1]}), Append(), storage_options=lake.storage_options()),
        lambda: pl.scan_delta(lake.uri("t"), storage_options=lake.storage_options()).collect(),
        lambda: lake.write("f", b"1"),
        lambda: list(lake.list()),
    ):
        try:
            act()
            print("went well")
        except Exception as error:
            print("failed", repr(error), repr(error.__cause__))
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_clients_log_no_secret_even_when_they_log_all(tmp_path: Path) -> None:
    """Ids of access keys are none: they stand in every signed request and in the logs of the cloud."""
    quick = {"connect_timeout": 1, "timeout": 5, "retry_timeout": 1, "allow_http": True}
    with s3_server(tmp_path / "s3") as s3, azurite_server(tmp_path / "azurite") as azurite:
        keys = {"access_key_id": "lake-key-id", "region": "us-east-1", "bucket": "lake", "type": "s3", **quick}
        account = {"account": ACCOUNT, "container": CONTAINER, "type": "adls", **quick}
        token, endpoint = sas_token(), azurite.endpoint
        logins = [
            {**keys, "endpoint": f"http://127.0.0.1:{s3.port}", "secret_access_key": "lake-signing-key"},
            {**keys, "endpoint": f"http://127.0.0.1:{s3.port}", "secret_access_key": CANARY},
            {**account, "endpoint": endpoint, "account_key": KEY},
            {**account, "endpoint": endpoint, "sas_token": token},
            {**account, "endpoint": endpoint, "sas_token": token.replace("sig=", "sig=Y2FuYXJ5")},
            {**account, "endpoint": "http://127.0.0.1:1/x", "sas_token": token},
        ]
        done = subprocess.run(
            [sys.executable, "-c", TALKS],
            input=json.dumps(logins),
            env=os.environ | {"RUST_LOG": "trace", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
    said = done.stdout + done.stderr
    results = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("went well", "failed"))]
    assert results == [*["went"] * 4, *["failed"] * 4, *["went"] * 8, *["failed"] * 8]
    assert "DEBUG deltalake" in said, "the clients do log"
    signature = token.rpartition("sig=")[2]
    for secret in (CANARY, "lake-signing-key", KEY, signature, f"Y2FuYXJ5{signature}"):
        assert secret not in said
