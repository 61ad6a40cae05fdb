"""`aws-secrets://name#field`: AWS Secrets Manager.

Protocol: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import Field

from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import SECONDS_TO_WAIT, Store, missing_extra, unreachable, unresolved

_ABSENT = frozenset({"ResourceNotFoundException", "InvalidRequestException", "InvalidParameterException"})
_BUSY = frozenset({"InternalServiceError", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable"})


class AwsSecrets(Store):
    """AWS Secrets Manager, with what AWS's own tools find: environment, profile, SSO, role of the machine."""

    example: ClassVar[str] = "aws-secrets://lake/s3#secret_key"
    options: ClassVar[frozenset[str]] = frozenset({"version", "stage", "region"})
    extra: ClassVar[str] = "aws"

    region: str = Field(
        default="", description="The region of the secrets, if not that of `AWS_REGION` or the profile."
    )

    def fetch(self, reference: Reference) -> str:
        """Read the secret, of the version or stage that the reference names or the current one.

        Raises:
            SecretError: There is no login, no region, no such secret, or it may not be read.
            SecretStoreError: The service does not answer, or asks to wait.
            MissingExtraError: boto3 is not installed.
        """
        try:
            import boto3  # type: ignore[import-untyped, unused-ignore]
            from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]
            from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore]
                BotoCoreError,
                ClientError,
                NoCredentialsError,
                NoRegionError,
                ParamValidationError,
            )
        except ModuleNotFoundError as error:
            raise missing_extra(reference, self, error) from None
        patience = Config(
            connect_timeout=SECONDS_TO_WAIT, read_timeout=SECONDS_TO_WAIT, retries={"total_max_attempts": 3}
        )
        where = "AWS Secrets Manager"
        try:
            # The session that boto3 shares is not safe to use from several threads.
            client = boto3.Session().client("secretsmanager", self._region(reference), config=patience)
            where = client.meta.endpoint_url
            try:
                return _text(reference, client.get_secret_value(**_wanted(reference)))
            finally:
                client.close()
        except ClientError as error:
            raise _refused(reference, where, error.response.get("Error", {}).get("Code", "")) from None
        except NoCredentialsError:
            check = "Run `aws sso login`, set `AWS_PROFILE` or keys, or give this machine a role."
            raise unresolved(reference, "no AWS credentials are found here", check) from None
        except NoRegionError:
            check = "Set `AWS_REGION`, or write it into the reference: `?region=eu-central-1`."
            raise unresolved(reference, "no AWS region is set", check) from None
        except ParamValidationError:
            check = "Check the name, and that the version is the id that Secrets Manager shows: a UUID."
            raise unresolved(reference, "AWS allows no such name or version", check) from None
        except BotoCoreError as error:
            raise unreachable(reference, where, type(error).__name__) from None

    def _region(self, reference: Reference) -> str | None:
        # boto3 itself reads AWS_DEFAULT_REGION and the profile, but not the name that AWS's other tools share.
        return reference.options.get("region") or self.region or os.environ.get("AWS_REGION") or None


def _wanted(reference: Reference) -> dict[str, str]:
    names = {"version": "VersionId", "stage": "VersionStage"}
    options = {names[name]: value for name, value in reference.options.items() if name in names}
    return {"SecretId": reference.path, **options}


def _text(reference: Reference, answer: Any) -> str:
    if "SecretString" in answer:
        return str(answer["SecretString"])
    try:
        return str(answer["SecretBinary"], "utf-8")
    except UnicodeDecodeError:
        pass  # it holds the value: the error below is raised without it
    raise unresolved(reference, "the secret is no text in UTF-8", "Store it as text.")


def _refused(reference: Reference, where: str, code: str) -> Exception:
    if code in _ABSENT:
        check = "Check the name, the region and the version, and whether it is to be deleted."
        return unresolved(reference, f"`{where}` has no such secret (`{code}`)", check)
    if code in _BUSY:
        return unreachable(reference, where, code)
    check = "Check that the keys are valid, that `secretsmanager:GetSecretValue` is allowed, and the KMS key's policy."
    return unresolved(reference, f"`{where}` refuses it (`{code}`)", check)
