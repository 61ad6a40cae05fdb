"""What every connector is, and the small protocols that say what else one can do.

A connector is a Dagster resource. Code asks what it can do (`isinstance(one, CanList)`), never which it is.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

from dagster import ConfigurableResource
from pydantic import ValidationError

from fuse_dagster.connectors.declaring import (
    Problem,
    misplaced_references,
    refuse,
    with_defaults,
    wrong_names,
    wrong_values,
)
from fuse_dagster.secrets import forget, is_reference, secret_fields
from fuse_dagster.secrets.fields import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.databases.modes import RowsMode, RowsWritten


class Connector(ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """An outside system that holds data, and how to reach it. What it can do, it says by the protocols that it meets.

    Subclasses set `type` to a literal of their own; it selects the class in YAML and on the command line.
    Fields with `json_schema_extra={"secret": True}` hold secrets: `repr` masks them, and what is built from
    them goes through `fuse_dagster.secrets.resolve` when it is asked for.

    Raises:
        ConfigError: Unknown fields, values of a wrong type, or fields that don't go together: all of them at once.
    """

    type: str

    def __init__(self, **data: Any) -> None:
        kind = type(self)
        found = wrong_names(kind, data) + misplaced_references(kind, data)
        known = {name: value for name, value in data.items() if name in kind.model_fields}
        try:
            super().__init__(**known)
        except ValidationError as error:
            found += wrong_values(error, known)
        refuse(kind, [*found, *kind.problems(with_defaults(kind, known, found))])

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the other side is, for people to read: an address without secrets."""

    def forget_secrets(self) -> bool:
        """Let the references in its fields be resolved anew when they are needed next; whether there are any."""
        values = [getattr(self, name) for name in secret_fields(type(self))]
        references = [value for value in values if is_reference(value)]
        for reference in references:
            forget(reference)
        return bool(references)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Say what is wrong with fields that are each of the right type.

        Args:
            given: All fields by name, as declared: references and `EnvVar` are not resolved.

        Returns:
            What has to change; nothing where a connector can be made of the fields.
        """
        del given
        return []

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return shown(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file in a listing.

    Attributes:
        path: Name below the connector's root, with `/` between its parts.
        size: Bytes.
        modified: When it was last written, UTC.
        version: What changes with every write and can't be set back, as an object store's ETag; "" where there is none.
    """

    path: str
    size: int
    modified: datetime
    version: str = ""


@runtime_checkable
class CanList(Protocol):
    """Files can be listed."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below `prefix`, sorted by path; nothing where there is no such folder."""


@runtime_checkable
class CanRead(Protocol):
    """Files can be read."""

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """


@runtime_checkable
class CanReadWhole(Protocol):
    """Small files can be read at one go, which takes less than to open them."""

    def read_whole(self, path: str, most: int) -> bytes:
        """Read a file.

        Args:
            path: Name below the root, with `/` between its parts.
            most: Bytes that are wanted at the most; one more is given where there are more.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """


@runtime_checkable
class CanWrite(Protocol):
    """Files can be written."""

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole, in place of one that is there; readers see the old bytes or the new ones.

        Args:
            path: Name below the root, with `/` between its parts.
            data: The bytes, or a file opened for reading them, which is sent in parts: memory does not grow with it.
        """


@runtime_checkable
class CanDelete(Protocol):
    """Files can be deleted."""

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none. Folders go with their last file."""


@runtime_checkable
class CanMove(Protocol):
    """Files can be given another name at once, with no moment at which there are two or none."""

    def move(self, path: str, to: str) -> None:
        """Give a file another name, in place of a file that has it.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """


@runtime_checkable
class CanTellTime(Protocol):
    """The other side has a clock, by which it judges signatures and tokens."""

    def time_there(self) -> datetime | None:
        """Ask what time it is there, in UTC to the second; None where the other side doesn't say.

        Raises:
            StoreUnavailableError: It can't be reached.
        """


@runtime_checkable
class CanAnswer(Protocol):
    """The other side can be asked whether it is there and lets us in."""

    def answer(self) -> str:
        """Log in and ask for something that costs nothing.

        Returns:
            What it says of itself, as `PostgreSQL 15.18`.

        Raises:
            StoreUnavailableError: It can't be reached.
            StoreError: It refuses; or a `FuseError`, where a secret can't be resolved.
        """


@runtime_checkable
class CanReadRows(Protocol):
    """Rows can be read by the name of what holds them: a table, a collection, an endpoint, a topic."""

    def rows(
        self, name: str, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> AbstractContextManager["pa.RecordBatchReader"]:
        """Open what holds rows, and read it in batches; leaving the context closes what was opened.

        Args:
            name: As the other side calls it.
            columns: The columns to read, in this order; None for all.
            limit: Rows at the most; None for all.

        Raises:
            NotThereError: There is nothing of that name.
        """


@runtime_checkable
class CanWriteRows(Protocol):
    """Rows can be written to a table by its name."""

    def write_rows(self, name: str, rows: "pa.RecordBatchReader", how: "RowsMode") -> "RowsWritten":
        """Write rows in one transaction, or not at all; the table is made where there is none.

        Args:
            name: As the other side calls it.
            rows: Consumed once; memory holds a few batches of them.
            how: `AppendRows`, `ReplaceRows` or `UpsertRows`.

        Raises:
            InputError: The rows are refused; nothing was written.
            OutcomeUnknownError: The connection broke during the commit.
        """


@runtime_checkable
class CanCountRows(Protocol):
    """The other side counts rows, without sending them."""

    def count_rows(self, name: str) -> int:
        """Say how many rows there are now.

        Args:
            name: As `CanReadRows.rows` takes it.

        Raises:
            NotThereError: There is nothing of that name.
        """


@runtime_checkable
class CanQuery(Protocol):
    """It answers questions in a language of its own, as SQL or SPARQL."""

    def query(
        self, text: str, parameters: Mapping[str, Any] | None = None
    ) -> AbstractContextManager["pa.RecordBatchReader"]:
        """Ask, and read the answer in batches; leaving the context closes what was opened.

        Args:
            text: The question.
            parameters: Name -> value of what the text leaves open; never pasted into it.

        Raises:
            InputError: The other side doesn't understand the question.
        """


@runtime_checkable
class CanListNames(Protocol):
    """It says what it holds."""

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of what `CanReadRows.rows` takes, sorted.

        Args:
            pattern: Which of them, as `public.*`: `*` stands for anything, `?` for one sign.
        """
