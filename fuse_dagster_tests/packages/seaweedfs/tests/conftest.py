pytest_plugins = ["fuse_dagster.testing.fixtures"]
