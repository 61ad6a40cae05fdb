"""Connectors that hold Delta tables and files: what turns names into URIs, and URIs into something to open."""

from abc import abstractmethod
from collections.abc import Iterable

from pydantic import Field

from fuse_dagster.connectors.base import Connector
from fuse_dagster.core.errors import ConfigError


class Lake(Connector):
    """A place that holds tables: it turns names into URIs, and URIs into something delta-rs and Spark can open."""

    schema_folder: str = Field(
        default="",
        description="Folder of the tables whose asset keys are one word, as `public` is to dagster-deltalake. Without "
        "it they lie at the root. Where it is set, keys have two words at the most, as there.",
    )

    @property
    def place(self) -> str:
        """URI below which its tables and files lie."""
        return self.uri("_").rpartition("/")[0]

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


REFUSED = "/\\%[]^|"
"""Slashes lead elsewhere; delta-rs decodes `%20` to a space and can't open paths with the others."""


_REFUSED = frozenset(REFUSED)


def checked_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Refuse names that would lead out of the root, or make two names one.

    Raises:
        ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign; or there is none.
    """
    names = tuple(parts)
    for name in names or ("",):
        if name in {"", ".", ".."} or not name.isprintable() or not _REFUSED.isdisjoint(name):
            msg = (
                f"`{name}` can't be part of a path (of `{'/'.join(names)}`). "
                f"Valid: a name without control signs and any of `{REFUSED}`, other than `.` and `..`."
            )
            raise ConfigError(msg)
    return names
