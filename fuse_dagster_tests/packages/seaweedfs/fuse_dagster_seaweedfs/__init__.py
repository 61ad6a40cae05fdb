"""SeaweedFS for fuse_dagster: the connector `seaweedfs`, and `netrc://` for its keys."""

from fuse_dagster_seaweedfs.bucket import SeaweedFS

__all__ = ["SeaweedFS"]
