"""The command line `fuse`: one module per group of verbs.

Nothing heavy is imported before a verb needs it, so that `fuse --help` and completion answer at once.
"""

from fuse_dagster.app.cli.program import main

__all__ = ["main"]
