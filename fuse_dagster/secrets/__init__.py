"""References to secrets, and the stores that resolve them: one file per store.

A reference such as `vault://secret/lake#key` stands wherever a secret would, and becomes its value as late as
possible. Other packages add stores through the entry point group `fuse_dagster.secrets`.
"""

from __future__ import annotations

from fuse_dagster.secrets.fields import secret_field, secret_fields
from fuse_dagster.secrets.masking import mask
from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.resolving import check, forget, is_reference, resolve, scrub, use
from fuse_dagster.secrets.store import Store
from fuse_dagster.secrets.stores import BUILTIN, stores

__all__ = [
    "BUILTIN",
    "Reference",
    "Store",
    "check",
    "forget",
    "is_reference",
    "mask",
    "resolve",
    "scrub",
    "secret_field",
    "secret_fields",
    "stores",
    "use",
]
