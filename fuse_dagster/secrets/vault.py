"""`vault://mount/path#field`: HashiCorp Vault or OpenBao, version 2 of the key-value engine.

The client is hvac. Protocol: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, field_validator

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.secrets.fields import secret_field
from fuse_dagster.secrets.reference import SCHEME, Reference
from fuse_dagster.secrets.store import (
    SECONDS_TO_WAIT,
    Store,
    malformed,
    missing_extra,
    unreachable,
    unresolved,
)


class Vault(Store):
    """HashiCorp Vault or OpenBao: a token, or an AppRole that fetches one."""

    example: ClassVar[str] = "vault://secret/lake#access_key"
    options: ClassVar[frozenset[str]] = frozenset({"version"})
    extra: ClassVar[str] = "vault"

    address: str = Field(default="", description="Its address, as `https://vault.example.com:8200`; else `VAULT_ADDR`.")
    namespace: str = Field(default="", description="The namespace of your team; else `VAULT_NAMESPACE`.")
    token: str = secret_field(
        description="A token, where something hands one out; else `VAULT_TOKEN`, the AppRole, `~/.vault-token`."
    )
    role_id: str = Field(default="", description="The role of a service, for AppRole; else `VAULT_ROLE_ID`.")
    secret_id: str = secret_field(description="What proves the role; else `VAULT_SECRET_ID`.")
    approle_path: str = Field(default="approle", description="Where AppRole is mounted, if not at its usual place.")

    _role_token: str = PrivateAttr(default="")
    _lock: Lock = PrivateAttr(default_factory=Lock)

    @field_validator("token", "secret_id")
    @classmethod
    def _not_in_a_vault(cls, value: str) -> str:
        found = SCHEME.match(value)
        if found and found[1] not in {"env", "file"}:
            msg = "what opens the vault can't lie in a store that needs opening. Valid: `env://NAME`, `file:///path`."
            raise ValueError(msg)
        return value

    def check(self, reference: Reference) -> None:
        """Refuse a reference without a mount, a path or a field.

        Raises:
            ConfigError: One of them is missing, the version is no number, or an option is unknown.
        """
        super().check(reference)
        mount, _, path = reference.path.partition("/")
        version = reference.options.get("version", "1")
        if not (mount and path.strip("/") and reference.field and version.isdecimal()):
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> Mapping[str, object]:
        """Read all fields of the secret, at the version that the reference names or the newest.

        Raises:
            ConfigError: Neither the store nor the environment names an address, or a way to log in.
            SecretError: It is not there, deleted, or the token may not read it.
            SecretStoreError: The server does not answer, is sealed, or asks to wait.
            MissingExtraError: hvac is not installed.
        """
        token, from_role = self._token(reference)
        found = self._read(reference, token)
        if found is None and from_role:
            # Its token may have ended meanwhile.
            found = self._read(reference, self._log_in(reference, instead_of=token))
        if found is None:
            mount, _, path = reference.path.partition("/")
            inside = f" in the namespace `{self._namespace()}`" if self._namespace() else ""
            check = f"Check that the token is valid, and that a policy grants `read` on `{mount}/data/{path}`{inside}."
            raise unresolved(reference, f"`{self._where()}` forbids it", check)
        return found

    def _read(self, reference: Reference, token: str) -> Mapping[str, object] | None:
        """All fields; None where the token may not read them, which says nothing of whether they are there."""
        errors = self._hvac(reference).exceptions
        mount, _, path = reference.path.partition("/")
        version = reference.options.get("version")
        try:
            with self._answering(reference):
                answer = self._client(reference, token).secrets.kv.v2.read_secret_version(
                    path=path,
                    mount_point=mount,
                    version=int(version) if version else None,
                    raise_on_deleted_version=True,
                )
        except (errors.Forbidden, errors.Unauthorized):
            return None
        except errors.InvalidPath:
            check = "Check the mount, the path and the version, and that the mount is a key-value engine of version 2."
            raise unresolved(reference, f"there is none at `{self._where()}`", check) from None
        fields: Mapping[str, object] = answer["data"]["data"]
        return fields

    def _token(self, reference: Reference) -> tuple[str, bool]:
        """A token, and whether the AppRole gave it."""
        from fuse_dagster.secrets.resolving import resolve  # which loads the stores

        token = resolve(self.token) or os.environ.get("VAULT_TOKEN", "")
        if token:
            return token, False
        if self.role_id or os.environ.get("VAULT_ROLE_ID"):
            return self._log_in(reference, instead_of=""), True
        file = Path("~/.vault-token").expanduser()
        if file.is_file():
            return file.read_text(encoding="utf-8").strip(), False
        msg = (
            f"`{reference}` can't be resolved: there is no way to log in to `{self._where()}`. "
            "Set `VAULT_TOKEN`, or `VAULT_ROLE_ID` and `VAULT_SECRET_ID`, or log in with `vault login`."
        )
        raise ConfigError(msg)

    def _log_in(self, reference: Reference, *, instead_of: str) -> str:
        """The role's token, fetched unless another thread has done so meanwhile."""
        from fuse_dagster.secrets.resolving import resolve

        role = self.role_id or os.environ["VAULT_ROLE_ID"]
        proof = resolve(self.secret_id) or os.environ.get("VAULT_SECRET_ID")
        with self._lock:
            if self._role_token != instead_of:
                return self._role_token
            try:
                with self._answering(reference):
                    answer = self._client(reference, "").auth.approle.login(
                        role_id=role, secret_id=proof, use_token=False, mount_point=self.approle_path
                    )
            except self._answers(reference):
                check = "Check `VAULT_ROLE_ID`, and whether `VAULT_SECRET_ID` has expired or is used up."
                what = f"`{self._where()}` refuses the AppRole at `{self.approle_path}`"
                raise unresolved(reference, what, check) from None
            self._role_token = str(answer["auth"]["client_token"])
            return self._role_token

    def _where(self) -> str:
        address = self.address or os.environ.get("VAULT_ADDR", "")
        if not address:
            msg = "No address of a vault is set. Set `VAULT_ADDR`, as in `https://vault.example.com:8200`."
            raise ConfigError(msg)
        return address

    def _namespace(self) -> str:
        return self.namespace or os.environ.get("VAULT_NAMESPACE", "")

    def _hvac(self, reference: Reference) -> Any:
        try:
            import hvac  # type: ignore[import-untyped, unused-ignore]  # its types are a package apart
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        return hvac

    def _client(self, reference: Reference, token: str) -> Any:
        # hvac itself reads VAULT_CACERT and its like. It reads no token where it is given one, if only "".
        return self._hvac(reference).Client(
            url=self._where(), token=token, namespace=self._namespace() or None, timeout=int(SECONDS_TO_WAIT)
        )

    def _answers(self, reference: Reference) -> tuple[type[Exception], ...]:
        """Errors by which a server that is well says no."""
        errors = self._hvac(reference).exceptions
        return errors.Forbidden, errors.InvalidPath, errors.InvalidRequest, errors.Unauthorized

    @contextmanager
    def _answering(self, reference: Reference) -> Iterator[None]:
        """Turn errors of a server that does not answer into ours; those that are answers go on."""
        try:
            yield
        except self._answers(reference):
            raise
        except (self._hvac(reference).exceptions.VaultError, OSError) as error:  # as are all errors of requests
            raise unreachable(reference, self._where(), type(error).__name__) from None
