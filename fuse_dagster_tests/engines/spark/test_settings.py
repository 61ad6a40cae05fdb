"""Settings come in layers, and each value knows where it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.spark.environment import ENVIRONMENTS
from fuse_dagster.engines.spark.settings import Setting, SparkSettings

NAME = "spark.sql.shuffle.partitions"
PROFILES = {"big": {NAME: 400}, "small": {NAME: 1, "spark.a": True}}


def settings(environ: dict[str, str] | None = None, **options: Any) -> dict[str, Setting]:
    return SparkSettings(environ=environ or {}, **options).resolved()


def test_each_layer_goes_before_the_ones_below_it() -> None:
    environ = {"FUSE_SPARK_CONF": f"{NAME}=7"}
    assert settings()[NAME] == Setting("2", "platform")
    assert settings(profiles=PROFILES, profile="big")[NAME] == Setting("400", "profile")
    assert settings(environ, profiles=PROFILES, profile="big")[NAME] == Setting("7", "environment")
    assert settings(environ, profiles=PROFILES, profile="big", conf={NAME: 9})[NAME] == Setting("9", "code")


def test_a_variable_chooses_the_profile_unless_the_code_does() -> None:
    environ = {"FUSE_PROFILE": "small"}
    assert settings(environ, profiles=PROFILES)[NAME].value == "1"
    assert settings(environ, profiles=PROFILES)["spark.a"].value == "true"
    assert settings(environ, profiles=PROFILES, profile="big")[NAME].value == "400"
    assert settings(environ)[NAME].layer == "platform"


def test_the_variable_takes_what_a_shell_takes() -> None:
    found = settings({"FUSE_SPARK_CONF": "spark.a.B=1 'spark.c=two words' spark.d=x=y"})
    assert [found[name].value for name in ("spark.a.B", "spark.c", "spark.d")] == ["1", "two words", "x=y"]


def test_a_lower_value_can_be_taken_away() -> None:
    assert "spark.jars.packages" not in settings(conf={"spark.jars.packages": None})
    assert "spark.jars.packages" not in settings({"FUSE_SPARK_CONF": "spark.jars.packages="})


def test_nested_names_are_joined() -> None:
    assert settings(conf={"spark": {"sql": {"shuffle": {"partitions": 5}}}})[NAME] == Setting("5", "code")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conf": {"shuffle.partitions": 1}}, r"`shuffle.partitions` in the settings in code is no Spark setting"),
        ({"conf": {"spark.a": [1]}}, r"`spark.a` in the settings in code is list"),
        ({"environ": {"FUSE_SPARK_CONF": "spark.a"}}, r"`FUSE_SPARK_CONF` holds `spark.a`, which is no `name=value`"),
        ({"environ": {"FUSE_SPARK_CONF": "'spark.a=1"}}, r"`FUSE_SPARK_CONF` can't be read: No closing quotation"),
        ({"profile": "bog", "profiles": PROFILES}, r"no profile `bog`. Did you mean `big`\?"),
        ({"profiles": PROFILES, "environ": {"FUSE_PROFILE": "x"}}, r"no profile `x`"),
        ({"profile": "big"}, r"no profile `big`. Valid: \(none\)"),
    ],
)
def test_what_is_no_setting_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SparkSettings(**{"environ": {}, **options})


def test_secrets_and_references_to_them_are_masked() -> None:
    hidden = {
        "spark.hadoop.fs.s3a.secret.key": "abc-1",
        "spark.hadoop.fs.azure.sas.container.account": "abc-2",
        "spark.a.password": "abc-3",
        "spark.b": "vault://mount/abc-4#field",
        "spark.c": "env://ABC-5",
        "spark.driver.extraJavaOptions": "-Dx.trustStorePassword=abc-6",
        "spark.d": "jdbc:postgresql://user:abc-7@host/db",
        "spark.e": "sc://host:443/;token=abc-8",
    }
    text = SparkSettings(conf=hidden, environ={}).explain()
    assert "abc" not in text.lower()
    assert text.count("***") == len(hidden)


def test_the_explanation_shows_value_and_layer() -> None:
    lines = SparkSettings(conf={NAME: 8}, environ={}, environment=ENVIRONMENTS["databricks"]).explain().splitlines()
    assert [line.split() for line in lines] == [
        ["setting", "from", "value"],
        ["spark.sql.parquet.outputTimestampType", "platform", "TIMESTAMP_MICROS"],
        ["spark.sql.session.timeZone", "platform", "UTC"],
        [NAME, "code", "8"],
    ]
