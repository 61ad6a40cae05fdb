"""Each platform is told from the marks that it leaves in public."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.spark.environment import ENVIRONMENTS, LOCAL, detect, platform_defaults

FABRIC = "/home/trusted-service-user/.trident-context"
EMR = "/mnt/var/lib/info/job-flow.json"


@pytest.mark.parametrize(
    ("environ", "files", "name"),
    [
        ({}, set(), "local"),
        ({"DATABRICKS_HOST": "https://example.org"}, set(), "local"),  # a laptop that talks to Databricks
        ({"DATABRICKS_RUNTIME_VERSION": ""}, set(), "local"),
        ({"DATABRICKS_RUNTIME_VERSION": "17.3"}, set(), "databricks"),
        ({}, {FABRIC}, "fabric"),
        ({"MSNOTEBOOKUTILS_RUNTIME_TYPE": "Jupyter"}, {FABRIC}, "local"),
        ({}, {EMR}, "emr"),
        ({"DATAPROC_IMAGE_VERSION": "2.3"}, set(), "dataproc"),
        ({"FUSE_SPARK_ENVIRONMENT": "emr"}, set(), "emr"),
        ({"FUSE_SPARK_ENVIRONMENT": "local"}, {EMR}, "local"),
    ],
)
def test_an_environment_is_told_from_its_marks(environ: dict[str, str], files: set[str], name: str) -> None:
    assert detect(environ, files.__contains__).name == name


def test_an_unknown_environment_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"`FUSE_SPARK_ENVIRONMENT` names `databrick`.*Did you mean `databricks`"):
        detect({"FUSE_SPARK_ENVIRONMENT": "databrick"})


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENTS) - {"local"}))
def test_a_platform_keeps_its_master_jars_and_memory(name: str, tmp_path: Path) -> None:
    assert platform_defaults(ENVIRONMENTS[name], scratch=tmp_path) == {
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.session.timeZone": "UTC",
    }


def test_a_local_session_has_delta_and_leaves_nothing_in_the_current_folder(tmp_path: Path) -> None:
    defaults = platform_defaults(LOCAL, scratch=tmp_path)
    assert "delta-spark" in defaults["spark.jars.packages"]
    assert defaults["spark.sql.warehouse.dir"].startswith(str(tmp_path))
    assert str(tmp_path / "derby") in defaults["spark.driver.extraJavaOptions"]
