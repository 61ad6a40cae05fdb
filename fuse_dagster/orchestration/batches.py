"""A batch as the layer of partitions looks at it, wherever its rows lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import polars as pl

from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.slices import refuse_strays

if TYPE_CHECKING:
    from fuse_dagster.tables.slices import Slice
    from fuse_dagster.tables.spark.staging import Staged


class Batch(Protocol):
    """Rows that are to be written."""

    @property
    def data(self) -> object:
        """What the table takes."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Columns and types."""

    def refuse_strays(self, where: Slice) -> None:
        """Refuse rows outside of a slice.

        Raises:
            PartitionError: There are some.
        """

    def only(self, where: Slice) -> Self:
        """The rows of a slice."""

    def dates(self, columns: Sequence[str]) -> pl.DataFrame:
        """Rows in which all dates stand that some columns hold; what else they hold does not matter."""


def taken(data: object, spark: Any) -> Batch:
    """Take what an asset returned.

    Args:
        data: A frame of any accepted type.
        spark: The session that writes; None for the local engine.

    Raises:
        InputError: It is no frame, or one that Delta can't hold.
    """
    if spark is None:
        return _LocalBatch(to_batch(data))
    from fuse_dagster.tables.spark.staging import stage

    return _SparkBatch(stage(spark, data, ()))


@contextmanager
def held(data: object, spark: Any) -> Iterator[None]:
    """Have Spark compute a frame once while it is checked and written."""
    from fuse_dagster.engines.spark.frames import is_spark

    if spark is None or not is_spark(data):
        yield
        return
    from fuse_dagster.tables.spark.staging import kept

    with kept(data):  # type: ignore[arg-type]  # what `is_spark` means
        yield


@dataclass(frozen=True, slots=True)
class _LocalBatch:
    data: pl.DataFrame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Columns and types."""
        return self.data.schema

    def refuse_strays(self, where: Slice) -> None:
        """Refuse rows outside of a slice."""
        refuse_strays(self.data, where)

    def only(self, where: Slice) -> _LocalBatch:
        """The rows of a slice."""
        return _LocalBatch(self.data.filter(where.matches(self.data.schema)))

    def dates(self, columns: Sequence[str]) -> pl.DataFrame:  # noqa: ARG002 - all are here
        """Rows in which all dates stand that some columns hold."""
        return self.data


@dataclass(frozen=True, slots=True)
class _SparkBatch:
    staged: Staged

    @property
    def data(self) -> object:
        """What the table takes."""
        return self.staged.frame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Columns and types."""
        return self.staged.empty.schema

    def refuse_strays(self, where: Slice) -> None:
        """Refuse rows outside of a slice."""
        from fuse_dagster.tables.spark.slices import refuse_strays as refuse_strays_in_spark

        refuse_strays_in_spark(self.staged.frame, where, self.schema)

    def only(self, where: Slice) -> _SparkBatch:
        """The rows of a slice."""
        from fuse_dagster.tables.spark.slices import slice_sql

        return _SparkBatch(replace(self.staged, frame=self.staged.frame.filter(slice_sql(where, self.schema))))

    def dates(self, columns: Sequence[str]) -> pl.DataFrame:
        """Rows in which all dates stand that some columns hold."""
        from fuse_dagster.engines.spark.frames import from_spark
        from fuse_dagster.engines.spark.names import quoted
        from fuse_dagster.tables.schema import complete

        names = [name for name in columns if self.schema.get(name) == pl.Date]
        if not names:
            return self.staged.empty
        return complete(from_spark(self.staged.frame.select(*map(quoted, names)).distinct()), self.schema)
