"""The demo on Spark makes the same tables as on one machine, row for row."""

from __future__ import annotations

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.settings import engine
from fuse_dagster.testing import assert_frames_equal
from fuse_dagster_tests.definitions.conftest import Project, why

RUNS = (("load_release", "20210425"), ("load_release", "20260905"), ("load_month", "2013-01-01"), ("refresh", None))


def test_the_engine_is_named_by_the_variable_or_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine() == "local"
    monkeypatch.setenv("FUSE_DEMO_ENGINE", "spark")
    assert (engine(), engine("local")) == ("spark", "local")
    with pytest.raises(ConfigError, match=r"`sparc` is no engine of the demo\. Did you mean `spark`"):
        engine("sparc")


def materialized(project: Project) -> dict[str, pl.DataFrame]:
    """All tables, after every run."""
    for release in ("20210425", "20260905"):
        project.land_release(release)
    project.land_the_rest()
    for job, partition in RUNS:
        result = project.run(job, partition)
        assert result.success, why(result)
    assets = project.defs.resolve_all_asset_specs()
    return {
        spec.key.to_user_string(): pl.read_delta(str(project.places.lake.joinpath(*spec.key.path))) for spec in assets
    }


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_every_table_is_the_same_on_spark(project: Project, another_project: Project) -> None:
    places = another_project.places
    on_spark = Project(places=places, defs=demo_definitions(places, engine="spark"), instance=another_project.instance)
    local, spark = materialized(project), materialized(on_spark)
    assert sorted(local) == sorted(spark)
    for name, frame in local.items():
        assert frame.height or name.endswith("quarantine"), name
        assert_frames_equal(spark[name], frame)
