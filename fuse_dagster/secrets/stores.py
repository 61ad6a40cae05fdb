"""The registry that finds a store by the scheme of its references."""

from __future__ import annotations

from fuse_dagster.core.registry import Registry
from fuse_dagster.secrets.store import Store

BUILTIN = {
    "aws-secrets": "fuse_dagster.secrets.aws_secrets:AwsSecrets",
    "databricks-secret": "fuse_dagster.secrets.databricks_secret:DatabricksSecret",
    "env": "fuse_dagster.secrets.env:Env",
    "file": "fuse_dagster.secrets.file:File",
    "gcp-secret": "fuse_dagster.secrets.gcp_secret:GcpSecret",
    "keyvault": "fuse_dagster.secrets.keyvault:KeyVault",
    "vault": "fuse_dagster.secrets.vault:Vault",
}

stores: Registry[Store] = Registry(
    "fuse_dagster.secrets",
    Store,  # type: ignore[type-abstract]  # only compared with, never called
    BUILTIN,
)
"""Every store that is installed, by the scheme of its references."""
