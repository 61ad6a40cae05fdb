"""What lies in a folder, by the page that a web server makes of it (autoindex of Apache, nginx and others)."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from fuse_dagster.connectors.http.urls import origin, resolved


def names_below(page: str, url: str) -> list[str]:
    """Names of the files and folders that a page links to and that lie right below it, sorted; folders end in `/`.

    Links that sort the page, lead up, elsewhere or deeper are none.

    Args:
        page: The HTML.
        url: Its address, which ends in `/`.
    """
    links = _Links()
    links.feed(page)
    links.close()
    here, found = urlsplit(url).path, set()
    for link in links.found:
        where = resolved(url, link)
        try:
            same = origin(where) == origin(url)
        except ValueError:
            continue
        parts = urlsplit(where)
        rest = parts.path.removeprefix(here)
        if not same or parts.query or not parts.path.startswith(here) or not rest.strip("/"):
            continue
        if "/" not in rest.removesuffix("/"):
            found.add(unquote(rest, errors="strict"))
    return sorted(found)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads."""
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
