"""Logins with Entra ID: the clients of Azure and Rust against a fake of it, whose tokens open a real Azurite."""

from __future__ import annotations

import os
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster import ADLS
from fuse_dagster.core.errors import FuseError, StoreError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, History, as_of, write
from fuse_dagster.testing.connectors import content, moment
from fuse_dagster_tests.servers.azurite import ACCOUNT, CONTAINER, AzuriteServer
from fuse_dagster_tests.servers.entra import CLIENT, HEADER, IDENTITY, SECRET, TENANT, Entra, entra_server

PRINCIPAL = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}


@pytest.fixture
def fake(azurite_with_tokens: AzuriteServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Entra]:
    for name in os.environ:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    assert azurite_with_tokens.tls is not None
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(azurite_with_tokens.tls))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "none"))
    with entra_server(azurite_with_tokens.tls) as started:
        yield started


@pytest.fixture
def lake(fake: Entra, azurite_with_tokens: AzuriteServer) -> Callable[..., ADLS]:
    """Makes connectors to one empty folder, with the fields of a login."""
    fields = {
        "account": ACCOUNT,
        "container": CONTAINER,
        "prefix": uuid.uuid4().hex,
        "endpoint": azurite_with_tokens.endpoint,
        "authority": fake.address,
        "retry_timeout": 3.0,
    }
    return lambda **login: ADLS(**fields | login)


@pytest.fixture
def machine(fake: Entra, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this machine one of Azure's, of a kind, or one where somebody is logged in."""

    def become(kind: str) -> None:
        if kind == "platform":
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{fake.plain}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        elif kind == "vm":
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{fake.plain}/metadata/identity/oauth2/token")
        elif kind == "principal":
            for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", CLIENT), ("CLIENT_SECRET", SECRET)):
                monkeypatch.setenv(f"AZURE_{name}", value)
            monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")

    return become


LOGINS = {
    "a service principal": ("", PRINCIPAL, "principal"),
    "an identity of App Service": ("platform", {"login": "managed_identity"}, "platform"),
    "a named identity": ("platform", {"login": "managed_identity", "client_id": IDENTITY}, "platform"),
    "an identity of a virtual machine": ("vm", {"login": "managed_identity"}, "vm"),
    "Azure's library, which finds an identity": ("platform", {}, "platform"),
    "Azure's library, which finds a principal": ("principal", {}, "principal"),
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_token_opens_the_container(
    login: str, lake: Callable[..., ADLS], fake: Entra, machine: Callable[[str], None]
) -> None:
    kind, fields, asked = LOGINS[login]
    machine(kind)
    store = lake(**fields)
    store.write("file", b"1")
    assert content(store, "file") == b"1"
    table, options = store.uri("table"), store.storage_options()
    write(table, pl.DataFrame({"a": [1]}), Append(), storage_options=options)
    assert scan(table, storage_options=options).collect().rows() == [(1,)]
    assert set(fake.asked) == {asked}


def test_the_login_of_the_azure_cli_opens_it(
    lake: Callable[..., ADLS], fake: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "az"
    token = fake.identity("vm", {"resource": "https://storage.azure.com"}, {"metadata": "true"})[2]["access_token"]
    said = '{{"accessToken": "{token}", "expiresOn": "{end}", "expires_on": {at}, "tokenType": "Bearer"}}'
    at = int(time.time()) + 3600
    end = time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(at))
    text = said.format(token=token, end=end, at=at)
    program.write_text(f"#!{sys.executable}\nimport sys\nassert 'get-access-token' in sys.argv\nprint('''{text}''')\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    store = lake(login="cli")
    store.write("file", b"1")
    write(store.uri("table"), pl.DataFrame({"a": [1]}), Append(), storage_options=store.storage_options())
    assert content(store, "file") == b"1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "wrong-canary"},
        {"client_id": "nobody"},
        {"tenant_id": "elsewhere"},
        {"client_secret": "", "tenant_id": "", "client_id": "nobody", "login": "managed_identity"},
    ],
    ids=["secret", "principal", "tenant", "identity"],
)
def test_who_is_not_known_is_refused_at_once(
    wrong: dict[str, str], lake: Callable[..., ADLS], machine: Callable[[str], None], fake: Entra
) -> None:
    machine("platform")
    store = lake(**PRINCIPAL | wrong)
    _refused(store, StoreError, r"refused to these credentials")
    assert not fake.given
    assert len(fake.asked) < 6, "a refusal is not tried again"


@pytest.mark.parametrize("name", ["AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"])
def test_azures_library_refuses_who_is_not_known(
    name: str, lake: Callable[..., ADLS], machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("principal")
    monkeypatch.setenv(name, "wrong-canary")
    with pytest.raises(StoreError, match=r"refused to these credentials.* `login`") as caught:
        lake().storage_options()
    assert "canary" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("fields", [PRINCIPAL, {"login": "managed_identity"}, {}], ids=["principal", "identity", "any"])
def test_a_busy_login_is_asked_again(
    fields: dict[str, str], lake: Callable[..., ADLS], fake: Entra, machine: Callable[[str], None]
) -> None:
    machine("platform" if "login" in fields else "principal")
    fake.busy = 2
    store = lake(**fields)
    store.write("file", b"1")
    write(store.uri("table"), pl.DataFrame({"a": [1]}), Append(), storage_options=store.storage_options())
    assert len(fake.asked) >= 3


def test_a_login_that_stays_busy_is_an_error_to_try_again(
    lake: Callable[..., ADLS], fake: Entra, machine: Callable[[str], None]
) -> None:
    fake.busy = 10_000
    _refused(lake(**PRINCIPAL), StoreUnavailableError, "slow down")
    machine("principal")
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="slow down"):
        lake().storage_options()
    assert time.monotonic() - began < 30


def test_a_token_is_kept_as_long_as_it_holds(lake: Callable[..., ADLS], fake: Entra) -> None:
    store = lake(**PRINCIPAL)
    store.write("file", os.urandom(20_000_000))
    assert len(content(store, "file")) == 20_000_000
    assert store.exists("file")
    assert len(fake.given) == 1


@pytest.mark.parametrize("fields", [PRINCIPAL, {"login": "managed_identity"}], ids=["principal", "identity"])
def test_a_token_that_runs_out_in_the_middle_is_renewed(
    fields: dict[str, str], lake: Callable[..., ADLS], fake: Entra, machine: Callable[[str], None]
) -> None:
    machine("platform")
    fake.lifetime = 2
    store = lake(**fields)
    options = store.storage_options()

    def slow() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            time.sleep(1)
            yield pa.record_batch({"a": [number]})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), slow())
    write(store.uri("table"), reader, Append(), storage_options=options)
    assert scan(store.uri("table"), storage_options=options).collect().height == 4
    store.write("file", b"a" * 20_000_000)
    with store.open("file") as file:
        file.read(1_000_000)
        time.sleep(2.2)
        assert len(file.read()) == 19_000_000
    assert len(fake.given) > 3


