"""Real runs against a lake in a temporary folder, and a way to see every row that they left there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from deltalake import DeltaTable

from fuse_dagster import DeltaIOManager, DeltaTables, Local

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


class StepFailedError(Exception):
    """A step failed; the message is that of the error it was raised with."""


@dataclass
class Lake:
    """A lake, an instance, and the runs on them."""

    root: Path
    logs: list[str] = field(default_factory=list)
    instance: dg.DagsterInstance = field(init=False)

    def __post_init__(self) -> None:
        home = self.root.parent / "dagster_home"
        home.mkdir(parents=True, exist_ok=True)
        self.instance = dg.DagsterInstance.ephemeral(tempdir=str(home))

    @property
    def connector(self) -> Local:
        return Local(root=str(self.root))

    def run(
        self,
        assets: Sequence[Any],
        *,
        select: Sequence[Any] | None = None,
        partition: str | None = None,
        range_: tuple[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialize the selected assets (all by default); a failed step raises its own error."""
        tags = {} if range_ is None else {RANGE_START: range_[0], RANGE_END: range_[1]}
        result = dg.materialize(
            assets,
            selection=select,
            partition_key=partition,
            tags=tags,
            instance=self.instance,
            resources={
                "io_manager": DeltaIOManager(lake=self.connector),
                "tables": DeltaTables(lake=self.connector),
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        self.logs += [entry.user_message for entry in self.instance.all_logs(result.run_id)]
        if not result.success:
            raise StepFailedError("\n".join(errors(result)))
        return result

    def rows(self, *key: str) -> pl.DataFrame:
        """Every row of a table, in a fixed order."""
        frame = pl.read_delta(str(self.root.joinpath(*key)))
        return frame.sort(frame.columns, nulls_last=True)

    def version(self, *key: str) -> int:
        return DeltaTable(str(self.root.joinpath(*key))).version()

    def files(self, *key: str) -> dict[str, bytes]:
        """Every file of a table, byte for byte."""
        folder = self.root.joinpath(*key)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def layout(self, *key: str) -> list[str]:
        """The table's physical partition columns."""
        return DeltaTable(str(self.root.joinpath(*key))).metadata().partition_columns


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What the one materialization of an asset says."""
    (event,) = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey.from_user_string(asset)
    ][:1]
    return {name: value.value for name, value in event.metadata.items()}


def errors(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """The messages of every failed step, from the outermost error to its cause."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None:
                yield error.message
                error = error.cause
