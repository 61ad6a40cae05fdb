"""How long the loops of crashes run: `FUSE_SOAK`, a whole number, multiplies their rounds, as `make soak` does."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("FUSE_SOAK", "1"))
