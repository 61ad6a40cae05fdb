"""The code location: what `dagster dev`, `dagster definitions validate` and a deployment load.

It holds the demo project. `FUSE_DEMO_ROOT` says where its files and tables lie, `.demo` by default; `FUSE_PROFILE` that
the tables lie in a store, and `FUSE_DEMO_ENGINE=spark` that Spark writes them.
"""

from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.settings import board, engine, lake, places

defs = demo_definitions(where := places(), lake=lake(where), board=board(), engine=engine())
