"""Against OpenBao, with the real client."""

from __future__ import annotations

import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fuse_dagster import secrets
from fuse_dagster.core.errors import ConfigError, MissingExtraError, SecretError, SecretStoreError
from fuse_dagster.secrets.reference import parse
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster.secrets.vault import Vault
from fuse_dagster_tests.servers.vault import ROOT_TOKEN, VaultServer, vault_server

POLICY = 'path "secret/data/lake/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with vault_server(tmp_path_factory.mktemp("vault")) as running:
        running.client.sys.create_or_update_policy("lake", POLICY)
        running.client.sys.enable_auth_method("approle")
        yield running


@pytest.fixture(autouse=True)
def environment(server: VaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def role(server: VaultServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A role that may read `secret/lake/*`; its secret may be used twice."""
    server.client.auth.approle.create_or_update_approle("etl", token_policies=["lake"], secret_id_num_uses=2)
    monkeypatch.setenv("VAULT_ROLE_ID", server.client.auth.approle.read_role_id("etl")["data"]["role_id"])
    proof = server.client.auth.approle.generate_secret_id("etl")["data"]["secret_id"]
    monkeypatch.setenv("VAULT_SECRET_ID", proof)
    return str(proof)


def test_a_field_is_read_with_a_token(server: VaultServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    server.put("lake/s3", access="id", secret="swordfish")
    assert resolver.resolve("vault://secret/lake/s3#secret") == "swordfish"
    assert resolver.resolve("vault://secret/lake/s3#access") == "id"


def test_a_token_may_lie_in_a_file(server: VaultServer, tmp_path: Path) -> None:
    server.put("lake/s3", secret="swordfish")
    (tmp_path / "token").write_text(ROOT_TOKEN + "\n")
    found = Vault(token=f"file://{tmp_path}/token").fetch(parse("vault://secret/lake/s3#secret"))
    assert found == {"secret": "swordfish"}


def test_the_token_of_a_login_is_found(server: VaultServer, tmp_path: Path, resolver: Resolver) -> None:
    server.put("lake/s3", secret="swordfish")
    (tmp_path / ".vault-token").write_text(ROOT_TOKEN)
    assert resolver.resolve("vault://secret/lake/s3#secret") == "swordfish"


def test_a_version_is_read_and_the_newest_otherwise(
    server: VaultServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    server.put("lake/versions", key="one")
    server.put("lake/versions", key="two")
    assert resolver.resolve("vault://secret/lake/versions?version=1#key") == "one"
    assert resolver.resolve("vault://secret/lake/versions#key") == "two"
    server.put("lake/versions", key="three")
    assert resolver.resolve("vault://secret/lake/versions#key") == "two"
    resolver.forget("vault://secret/lake/versions#key")
    assert resolver.resolve("vault://secret/lake/versions#key") == "three"


def test_a_role_logs_in_once_for_all_references(server: VaultServer, resolver: Resolver, role: str) -> None:
    server.put("lake/many", **{f"key{number}": f"value{number}" for number in range(12)})
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: resolver.resolve(f"vault://secret/lake/many#key{number}"), range(12)))
    assert found == [f"value{number}" for number in range(12)]
    assert _uses_left(server, role) == 1


def test_a_role_whose_token_has_ended_logs_in_again(server: VaultServer, resolver: Resolver, role: str) -> None:
    server.put("lake/s3", secret="swordfish")
    store = Vault()
    resolver.use(store)
    assert resolver.resolve("vault://secret/lake/s3#secret") == "swordfish"
    for accessor in server.client.list("auth/token/accessors")["data"]["keys"]:
        token = server.client.lookup_token(accessor=True, token=accessor)["data"]
        if "lake" in token["policies"]:
            server.client.revoke_token(accessor, accessor=True)
    resolver.forget("vault://secret/lake/s3#secret")
    assert resolver.resolve("vault://secret/lake/s3#secret") == "swordfish"
    with pytest.raises(SecretError, match=r"refuses the AppRole at `approle`.*VAULT_SECRET_ID.* used up"):
        Vault().fetch(parse("vault://secret/lake/s3#secret"))
    assert role not in repr(store)


def test_what_the_policy_forbids_is_said_with_the_path_to_grant(
    server: VaultServer, resolver: Resolver, role: str
) -> None:
    server.put("payroll", key="swordfish")
    with pytest.raises(SecretError, match=r"forbids it\. .*grants `read` on `secret/data/payroll`\.") as caught:
        resolver.resolve("vault://secret/payroll#key")
    text = "".join(traceback.format_exception(caught.value))
    assert role not in text
    assert "swordfish" not in text


def test_a_wrong_token_is_forbidden(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "canary-token")
    with pytest.raises(SecretError, match="Check that the token is valid") as caught:
        resolver.resolve("vault://secret/lake/s3#key")
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("vault://secret/lake/absent#key", "there is none at"),
        ("vault://secret/lake/one?version=9#key", "there is none at"),
        ("vault://nowhere/lake/one#key", "there is none at|forbids it"),
        ("vault://secret/lake/one#kex", "no field `kex`. Did you mean `key`"),
    ],
)
def test_what_is_not_there_is_said(
    server: VaultServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch, reference: str, message: str
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    server.put("lake/one", key="swordfish")
    with pytest.raises(SecretError, match=message) as caught:
        resolver.resolve(reference)
    assert "swordfish" not in "".join(traceback.format_exception(caught.value))


def test_a_deleted_secret_is_not_there(
    server: VaultServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    server.put("lake/gone", key="swordfish")
    server.client.secrets.kv.v2.delete_latest_version_of_secret(path="lake/gone")
    with pytest.raises(SecretError, match="there is none"):
        resolver.resolve("vault://secret/lake/gone#key")


def test_a_namespace_is_asked_in(server: VaultServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    import hvac

    server.client.write("sys/namespaces/team")
    inside = hvac.Client(url=server.address, token=ROOT_TOKEN, namespace="team")
    inside.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    for _ in range(50):
        try:
            inside.secrets.kv.v2.create_or_update_secret(path="lake/s3", secret={"key": "of the team"})
        except hvac.exceptions.VaultError:
            time.sleep(0.1)  # the new engine is not ready at once
        else:
            break
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    monkeypatch.setenv("VAULT_NAMESPACE", "team")
    assert resolver.resolve("vault://secret/lake/s3#key") == "of the team"
    inside.adapter.close()


@pytest.mark.parametrize(
    "reference",
    ["vault://secret#key", "vault://secret/#key", "vault://secret/a", "vault://secret/a?version=new#key"],
)
def test_a_reference_without_its_parts_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match="Valid: `vault://secret/lake#access_key`"):
        secrets.check(reference)


def test_nothing_to_log_in_with_is_said(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no way to log in .*Set `VAULT_TOKEN`, or `VAULT_ROLE_ID`"):
        resolver.resolve("vault://secret/lake/s3#key")
    monkeypatch.delenv("VAULT_ADDR")
    with pytest.raises(ConfigError, match="Set `VAULT_ADDR`"):
        resolver.resolve("vault://secret/lake/s3#key")


def test_what_opens_the_vault_may_not_lie_in_a_vault() -> None:
    with pytest.raises(ValueError, match="can't lie in a store that needs opening"):
        Vault(token="vault://secret/a#token")


def test_a_server_that_is_not_there_is_an_error_to_try_again(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SecretStoreError, match=r"does not answer \(ConnectionError\)"):
            resolver.resolve("vault://secret/lake/s3#key")


def test_a_sealed_vault_is_an_error_to_try_again(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers 503, as a sealed one does."""
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{listening.getsockname()[1]}")

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 503 Sealed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SecretStoreError, match=r"does not answer \(VaultDown\)"):
            resolver.resolve("vault://secret/lake/s3#key")
        thread.join(10)


def test_without_hvac_the_install_line_is_said(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fuse-dagster\[vault\]"'):
        resolver.resolve("vault://secret/lake/s3#key")


def _uses_left(server: VaultServer, proof: str) -> int:
    found = server.client.write("auth/approle/role/etl/secret-id/lookup", secret_id=proof)
    return int(found["data"]["secret_id_num_uses"])
