"""`python -m fuse_dagster.app.cli`: the command line where the script `fuse` is not on the path."""

from fuse_dagster.app.cli.program import main

main()
