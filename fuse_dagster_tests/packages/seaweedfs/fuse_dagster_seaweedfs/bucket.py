"""A bucket of a SeaweedFS cluster, by its S3 gateway."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.object_store import ObjectStore, looked_up, name_problems

if TYPE_CHECKING:
    from obstore.store import S3Store

REGION = "us-east-1"  # the gateway has none, but signatures name one


class SeaweedFS(ObjectStore):
    """A bucket of a SeaweedFS cluster."""

    type: Literal["seaweedfs"] = "seaweedfs"
    bucket: str = Field(description="The bucket. It has to be there already.")
    access_key: str = secrets.secret_field(description="The access key of an identity in the gateway's `s3.json`.")
    secret_key: str = secrets.secret_field(description="The secret that belongs to `access_key`.")

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `access_key` and `secret_key`, and that their identity may Read, Write and List there.",
        "container": "Check `bucket` for a typing error; or make the bucket.",
        "host": "Check `endpoint`, and that the gateway is up.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """All of its fields are needed."""
        needed = ("endpoint", "access_key", "secret_key")
        lacks = [Problem(name, "It has to be given.") for name in needed if not given[name]]
        return super().problems(given) + name_problems(given, "bucket") + lacks

    @property
    def root(self) -> str:
        """URI of the bucket, which delta-rs and Spark read by their clients for S3."""
        return f"s3://{looked_up(self.bucket)}"

    def storage_options(self) -> dict[str, str]:
        """What delta-rs needs, with secrets that are resolved now."""
        return {
            "aws_endpoint_url": looked_up(self.endpoint),
            "aws_region": REGION,
            "aws_access_key_id": secrets.resolve(self.access_key),
            "aws_secret_access_key": secrets.resolve(self.secret_key),
            "aws_conditional_put": "etag",  # two writers can't take one version of a table
            **self.client_settings(),
        }

    def opened(self) -> "S3Store":
        """What `list`, `open`, `write` and `delete` of the base class ask."""
        from obstore.store import S3Store

        return S3Store(
            looked_up(self.bucket),
            prefix=looked_up(self.prefix).strip("/") or None,
            endpoint=looked_up(self.endpoint),
            region=REGION,
            access_key_id=secrets.resolve(self.access_key),
            secret_access_key=secrets.resolve(self.secret_key),
            client_options=self.client_options(),  # type: ignore[arg-type]
            retry_config=self.retry_config(),  # type: ignore[arg-type]
        )

    def spark_conf(self) -> dict[str, str]:
        """What Spark needs, by Hadoop's S3A and for this bucket only."""
        said = {
            "endpoint": looked_up(self.endpoint),
            "endpoint.region": REGION,
            "access.key": secrets.resolve(self.access_key),
            "secret.key": secrets.resolve(self.secret_key),
            "path.style.access": "true",
        }
        bucket = f"spark.hadoop.fs.s3a.bucket.{looked_up(self.bucket)}."
        return {
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            **{f"{bucket}{name}": value for name, value in said.items()},
        }
