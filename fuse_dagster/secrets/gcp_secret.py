"""`gcp-secret://project/name`: Google Cloud Secret Manager.

Protocol: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import SECONDS_TO_WAIT, Store, malformed, missing_extra, unreachable, unresolved

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient


class GcpSecret(Store):
    """Google Cloud Secret Manager, with the application default credentials."""

    example: ClassVar[str] = "gcp-secret://my-project/s3-key"
    options: ClassVar[frozenset[str]] = frozenset({"version"})
    extra: ClassVar[str] = "gcp"

    endpoint: str = Field(
        default="secretmanager.googleapis.com",
        description="Host of the service; another for private access, as through Private Service Connect.",
    )

    def check(self, reference: Reference) -> None:
        """Refuse what can't be the names of a project and a secret.

        Raises:
            ConfigError: It is no `project/name`, or an option is unknown.
        """
        super().check(reference)
        project, _, name = reference.path.partition("/")
        if not project or not name or "/" in name:
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> str:
        """Read the secret, at the version that the reference names or the newest.

        Raises:
            SecretError: There is no login, no such secret, or it may not be read.
            SecretStoreError: The service does not answer, or asks to wait.
            MissingExtraError: Google's packages are not installed.
        """
        try:
            from google.api_core import exceptions as said
            from google.auth.exceptions import GoogleAuthError, TransportError
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        project, _, name = reference.path.partition("/")
        version = reference.options.get("version", "latest")
        try:
            with self.opened(reference) as client:
                answer = client.access_secret_version(
                    name=f"projects/{project}/secrets/{name}/versions/{version}", retry=None, timeout=SECONDS_TO_WAIT
                )
            data = answer.payload.data
        except (said.NotFound, said.BadRequest):
            check = "Check both names and the version, and that it is enabled and not destroyed."
            raise unresolved(reference, f"`{self.endpoint}` has no such version of a secret", check) from None
        except (said.Forbidden, said.Unauthorized):
            check = "Check that the account is the right one, and has the role `Secret Manager Secret Accessor`."
            raise unresolved(reference, f"`{self.endpoint}` refuses it", check) from None
        except (said.GoogleAPIError, TransportError, OSError) as error:
            raise unreachable(reference, self.endpoint, type(error).__name__) from None
        except GoogleAuthError:
            check = "Run `gcloud auth application-default login`, or set `GOOGLE_APPLICATION_CREDENTIALS`."
            raise unresolved(reference, "no Google credentials work here", check) from None
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass  # it holds the value: the error below is raised without it
        raise unresolved(reference, "the secret is no text in UTF-8", "Store it as text.")

    def opened(self, reference: Reference) -> SecretManagerServiceClient:
        """A client. It talks HTTP rather than gRPC, whose threads don't live through a fork.

        Raises:
            MissingExtraError: Google's packages are not installed.
        """
        try:
            from google.cloud.secretmanager import SecretManagerServiceClient
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        return SecretManagerServiceClient(transport="rest", client_options={"api_endpoint": self.endpoint})
