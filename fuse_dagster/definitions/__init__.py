"""The code location: what `dagster dev`, `dagster definitions validate` and a deployment load.

It holds the demo project. `FUSE_DEMO_ROOT` says where its files and tables lie, `.demo` by default, and
`FUSE_DEMO_ENGINE=spark` that Spark writes them.
"""

from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.settings import engine, places

defs = demo_definitions(places(), engine=engine())
