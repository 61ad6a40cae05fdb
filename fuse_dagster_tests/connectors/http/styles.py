"""One declaration for each style of paging of the test server."""

from __future__ import annotations

from typing import Any

from fuse_dagster import REST

STYLES: dict[str, dict[str, Any]] = {
    "page": {"records": "data.items", "paging": {"style": "page"}},
    "page with a total": {"records": "data.items", "paging": {"style": "page", "total": "total"}},
    "offset": {"records": "items", "paging": {"style": "offset"}},
    "offset with a total": {"records": "items", "paging": {"style": "offset", "total": "header:X-Total-Count"}},
    "cursor": {
        "records": "items",
        "paging": {"style": "cursor", "parameter": "after", "found_at": "id", "more": "has_more"},
    },
    "token": {"records": "items", "paging": {"style": "token", "parameter": "token", "found_at": "next_token"}},
    "next": {"records": "items", "paging": {"style": "next_url", "found_at": "next"}},
    "link": {"paging": {"style": "link"}},
}


def api(url: str, style: str, *, size: int = 10, asks: bool = True, **more: Any) -> REST:
    """A connection with the endpoint `flights`, paged in a style.

    Args:
        url: Address of the server.
        style: A key of `STYLES`.
        size: Rows per page.
        asks: Whether the size is asked for; else the server's own counts.
        **more: Fields of the endpoint (`paging` is added to that of the style), and of the connection.
    """
    said = STYLES[style]
    paging = {**said["paging"], **({"size": size, "size_parameter": "size"} if asks else {}), **more.pop("paging", {})}
    known = {"parameters", "columns", "types", "nested", "mixed", "each", "keep", "method", "body", "form", "safe"}
    endpoint = {**said, "path": f"{style.split(maxsplit=1)[0]}/flights", "paging": paging}
    endpoint |= {name: more.pop(name) for name in known & more.keys()}
    return REST(base_url=url, allow_http=True, endpoints={"flights": endpoint}, **{"retry_timeout": 0.0, **more})


def read(connection: REST, name: str = "flights", **how: Any) -> list[dict[str, Any]]:
    """All rows."""
    with connection.rows(name, **how) as reader:
        found: list[dict[str, Any]] = reader.read_all().to_pylist()
    return found
