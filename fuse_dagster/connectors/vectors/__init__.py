"""What a vector database needs: how collections are declared, how rows become points, and points rows again."""

from __future__ import annotations

from fuse_dagster.connectors.vectors.declaring import Collection, Sparse, Vector, Written

__all__ = ["Collection", "Sparse", "Vector", "Written"]
