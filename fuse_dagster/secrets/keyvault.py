"""`keyvault://vault-name/secret`: Azure Key Vault.

Protocol: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
"""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import SECONDS_TO_WAIT, Store, malformed, missing_extra, unreachable, unresolved

_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]/[A-Za-z0-9-]{1,127}")
_BUSY = frozenset({408, 429})


class KeyVault(Store):
    """Azure Key Vault, with what `DefaultAzureCredential` finds: environment, identity of the machine, Azure CLI."""

    example: ClassVar[str] = "keyvault://lake-vault/s3-key"
    options: ClassVar[frozenset[str]] = frozenset({"version"})
    extra: ClassVar[str] = "keyvault"

    address: str = Field(
        default="https://{vault}.vault.azure.net",
        description="URL of a vault by its name; another in the clouds of governments and countries, "
        "as `https://{vault}.vault.azure.cn`.",
    )

    def check(self, reference: Reference) -> None:
        """Refuse what can't be the names of a vault and a secret.

        Raises:
            ConfigError: It is no `vault-name/secret` of letters, digits and `-`, or an option is unknown.
        """
        super().check(reference)
        if not _NAMES.fullmatch(reference.path):
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> str:
        """Read the secret, at the version that the reference names or the newest.

        Raises:
            SecretError: There is no login, no such secret, or it may not be read.
            SecretStoreError: The vault does not answer, or asks to wait.
            MissingExtraError: Azure's packages are not installed.
        """
        try:
            from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
            from azure.identity import DefaultAzureCredential
            from azure.keyvault.secrets import SecretClient
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        vault, _, name = reference.path.partition("/")
        where = self.address.format(vault=vault)
        wait = {"connection_timeout": SECONDS_TO_WAIT, "read_timeout": SECONDS_TO_WAIT, "retry_total": 2}
        try:
            with DefaultAzureCredential() as credential, SecretClient(where, credential, **wait) as client:
                return client.get_secret(name, reference.options.get("version")).value or ""
        except ClientAuthenticationError as error:
            if error.status_code is None:
                check = "Log in with `az login`, give this machine an identity, or set `AZURE_CLIENT_ID` and its like."
                raise unresolved(reference, "no Azure credential works here", check) from None
            raise _refused(reference, where, error.status_code, name) from None
        except HttpResponseError as error:
            raise _refused(reference, where, error.status_code or 0, name) from None
        except AzureError as error:
            raise unreachable(reference, where, type(error).__name__) from None


def _refused(reference: Reference, where: str, status: int, name: str) -> Exception:
    if status == 404:
        return unresolved(
            reference,
            f"`{where}` has no secret `{name}`",
            "Check both names and the version, and whether it was deleted.",
        )
    if status in _BUSY or status >= 500:
        return unreachable(reference, where, f"HTTP {status}")
    check = (
        "Check that it is enabled, the role `Key Vault Secrets User` or an access policy with `get`, and the firewall."
    )
    return unresolved(reference, f"`{where}` refuses it (HTTP {status})", check)
