"""REST APIs: endpoints that are declared by name, and read page by page."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.http.connection import HTTPConnection
from fuse_dagster.connectors.http.endpoints import Endpoint, merged, problems_of
from fuse_dagster.connectors.http.messages import Request
from fuse_dagster.connectors.http.reading import Reading
from fuse_dagster.connectors.http.records import reader_of
from fuse_dagster.connectors.http.urls import holes, joined, shown
from fuse_dagster.core.errors import ConfigError, NotThereError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["REST", "Endpoint"]


class REST(HTTPConnection):
    """An API that answers with JSON. Its endpoints are declared by name, each with how it pages.

    A page that can't be had, or can't be true, fails the whole read: there is no silently short table.

    Examples:
        >>> api = REST(
        ...     base_url="https://api.example.com/v1",
        ...     token="env://API_TOKEN",
        ...     endpoints={
        ...         "flights": {
        ...             "path": "flights",
        ...             "records": "data.items",
        ...             "paging": {"style": "page", "size": 100, "size_parameter": "per_page", "total": "total"},
        ...         },
        ...     },
        ... )
        >>> list(api.names())
        ['flights']
    """

    type: Literal["rest"] = "rest"
    endpoints: dict[str, Endpoint] = Field(
        default_factory=dict, description="Name -> what is read there: its path, how it pages, what its rows are."
    )
    test_path: str = Field(
        default="", description="What is asked for to see whether the API lets us in; else the address itself."
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the server, the login, and each endpoint."""
        found = super().problems(given)
        endpoints = given["endpoints"]
        for name, said in endpoints.items() if isinstance(endpoints, Mapping) else ():
            if not name or not str(name).isprintable():
                found.append(Problem("endpoints", f"{name!r} is no name of an endpoint. Valid: text in one line."))
            found += problems_of(name, said if isinstance(said, Endpoint) else Endpoint(**said))
        return found

    def answer(self) -> str:
        """Log in and ask for the `test_path`; where there is none, for the address, of which any answer will do.

        Returns:
            The status, and what the server says that it is.
        """
        client = self.client()
        anything = frozenset() if self.test_path else frozenset({400, 404, 405, 410, 422})
        found = client.send(Request(url=joined(client.base, self.test_path), accept=anything, headers=_JSON))
        server = found.headers.get("server", "")
        return f"{shown(client.base)} answers with status {found.status}{f' ({server})' if server else ''}"

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of the endpoints that fit a pattern, sorted."""
        yield from sorted(name for name in self.endpoints if fnmatchcase(name, pattern))

    @contextmanager
    def rows(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Iterator["pa.RecordBatchReader"]:
        """Read an endpoint, page by page, in the order of the API.

        Args:
            name: The endpoint.
            columns: The columns to read, in this order; None for all.
            limit: Rows at the most; None for all. The pages that are not needed are not fetched, nor checked.
            parameters: Name -> value, instead of those that the endpoint declares, or beside them.

        Raises:
            NotThereError: There is no such endpoint; or the API has nothing there.
            ConfigError: There is no such column, or a parameter can't be sent.
            SchemaError: Values fit no type without loss.
            StoreError: The API refuses, or a page can't be true.
            StoreUnavailableError: It can't be reached, or pages contradict each other.
        """
        if name not in self.endpoints:
            msg = f"`{self.place}` has no endpoint `{name}`. {did_you_mean(name, self.endpoints)}"
            raise NotThereError(msg)
        endpoint = self.endpoints[name]
        sets = merged(endpoint, parameters)
        for hole in holes(endpoint.path):
            if any(hole not in one for one in sets):
                raise ConfigError(f"`{name}` needs a value for `{hole}`. {did_you_mean(hole, parameters or ())}")
        reading = Reading(self.client(), endpoint, self.concurrency, limit, Event())
        with reader_of(reading.pages(sets), endpoint, columns=columns, limit=limit) as reader:
            yield reader


_JSON = {"Accept": "application/json"}