def test_a_table_whose_token_ran_out_is_left_as_it_was(
    lake: Callable[..., ADLS], fake: Entra, machine: Callable[[str], None]
) -> None:
    first, second = (pl.DataFrame({"k": [1, day], "v": [day, day], "t": [moment(day)] * 2}) for day in (2, 3))
    mode = History(keys=["k"], effective_column="t")
    machine("principal")
    # Tokens that end within five minutes are not kept by the library: each question after options fetches one.
    fake.lifetime = 240
    store = lake()
    table = store.uri("history")
    write(table, first, mode, storage_options=store.storage_options())
    fake.lifetime = 1
    options = store.storage_options()
    time.sleep(1.5)
    for act in (
        lambda: write(table, second, mode, storage_options=options),
        lambda: scan(table, storage_options=options).collect(),
    ):
        with pytest.raises(StoreError, match="refused to these credentials"):
            act()
    # The next step asks for options anew, and with them for a token.
    fake.lifetime = 240
    renewed = store.storage_options()
    assert as_of(table, moment(3), storage_options=renewed).collect().height == 2
    write(table, second, mode, storage_options=renewed)
    assert set(as_of(table, moment(3), storage_options=renewed).collect()["k"]) == {1, 3}


def _refused(store: ADLS, kind: type[FuseError], words: str) -> None:
    """Files and tables say so within a time, with no secret in what they say."""
    acts: list[Callable[[], object]] = [
        lambda: store.write("file", b"1"),
        lambda: write(store.uri("table"), pl.DataFrame({"a": [1]}), Append(), storage_options=store.storage_options()),
    ]
    for act in acts:
        began = time.monotonic()
        with pytest.raises(kind, match=words) as caught:
            act()
        assert time.monotonic() - began < 30
        assert "canary" not in f"{caught.value} {caught.value.__cause__}"
