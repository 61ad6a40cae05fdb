"""`databricks-secret://scope/key`: a secret scope of a Databricks workspace.

Protocol: https://docs.databricks.com/api/workspace/secrets/getsecret
"""

from __future__ import annotations

import base64
import binascii
from typing import ClassVar

from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import SECONDS_TO_WAIT, Store, malformed, missing_extra, unreachable, unresolved


class DatabricksSecret(Store):
    """Secret scopes of a workspace, with what Databricks' tools find: environment, profile, a notebook's login."""

    example: ClassVar[str] = "databricks-secret://lake/s3-key"
    extra: ClassVar[str] = "databricks"

    def check(self, reference: Reference) -> None:
        """Refuse what can't be the names of a scope and a key.

        Raises:
            ConfigError: It is no `scope/key`, or an option is unknown.
        """
        super().check(reference)
        scope, _, key = reference.path.partition("/")
        if not scope or not key or "/" in key:
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> str:
        """Read the secret.

        Raises:
            SecretError: There is no login, no such scope or key, or it may not be read.
            SecretStoreError: The workspace does not answer, or asks to wait.
            MissingExtraError: databricks-sdk is not installed.
        """
        try:
            from databricks.sdk import WorkspaceClient
            from databricks.sdk import errors as said
            from databricks.sdk.core import Config, DatabricksError
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        scope, _, key = reference.path.partition("/")
        where = "the workspace"
        try:
            settings = Config(http_timeout_seconds=SECONDS_TO_WAIT, retry_timeout_seconds=SECONDS_TO_WAIT)
            where = settings.host or where
            answer = WorkspaceClient(config=settings).secrets.get_secret(scope, key).value
        except said.NotFound:
            check = "Check both names with `databricks secrets list-secrets`."
            raise unresolved(reference, f"`{where}` has no such scope or key", check) from None
        except (said.PermissionDenied, said.Unauthenticated, said.BadRequest):
            check = "Check the token, and that it may READ the scope: `databricks secrets get-acl`."
            raise unresolved(reference, f"`{where}` refuses it", check) from None
        except (DatabricksError, OSError) as error:
            raise unreachable(reference, where, type(error).__name__) from None
        except ValueError:
            check = "Set `DATABRICKS_HOST` and `DATABRICKS_TOKEN`, or log in with `databricks auth login`."
            raise unresolved(reference, "no Databricks login works here", check) from None
        try:
            return base64.b64decode(answer or "").decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            pass  # it holds the value: the error below is raised without it
        raise unresolved(reference, "the secret is no text in UTF-8", "Store it as text.")
