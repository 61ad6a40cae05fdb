"""What every connector is, and the small protocols that say what else one can do.

A connector is a Dagster resource. Code asks what it can do (`isinstance(lake, CanList)`), never which it is.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Protocol, runtime_checkable

from dagster import ConfigurableResource
from pydantic import Field, ValidationError

from fuse_dagster.connectors.declaring import (
    Problem,
    misplaced_references,
    refuse,
    with_defaults,
    wrong_names,
    wrong_values,
)
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.secrets import forget, is_reference, secret_fields
from fuse_dagster.secrets.fields import shown


class Connector(ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """A place that holds tables: what turns names into URIs, and URIs into something delta-rs can open.

    Subclasses set `type` to a literal of their own; it selects the class in YAML and on the command line.
    Fields with `json_schema_extra={"secret": True}` hold secrets: `repr` masks them, and what is built from
    them goes through `fuse_dagster.secrets.resolve` when it is asked for.

    Raises:
        ConfigError: Unknown fields, values of a wrong type, or fields that don't go together: all of them at once.
    """

    type: str
    schema_folder: str = Field(
        default="",
        description="Folder of the tables whose asset keys are one word, as `public` is to dagster-deltalake. Without "
        "it they lie at the root. Where it is set, keys have two words at the most, as there.",
    )

    def __init__(self, **data: Any) -> None:
        kind = type(self)
        found = wrong_names(kind, data) + misplaced_references(kind, data)
        known = {name: value for name, value in data.items() if name in kind.model_fields}
        try:
            super().__init__(**known)
        except ValidationError as error:
            found += wrong_values(error, known)
        refuse(kind, [*found, *kind.problems(with_defaults(kind, known, found))])

    @abstractmethod
    def uri(self, *parts: str) -> str:
        """Say where the thing with this name lies.

        Args:
            *parts: Names from the outermost to the innermost, as of an asset key.

        Returns:
            A URI, or an absolute path on a local disk.

        Raises:
            ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign.
        """

    def table_path(self, *key: str) -> tuple[str, ...]:
        """Say in which folders the table of an asset lies, from the outermost to the innermost.

        Args:
            *key: The parts of the asset's key.

        Raises:
            ConfigError: There is a `schema_folder`, and the key has more than two parts.
        """
        if not self.schema_folder:
            return key
        if len(key) > 2:
            msg = (
                f"The key `{'/'.join(key)}` has {len(key)} parts, of which dagster-deltalake made the folder "
                f"`{'/'.join(key[-2:])}`. Give the asset that key, or leave `schema_folder` out, for each part to be a "
                "folder; tables that are there already have to be moved then."
            )
            raise ConfigError(msg)
        return (self.schema_folder, *key) if len(key) == 1 else key

    def table_uri(self, *key: str) -> str:
        """Say where the table of an asset lies.

        Args:
            *key: The parts of the asset's key.

        Raises:
            ConfigError: As `table_path` and `uri`.
        """
        return self.uri(*self.table_path(*key))

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the storage; nothing by default."""
        return {}

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach the storage, as settings of the session; nothing by default."""
        return {}

    def spark_packages(self) -> tuple[str, ...]:
        """Say which jars Spark needs for that, as Maven coordinates; none by default.

        They are for a Spark that is started on a machine of one's own. Databricks, Fabric, EMR and Dataproc bring their
        own drivers.
        """
        return ()

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
    """

    path: str
    size: int
    modified: datetime


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
class CanTellTime(Protocol):
    """The other side has a clock, by which it judges signatures and tokens."""

    def time_there(self) -> datetime | None:
        """Ask what time it is there, in UTC to the second; None where the other side doesn't say.

        Raises:
            StoreUnavailableError: It can't be reached.
        """


REFUSED = "/\\%[]^|"
"""Slashes lead elsewhere; delta-rs decodes `%20` to a space and can't open paths with the others."""


def checked_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Refuse names that would lead out of the root, or make two names one.

    Raises:
        ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign; or there is none.
    """
    names = tuple(parts)
    for name in names or ("",):
        if name in {"", ".", ".."} or any(sign in REFUSED or not sign.isprintable() for sign in name):
            msg = (
                f"`{name}` can't be part of a path (of `{'/'.join(names)}`). "
                f"Valid: a name without control signs and any of `{REFUSED}`, other than `.` and `..`."
            )
            raise ConfigError(msg)
    return names
