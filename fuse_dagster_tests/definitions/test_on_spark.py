"""The demo on Spark makes the same tables as on one machine, row for row."""

from __future__ import annotations

import pytest

from fuse_dagster.connectors.local import Local
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.settings import engine
from fuse_dagster.testing import assert_frames_equal
from fuse_dagster_tests.definitions.conftest import Project, materialized


def test_the_engine_is_named_by_the_variable_or_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine() == "local"
    monkeypatch.setenv("FUSE_DEMO_ENGINE", "spark")
    assert (engine(), engine("local")) == ("spark", "local")
    with pytest.raises(ConfigError, match=r"`sparc` is no engine of the demo\. Did you mean `spark`"):
        engine("sparc")


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_every_table_is_the_same_on_spark(project: Project, another_project: Project) -> None:
    places = another_project.places
    on_spark = Project(places=places, defs=demo_definitions(places, engine="spark"), instance=another_project.instance)
    local = materialized(project, Local(root=str(project.places.lake)))
    spark = materialized(on_spark, Local(root=str(places.lake)))
    assert sorted(local) == sorted(spark)
    for name, frame in local.items():
        assert frame.height or name.endswith("quarantine"), name
        assert_frames_equal(spark[name], frame)
