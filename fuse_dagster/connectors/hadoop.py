"""What Hadoop's drivers for object stores want to be told, in words that connectors share."""

from __future__ import annotations

import math
from collections.abc import Mapping

HADOOP = "3.4.2"
"""The version of Hadoop that pyspark 4.1 brings along; its drivers have to be of the same."""

_AWS = "2.29.52"
"""The version of AWS' SDK that this Hadoop was made with."""

# hadoop-aws asks for the SDK as one jar of 600 MB; these are the parts of it that S3A uses, of 9 MB.
S3A_PACKAGES = (
    f"org.apache.hadoop:hadoop-aws:{HADOOP}",
    *(f"software.amazon.awssdk:{part}:{_AWS}" for part in ("s3", "s3-transfer-manager", "sts")),
)
ABFS_PACKAGES = (f"org.apache.hadoop:hadoop-azure:{HADOOP}",)

S3A = "org.apache.hadoop.fs.s3a"
SINGLE_WRITER = "spark.fuse_dagster.single_writer"
"""With `.` and a bucket after it: a setting by which a connector says that nobody else writes tables there."""

_PAUSE = 0.5


def s3a_bucket(
    bucket: str,
    said: Mapping[str, str],
    *,
    endpoint: str,
    connect_timeout: float,
    timeout: float,
    retry_timeout: float,
    single_writer: bool,
) -> dict[str, str]:
    """Settings of S3A for one bucket, beside others.

    Args:
        bucket: The bucket.
        said: Setting below `fs.s3a.bucket.<bucket>.` -> value; empty ones are left out.
        endpoint: URL of the store; empty for Amazon's own.
        connect_timeout: Seconds; S3A takes at least 15.
        timeout: Seconds for which the store may be silent; S3A takes at least 15.
        retry_timeout: Seconds over which what fails is tried again, with pauses that double.
        single_writer: Whether tables may be written where commits can't be guarded.
    """
    tries = max(1, math.floor(math.log2(retry_timeout / _PAUSE + 1)))
    patience = {
        "attempts.maximum": "1",  # S3A tries again by itself; both together take minutes
        "connection.establish.timeout": f"{round(connect_timeout * 1000)}ms",
        "connection.timeout": f"{round(timeout * 1000)}ms",
        "connection.request.timeout": f"{round(timeout * 1000)}ms",
        "retry.interval": f"{round(_PAUSE * 1000)}ms",
        "retry.limit": str(tries),
        "retry.throttle.interval": f"{round(_PAUSE * 1000)}ms",
        "retry.throttle.limit": str(tries),
    }
    scheme = {"endpoint": endpoint, "connection.ssl.enabled": "false" if endpoint.startswith("http://") else "true"}
    found = {f"spark.hadoop.fs.s3a.bucket.{bucket}.{n}": v for n, v in {**said, **scheme, **patience}.items() if v}
    return found | ({f"{SINGLE_WRITER}.{bucket}": "true"} if single_writer else {})
