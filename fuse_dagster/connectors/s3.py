"""Amazon S3, and the stores that speak its protocol: MinIO, Ceph, Cloudflare R2, SeaweedFS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem, texts
from fuse_dagster.connectors.failures import in_our_words
from fuse_dagster.connectors.hadoop import S3A, S3A_PACKAGES, s3a_bucket
from fuse_dagster.connectors.object_store import ObjectStore, looked_up, name_problems
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store


class S3(ObjectStore):
    """A bucket of Amazon S3, or of a store that speaks its protocol.

    Without keys, profile or role the machine's own credentials are taken, as AWS's tools do: environment variables, a
    web identity, the role of the container or of the instance.

    Examples:
        >>> S3(bucket="lake", prefix="prod", region="eu-central-1").uri("silver", "airports")
        's3://lake/prod/silver/airports'
    """

    type: Literal["s3"] = "s3"
    bucket: str = Field(description="The bucket. It has to be there already.")
    region: str = Field(default="", description="The bucket's region; by default that of AWS's own settings.")
    access_key_id: str = secrets.secret_field(description="Set it with `secret_access_key` where keys are handed out.")
    secret_access_key: str = secrets.secret_field(description="The secret that belongs to `access_key_id`.")
    session_token: str = secrets.secret_field(description="Belongs to keys that are temporary.")
    profile: str = Field(
        default="", description="A profile of AWS's configuration files, for people at their own machines (SSO, too)."
    )
    role_arn: str = Field(
        default="", description="A role to assume, as `arn:aws:iam::123456789012:role/lake`; its keys last an hour."
    )
    path_style: bool = Field(
        default=True,
        description="Put the bucket into the path rather than the host name; most compatible stores need it.",
    )
    conditional_put: Literal["etag", "none"] = Field(
        default="etag",
        description="Whether the store holds `If-None-Match` and `If-Match`, on which safe commits rest. With `none`, "
        "tables can be read and files written, but writing a table is refused rather than risked.",
    )
    single_writer: bool = Field(
        default=False,
        description="Promise that one Spark driver, and nothing beside it, writes tables in this bucket: then Spark "
        "may write there even where its commits can't be guarded by conditional puts, as on a platform.",
    )

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `access_key_id`, `secret_access_key` and `session_token` (or `profile`, or `role_arn`), "
        "that they haven't expired, and that they may do s3:ListBucket, GetObject, PutObject and DeleteObject there; "
        "and that `bucket` is the one that you mean.",
        "container": "Check `bucket` for a typing error, and `region` or `endpoint`; or make the bucket.",
        "host": "Check `endpoint` and `region`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Keys come in pairs, and one way to log in is enough."""
        found = super().problems(given)
        found += name_problems(given, "bucket")
        keys = texts(given, ("access_key_id", "secret_access_key"))
        if len(keys) == 1:
            other = "secret_access_key" if keys == ["access_key_id"] else "access_key_id"
            found.append(Problem(other, f"`{keys[0]}` is given without it. Give both, or neither."))
        if given["session_token"] and not keys:
            found.append(Problem("session_token", "It belongs to `access_key_id` and `secret_access_key`. Give them."))
        if given["profile"] and keys:
            found.append(Problem("profile", "Keys are given as well. Take one of the two away."))
        return found

    @property
    def root(self) -> str:
        """URI of the bucket. Spark reads it by S3A, as `spark_conf` says."""
        return f"s3://{looked_up(self.bucket)}"

    @property
    def service(self) -> str:
        """URL of the endpoint, or of Amazon's in the region."""
        return super().service or f"https://s3.{looked_up(self.region) or 'us-east-1'}.amazonaws.com"

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the bucket, with secrets that are resolved now.

        Raises:
            FuseError: A secret, the profile or the role can't be resolved.
        """
        said = {
            "aws_access_key_id": (keys := self._keys())[0],
            "aws_secret_access_key": keys[1],
            "aws_session_token": keys[2],
            "aws_region": self._region(),
            "aws_endpoint_url": looked_up(self.endpoint),
            "aws_virtual_hosted_style_request": str(not self.path_style).lower(),
            "aws_conditional_put": "etag" if self.conditional_put == "etag" else "disabled",
            **self.client_settings(),
        }
        return {name: value for name, value in said.items() if value}

    def opened(self) -> "Store":
        """The bucket, opened by obstore.

        Raises:
            FuseError: A secret, the profile or the role can't be resolved.
        """
        from obstore.store import S3Store

        key, secret, token = self._keys()
        config = {
            "access_key_id": key,
            "secret_access_key": secret,
            "session_token": token,
            "region": self._region(),
            "endpoint": looked_up(self.endpoint),
        }
        chosen = {name: value for name, value in config.items() if value}
        virtual: Any = {"virtual_hosted_style_request": not self.path_style}
        return S3Store(
            looked_up(self.bucket),
            prefix=looked_up(self.prefix).strip("/") or None,
            config=chosen | virtual,
            client_options=self.client_options(),  # type: ignore[arg-type]  # a dict of them
            retry_config=self.retry_config(),  # type: ignore[arg-type]
        )

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach the bucket by Hadoop's S3A, beside other buckets with other keys.

        `s3://` is handed to S3A, so that both engines know a table by one address. Values are secrets: set them on a
        session that runs, as `spark_session(lakes=...)` does, because a session shows its own settings to `ps`.

        Raises:
            FuseError: A secret or the profile can't be resolved.
        """
        key, secret, token = self._given_keys() if self.role_arn else self._keys()
        simple = f"{S3A}.{'TemporaryAWSCredentialsProvider' if token else 'SimpleAWSCredentialsProvider'}"
        said = {
            "access.key": key,
            "secret.key": secret,
            "session.token": token,
            "aws.credentials.provider": simple if key else "",
            "endpoint.region": self._region(),
            "path.style.access": str(self.path_style).lower(),
        }
        if self.role_arn:
            said |= {
                "aws.credentials.provider": f"{S3A}.auth.AssumedRoleCredentialProvider",
                "assumed.role.arn": looked_up(self.role_arn),
                "assumed.role.credentials.provider": simple if key else "",
            }
        mine = s3a_bucket(
            looked_up(self.bucket),
            said,
            endpoint=looked_up(self.endpoint),
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            retry_timeout=self.retry_timeout,
            single_writer=self.single_writer,
        )
        return {"spark.hadoop.fs.s3.impl": f"{S3A}.S3AFileSystem", **mine}

    def spark_packages(self) -> tuple[str, ...]:
        """Say which jars S3A needs: 12 MB."""
        return S3A_PACKAGES

    def _given_keys(self) -> tuple[str, str, str]:
        """The keys of the fields or of the profile, before any role is assumed; empty for the machine's own."""
        if self.profile:
            return self._session_keys()
        resolve = secrets.resolve
        return resolve(self.access_key_id), resolve(self.secret_access_key), resolve(self.session_token)

    def _keys(self) -> tuple[str, str, str]:
        """Key, secret and token; empty where the machine's own are taken."""
        return self._session_keys() if self.role_arn else self._given_keys()

    def _region(self) -> str:
        return looked_up(self.region) or (_session(looked_up(self.profile)).region_name or "" if self.profile else "")

    def _session_keys(self) -> tuple[str, str, str]:
        """Temporary keys that AWS's own library finds, by a profile or by assuming a role."""
        session = _session(looked_up(self.profile), *([] if self.profile else self._given_keys()))
        with in_our_words(self.address, self.checks):
            if self.role_arn:
                sts = session.client("sts", region_name=self._region() or None)
                answer = sts.assume_role(RoleArn=looked_up(self.role_arn), RoleSessionName="fuse_dagster")
                keys = answer["Credentials"]
                return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
            found = session.get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        if frozen is None:
            raise ConfigError(
                f"The AWS profile `{self.profile}` has no credentials. Log in, or name another `profile`."
            )
        return frozen.access_key, frozen.secret_key, frozen.token or ""


def _session(profile: str, key: str = "", secret: str = "", token: str = "") -> Any:
    try:
        import boto3  # type: ignore[import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        msg = (
            f'`profile` and `role_arn` need the package `{error.name}`. Install it with: pip install "fuse-dagster[s3]"'
        )
        raise MissingExtraError(msg) from error
    if profile and profile not in (found := boto3.Session().available_profiles):
        raise ConfigError(f"There is no AWS profile `{profile}`. {did_you_mean(profile, found)}")
    return boto3.Session(
        aws_access_key_id=key or None,
        aws_secret_access_key=secret or None,
        aws_session_token=token or None,
        profile_name=profile or None,
    )
