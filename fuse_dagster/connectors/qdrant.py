"""Qdrant, a database of vectors: a server, a folder of this machine, or memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Connector
from fuse_dagster.connectors.declaring import Problem, wrong_times
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.core.errors import ConfigError, FuseError

if TYPE_CHECKING:
    import pyarrow as pa
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.declaring import Collection, Mode, Written
    from fuse_dagster.connectors.vectors.opening import Session

_MEMORY = ":memory:"


class Qdrant(Connector):
    """A Qdrant database of vectors: a server, a folder of this machine, or memory.

    Examples:
        >>> import polars as pl
        >>> vectors = Qdrant(path=":memory:")
        >>> words = pl.DataFrame({"word": ["ice", "fire"], "embedding": [[1.0, 0.0], [0.0, 1.0]]})
        >>> words = words.with_columns(pl.col("embedding").cast(pl.Array(pl.Float32, 2)))
        >>> vectors.write_points("words", words, keys=["word"]).points
        2
        >>> vectors.search("words", [[0.9, 0.1]], limit=1)["word"].to_pylist()
        ['ice']
    """

    type: Literal["qdrant"] = "qdrant"
    url: str = Field(
        default="", description="URL of a server, as `https://qdrant.example.com:6333`; without a port it is 6333."
    )
    api_key: str = secrets.secret_field(description="The key, or token, that the server asks for.")
    path: str = Field(
        default="",
        description="Instead of a server: a folder of this machine that holds the collections, for development, or "
        "`:memory:`, which lasts as long as the process. Open only folders of your own: they hold Python pickles.",
    )
    allow_http: bool = Field(
        default=False, description="Talk to an `http://` server: vectors and the key travel in the clear."
    )
    ca_file: str = Field(
        default="", description="Certificates to trust, in PEM, where the server's authority is one of your own."
    )
    grpc: bool = Field(default=False, description="Talk gRPC, which is faster for many vectors, at `grpc_port`.")
    grpc_port: int = Field(default=6334, description="Port of gRPC.")
    timeout: float = Field(default=30.0, description="Seconds to wait for an answer, rounded up to whole ones.")
    retry_timeout: float = Field(
        default=60.0, description="Seconds for which what fails is tried again, with growing and jittered pauses."
    )

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `api_key`, that it hasn't expired, and what it may do there.",
        "host": "Check the host and port of `url`, DNS, firewalls and proxies.",
        "time": "Check `url`, firewalls and proxies; raise `timeout` where the server is slow.",
        "certificate": "Check the host of `url`, and give the authority by `ca_file` where it is your own.",
        "scheme": "Check whether `url` begins with the right one; `http://` needs `allow_http` as well.",
        "cut": "Run this again; where it happens often, look at the line, and at proxies between here and there.",
        "busy": "Run this again later, and look at what else uses the server.",
        "foreign": "Check the host, port and path of `url`: another program answers there.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A server or a folder, an address that is one, and nothing of a server beside a folder."""
        found = wrong_times(given, ("timeout", "retry_timeout"))
        url, path = given["url"], given["path"]
        if not url and not path:
            found.append(Problem("url", "Neither a server nor a folder is given. Give `url`, or `path`."))
        if url and path:
            found.append(Problem("path", "`url` is given as well. Take one of the two away."))
        if path and (said := [name for name in ("api_key", "ca_file", "grpc", "allow_http") if given[name]]):
            found.append(Problem(said[0], "It is for a server, and `path` is given. Take it away."))
        if url and is_plain(url):
            if not url.startswith(("https://", "http://")):
                found.append(Problem("url", "It is no URL. Valid: `https://host:port`."))
            elif url.startswith("http://") and not given["allow_http"]:
                words = "It is `http://`, which sends data and keys in the clear. Take `https://`, or set `allow_http`."
                found.append(Problem("url", words))
            elif "@" in url:
                found.append(Problem("url", "It holds a login. Put the key into `api_key`."))
        if isinstance(given["grpc_port"], int) and not 1 <= given["grpc_port"] <= 65_535:
            found.append(Problem("grpc_port", f"`{given['grpc_port']}` is no port. Valid: 1 to 65535."))
        if given["grpc"] and given["ca_file"]:
            found.append(Problem("ca_file", "It is for HTTP; gRPC takes the machine's own. Take one of the two away."))
        return found

    @property
    def place(self) -> str:
        """URL of the server, or the folder."""
        path = looked_up(self.path)
        if path:
            return path if path.startswith(_MEMORY) else str(Path(path).expanduser().absolute())
        return looked_up(self.url).rstrip("/")

    @contextmanager
    def opened(self) -> "Iterator[Session]":
        """An open client, for as long as the context lasts.

        Raises:
            FuseError: A secret can't be resolved, or another process uses the folder.
        """
        from fuse_dagster.connectors.vectors.failures import worded
        from fuse_dagster.connectors.vectors.opening import Session, client_class, local_client

        client_class()
        local = bool(looked_up(self.path))
        with ExitStack() as stack:
            try:
                client = stack.enter_context(local_client(self.place) if local else self._server())
            except FuseError:
                raise
            except (OSError, RuntimeError, ValueError) as error:
                raise worded(error, self.place, self.checks, local=local) from None
            yield Session(
                client=client,
                place=self.place,
                checks=self.checks,
                local=local,
                patience=self.retry_timeout,
                renew=lambda: stack.enter_context(self._server()) if self.forget_secrets() else None,
            )

    def answer(self) -> str:
        """Log in, and say what answers: `Qdrant 1.15.4`.

        Raises:
            StoreUnavailableError: It can't be reached.
            StoreError: It refuses.
        """
        from fuse_dagster.connectors.vectors.collections import collections

        with self.opened() as session:
            info = session.ask(lambda client: client.info())
            collections(session)  # anyone may ask for the version, and only those with the key for this
        return f"Qdrant's local mode {info.version}" if session.local else f"Qdrant {info.version}"

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of collections, and of aliases instead of the collections behind them; sorted."""
        from fuse_dagster.connectors.vectors.collections import aliases, collections
        from fuse_dagster.connectors.vectors.versions import VERSION

        with self.opened() as session:
            named = aliases(session)
            found = [one for one in collections(session) if not VERSION.fullmatch(one)]
        yield from sorted(one for one in {*found, *named} if fnmatchcase(one, pattern))

    @contextmanager
    def rows(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        where: "Mapping[str, Any] | models.Filter | None" = None,
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read points in batches, in the order of their ids: `point_id`, the fields of payloads, the vectors.

        Types are those that were written. Where another program wrote a collection, they are told from its points,
        which are read twice then. Dense vectors are fixed-size lists, sparse ones structs of `indices` and `values`.

        Args:
            name: A collection or an alias.
            columns: The columns to read, in this order; None for all.
            limit: Points at the most; None for all.
            where: Which points; see `fuse_dagster.connectors.vectors.filters`, or a filter of Qdrant's own.

        Raises:
            NotThereError: There is no such collection.
            ConfigError: There is no such column, or the condition is none.
            SchemaError: A field holds values of several types, or what was not noted.
        """
        import pyarrow as pa

        from fuse_dagster.connectors.vectors.filters import to_filter
        from fuse_dagster.connectors.vectors.reading import asked_of, batches

        chosen = to_filter(where)
        with self.opened() as session:
            asked = asked_of(session, name, columns=columns, limit=limit, where=chosen)
            yield pa.RecordBatchReader.from_batches(asked.schema, batches(session, asked, limit))

    def create(self, name: str, collection: "Collection") -> None:
        """Make a collection; nothing happens where there is one with the same vectors.

        Raises:
            ConfigError: There is one of that name with other vectors, or the name can't be one.
        """
        from fuse_dagster.connectors.vectors.collections import create

        with self.opened() as session:
            create(session, name, collection)

    def alter(self, name: str, collection: "Collection") -> list[str]:
        """Bring a collection to what is declared, as far as Qdrant changes what is there.

        Returns:
            What was changed, in words.

        Raises:
            NotThereError: There is no such collection.
            ConfigError: What is declared needs a new collection; nothing was changed.
        """
        from fuse_dagster.connectors.vectors.collections import alter

        with self.opened() as session:
            return alter(session, name, collection)

    def described(self, name: str) -> "Collection":
        """Say what a collection holds, or raise `NotThereError`."""
        from fuse_dagster.connectors.vectors.collections import found

        with self.opened() as session:
            return found(session, name)[0]

    def drop(self, name: str) -> bool:
        """Remove a collection, or an alias with the collection behind it; whether there was one."""
        from fuse_dagster.connectors.vectors.versions import drop

        with self.opened() as session:
            return drop(session, name)

    def snapshot(self, name: str) -> str:
        """Let the server make a snapshot of a collection; its name.

        Raises:
            NotThereError: There is no such collection.
            ConfigError: There is no server.
        """
        with self.opened() as session:
            _refuse_local(session)
            made = session.ask(lambda client: client.create_snapshot(name, wait=True), of=name, again=False)
        return made.name if made is not None else ""

    def snapshots(self, name: str) -> list[str]:
        """Names of a collection's snapshots, sorted.

        Raises:
            NotThereError: There is no such collection.
            ConfigError: There is no server.
        """
        with self.opened() as session:
            _refuse_local(session)
            return sorted(one.name for one in session.ask(lambda client: client.list_snapshots(name), of=name))

    def count_rows(self, name: str, where: "Mapping[str, Any] | models.Filter | None" = None) -> int:
        """Count points exactly, or raise `NotThereError`."""
        from fuse_dagster.connectors.vectors.collections import points_in
        from fuse_dagster.connectors.vectors.filters import to_filter

        chosen = to_filter(where)
        with self.opened() as session:
            return points_in(session, name, chosen)

    def write_points(
        self,
        name: str,
        data: Any,
        *,
        keys: Sequence[str],
        mode: "Mode" = "upsert",
        collection: "Collection | None" = None,
        replacing: Mapping[str, Any] | None = None,
    ) -> "Written":
        """Write rows as points; all of them are looked at before the first is sent.

        Columns that are vectors (fixed-size lists of floats, lists of those, structs of `indices` and `values`) become
        vectors of that name, all others the payload. The id of a point derives from its keys: see
        `fuse_dagster.connectors.vectors.points`. A write that failed is completed by the same write again.

        Args:
            name: The collection. It is made where there is none.
            data: A frame of polars, or what gives Arrow. A reader is kept in a file meanwhile, so memory stays small.
            keys: The columns that tell one point from another.
            mode: `upsert` adds points and replaces those with the same key; `append` leaves those as they are;
                `overwrite` fills a new collection and puts it in place of the old one at once, by an alias.
            collection: What the collection holds; by default as the types of the columns tell.
            replacing: With `upsert`: column -> value of a partition, or a list of values. All rows have to belong
                to it; its points that are no longer in the data are removed afterwards.

        Raises:
            InputError: A vector, a key or a payload can't be; or a `SchemaError`, `KeyValueError`, `PartitionError`.
                Nothing was written.
            ConfigError: The collection holds other vectors, or its name can't be one.
            StoreUnavailableError: The server can't be reached; the message says how much landed.
        """
        from fuse_dagster.connectors.vectors.writing import write

        with self.opened() as session:
            return write(session, name, data, keys=keys, mode=mode, collection=collection, replacing=replacing)

    def delete_points(self, name: str, where: "Mapping[str, Any] | models.Filter") -> int:
        """Remove the points that a condition means; how many it were.

        Raises:
            NotThereError: There is no such collection.
            ConfigError: The condition is none, or would mean all points.
        """
        from fuse_dagster.connectors.vectors.filters import to_filter
        from fuse_dagster.connectors.vectors.writing import delete

        chosen = to_filter(where)
        if chosen is None or not chosen.model_dump(exclude_none=True):
            raise ConfigError("Without a condition all points would be removed. Give one, or `drop` the collection.")
        with self.opened() as session:
            return delete(session, name, chosen)

    def search(
        self,
        name: str,
        queries: Any,
        *,
        using: str | None = None,
        limit: int = 10,
        where: "Mapping[str, Any] | models.Filter | None" = None,
        columns: Sequence[str] | None = None,
        score_threshold: float | None = None,
    ) -> "pa.Table":
        """Find the points that lie nearest to each query.

        Args:
            name: The collection.
            queries: Vectors: a list of lists, an array of rows x numbers, or a frame with a column of that name;
                sparse ones as mappings of `indices` and `values`.
            using: Which vector is compared; not needed where there is one.
            limit: Points per query, at the most.
            where: Which points; see `rows`.
            columns: Fields of the payload to bring along, in this order; None for all.
            score_threshold: Leave out what is farther than that.

        Returns:
            `query` (the place of the query, from 0), `point_id`, `score`, and the fields, nearest first per query.

        Raises:
            NotThereError: There is no such collection.
            InputError: A query is of another size, or holds what is no number.
            ConfigError: There is no such vector or field.
        """
        from fuse_dagster.connectors.vectors.filters import to_filter
        from fuse_dagster.connectors.vectors.searching import search

        chosen = to_filter(where)
        with self.opened() as session:
            return search(
                session,
                name,
                queries,
                using=using,
                limit=limit,
                where=chosen,
                columns=columns,
                score_threshold=score_threshold,
            )

    @contextmanager
    def _server(self) -> "Iterator[QdrantClient]":
        from fuse_dagster.connectors.vectors.opening import server_client, trusted

        key = secrets.resolve(self.api_key)
        with server_client(
            url=self.place,
            api_key=key or None,
            prefer_grpc=self.grpc,
            grpc_port=self.grpc_port,
            timeout=self.timeout,
            verify=trusted(self.place, looked_up(self.ca_file)),
        ) as client:
            yield client


def _refuse_local(session: "Session") -> None:
    """Refuse what only a server does.

    Raises:
        ConfigError: There is no server.
    """
    if session.local:
        raise ConfigError(
            f"`{session.place}` has no snapshots: they are a server's. Copy the folder while no process uses it, or "
            "give `url`."
        )
