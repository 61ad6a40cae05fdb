"""Append: how it is declared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fuse_dagster.tables.modes.declaring import (
    NullKeys,
    SchemaPolicy,
    raise_problems,
    set_names,
    wrong_choices,
    wrong_null_keys,
)

BY_BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Add the batch's rows; what the table holds stays untouched.

    Attributes:
        once: What makes a repeated batch harmless. `"batch"`: a batch whose `batch_id` was committed before adds
            nothing, whatever it holds now; choose it where a batch has a name, such as a partition or a file. A list
            of columns: only rows whose key the table does not hold yet are added, and the first row of a key stays;
            choose it where rows have an identity and batches overlap. By default every row is added.
        batch_id: Name of this batch, for `once="batch"`; set per write. An empty batch is not remembered.
        null_keys: What becomes of rows with a null part of the key, for `once` by columns: an `error`; `drop` leaves
            them out, with a line in the log; `reject` hands them to `on_rejected` of the write before anything is
            committed. Both count as `rejected`. A batch without any other row writes nothing.
        partition_by: Physical partition columns, used when the table is created.
        schema: `evolve` adds new columns and widens types; `strict` refuses both.

    Example:
        >>> Append(once="event_id").once
        ('event_id',)
    """

    once: str | Sequence[str] | None = None
    batch_id: str | None = None
    null_keys: NullKeys = "error"
    partition_by: Sequence[str] = ()
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration; all problems are reported at once."""
        set_names(self, "partition_by")
        if self.once is not None and self.once != BY_BATCH:
            set_names(self, "once")
        problems = [
            *self._wrong_once(),
            *wrong_null_keys(self.null_keys, self.once_by_key, remedy="name in `once` the columns that identify a row"),
            *wrong_choices(self, schema=SchemaPolicy, null_keys=NullKeys),
        ]
        raise_problems("Append", problems)

    @property
    def once_by_batch(self) -> bool:
        """Whether a batch is recognized by its name."""
        return self.once == BY_BATCH

    @property
    def once_by_key(self) -> tuple[str, ...]:
        """Columns by which a row is recognized; none where rows are not."""
        return tuple(self.once) if self.once is not None and not self.once_by_batch else ()

    @property
    def sifted_keys(self) -> tuple[str, ...]:
        """Columns whose null leaves a row out of the batch; none where it is an error."""
        return () if self.null_keys == "error" else self.once_by_key

    @property
    def is_whole_truth(self) -> bool:
        """Whether what a batch leaves out is gone or ended afterwards."""
        return False

    def _wrong_once(self) -> Iterable[str]:
        if self.once is not None and not self.once:
            yield '`once` is empty; give `"batch"`, or the columns that identify a row'
        if self.batch_id is not None and not self.once_by_batch:
            yield '`batch_id` names a batch, which only `once="batch"` asks for'
        if self.batch_id == "":
            yield "`batch_id` is empty; give a name that no other batch has"
