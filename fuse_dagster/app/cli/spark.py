"""`fuse spark`: what a Spark session would be started with."""

from __future__ import annotations

from typing import Annotated

import typer

from fuse_dagster.app.cli.frame import examples, group, output
from fuse_dagster.app.cli.output import table

app = group("The Spark engine.")


@app.callback()
def _spark() -> None:
    """Look at the Spark engine."""


@app.command(epilog=examples("fuse spark conf", "FUSE_SPARK_CONF='spark.driver.memory=4g' fuse spark conf --chosen"))
def conf(
    context: typer.Context,
    *,
    chosen: Annotated[
        bool, typer.Option("--chosen", help="Only what somebody chose, without the defaults of the platform.")
    ] = False,
) -> None:
    """Show the settings that a Spark session would be started with, and where each comes from.

    No session is started, and neither pyspark nor Java needs to be there. Secrets are masked.
    """
    from fuse_dagster.engines.spark.environment import detect
    from fuse_dagster.engines.spark.settings import SparkSettings, shown

    settings = SparkSettings()
    found = settings.asked() if chosen else settings.resolved()
    where = detect().name
    rows = [
        {"setting": name, "value": shown(name, setting.value), "from": setting.layer} for name, setting in found.items()
    ]
    output(context).answer(
        {"environment": where, "settings": rows},
        table(["setting", "from", "value"], [(row["setting"], row["from"], row["value"]) for row in rows]),
        f"Spark would run on `{where}`.",
    )
