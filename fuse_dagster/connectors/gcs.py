"""Google Cloud Storage."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem, texts
from fuse_dagster.connectors.hadoop import S3A, S3A_PACKAGES, s3a_bucket
from fuse_dagster.connectors.object_store import ObjectStore, looked_up, name_problems
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

_EMULATED = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}


class GCS(ObjectStore):
    """A bucket of Google Cloud Storage.

    Without a service account the application default credentials are taken: the file that
    `GOOGLE_APPLICATION_CREDENTIALS` names, the login of `gcloud`, or the account of the machine.

    Examples:
        >>> GCS(bucket="lake", prefix="prod").uri("silver", "airports")
        'gs://lake/prod/silver/airports'
    """

    type: Literal["gcs"] = "gcs"
    bucket: str = Field(description="The bucket. It has to be there already.")
    service_account: str = secrets.secret_field(
        description="The key of a service account: the path of its JSON file, or a reference to the JSON itself."
    )
    hmac_key_id: str = secrets.secret_field(
        description="For Spark: an HMAC key, by which S3A reads the bucket, beside buckets with other keys."
    )
    hmac_secret: str = secrets.secret_field(description="The secret that belongs to `hmac_key_id`.")
    single_writer: bool = Field(
        default=False,
        description="Promise that one Spark driver, and nothing beside it, writes tables in this bucket: with an HMAC "
        "key Spark's commits can't be guarded, so that it writes there under this promise only.",
    )

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `service_account`, or the application default credentials here, that the key was "
        "not withdrawn, and has the role Storage Object User there; and that `bucket` is the one that you mean.",
        "container": "Check `bucket` for a typing error, and `endpoint`; or make the bucket.",
        "host": "Check `endpoint`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A name, and HMAC keys in pairs."""
        found = super().problems(given) + name_problems(given, "bucket")
        keys = texts(given, ("hmac_key_id", "hmac_secret"))
        if len(keys) == 1:
            other = "hmac_secret" if keys == ["hmac_key_id"] else "hmac_key_id"
            found.append(Problem(other, f"`{keys[0]}` is given without it. Give both, or neither."))
        return found

    @property
    def root(self) -> str:
        """URI of the bucket."""
        return f"gs://{looked_up(self.bucket)}"

    @property
    def service(self) -> str:
        """URL of the endpoint, or of Google's."""
        return super().service or "https://storage.googleapis.com"

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the bucket, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or the key file is not there.
        """
        account = self._account()
        return ({"google_service_account_key": account} if account else {}) | self.client_settings()

    def opened(self) -> "Store":
        """The bucket, opened by obstore.

        Raises:
            FuseError: A secret can't be resolved, or the key file is not there.
        """
        from obstore.store import GCSStore

        account = self._account()
        return GCSStore(
            looked_up(self.bucket),
            prefix=looked_up(self.prefix).strip("/") or None,
            config={"service_account_key": account} if account else {},
            client_options=self.client_options(),  # type: ignore[arg-type]  # a dict of them
            retry_config=self.retry_config(),  # type: ignore[arg-type]
        )

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach the bucket.

        With an HMAC key it is read by Hadoop's S3A, beside buckets with other keys, and Delta's commits are safe from
        one Spark driver at a time only: tables are written where `single_writer` promises that. Else by Google's own
        driver (`gcs-connector`), which knows one account per session.

        Raises:
            ConfigError: The service account is no path of a file, which is all that Google's driver takes.
            FuseError: A secret can't be resolved.
        """
        if self.hmac_key_id:
            return self._by_s3a()
        said = {"impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem", "auth.type": "APPLICATION_DEFAULT"}
        if self.service_account:
            path = secrets.resolve(self.service_account)
            if not Path(path).is_file():
                msg = (
                    "Google's driver for Spark takes a service account by the path of its JSON file, and "
                    "`service_account` is none. Give the path, or `hmac_key_id` and `hmac_secret`."
                )
                raise ConfigError(msg)
            said |= {"auth.type": "SERVICE_ACCOUNT_JSON_KEYFILE", "auth.service.account.json.keyfile": path}
        if self.endpoint:
            said["storage.root.url"] = looked_up(self.endpoint).rstrip("/") + "/"
        return {f"spark.hadoop.fs.gs.{name}": value for name, value in said.items()}

    def spark_packages(self) -> tuple[str, ...]:
        """Say which jars S3A needs; Google's own driver is of the platform, or for you to add."""
        return S3A_PACKAGES if self.hmac_key_id else ()

    def _by_s3a(self) -> dict[str, str]:
        said = {
            "access.key": secrets.resolve(self.hmac_key_id),
            "secret.key": secrets.resolve(self.hmac_secret),
            "aws.credentials.provider": f"{S3A}.SimpleAWSCredentialsProvider",
            "endpoint.region": "auto",
            "path.style.access": "true",
            "multiobjectdelete.enable": "false",  # Google's answer to it is another one
        }
        mine = s3a_bucket(
            looked_up(self.bucket),
            said,
            endpoint=looked_up(self.endpoint) or "https://storage.googleapis.com",
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            retry_timeout=self.retry_timeout,
            single_writer=self.single_writer,
        )
        return {"spark.hadoop.fs.gs.impl": f"{S3A}.S3AFileSystem", **mine}

    def _account(self) -> str:
        """The service account as JSON, with the endpoint in it, which is where its clients look for one."""
        text = secrets.resolve(self.service_account) if self.service_account else ""
        if text and not text.lstrip().startswith("{"):
            text = _read(text)
        if not self.endpoint:
            return text
        try:
            account = json.loads(text) if text else _EMULATED
        except ValueError:  # which holds the text
            raise ConfigError("`service_account` is no JSON. Give the key file of a service account, whole.") from None
        return json.dumps({**account, "gcs_base_url": looked_up(self.endpoint)})


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # what is no path may be a secret, so it is not shown
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no path"
        msg = f"The key file that `service_account` names can't be read ({reason}). Give its path, or a reference."
        raise ConfigError(msg) from None
