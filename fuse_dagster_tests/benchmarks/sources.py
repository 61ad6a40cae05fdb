"""Sources and sinks beside their peers: `python -m fuse_dagster_tests.benchmarks.sources loading writing pages quiet`.

Each part writes its own table into docs/pages/benchmarks.md. The ways of a part take turns; the median counts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuse_dagster import PostgreSQL
from fuse_dagster.connectors.databases.modes import AppendRows
from fuse_dagster.engines.local.streaming import to_stream
from fuse_dagster_tests.benchmarks import databases, loading, pages, quiet
from fuse_dagster_tests.servers.postgres import postgres_server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "benchmarks.md"
Rounds = Mapping[Any, Sequence[Mapping[str, float]]]


def table(
    head: str,
    rounds: Rounds,
    columns: Mapping[str, Callable[[Mapping[str, float]], float]],
    *,
    base: Any = None,
    of: str = "",
) -> str:
    """Medians as Markdown, with the ratio of one column to the base: of each round, because rounds differ."""
    names = [head, *columns, *([f"{of}: times {base}"] if base is not None else []), "rounds"]
    lines = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    for way, found in rounds.items():
        cells = [f"{statistics.median(map(column, found)):,.2f}" for column in columns.values()]
        if base is not None:
            pairs = zip(rounds[base], found, strict=False)
            cells.append(f"{statistics.median(columns[of](one) / columns[of](other) for other, one in pairs):.2f}")
        lines.append(f"| {' | '.join([str(way), *cells, str(len(found))])} |")
    return "\n".join(lines)


@contextmanager
def _source(rows: int) -> Iterator[dict[str, Any]]:
    with postgres_server() as server:
        given = loading.address(server, server.database("bench"))
        server.sql(f"CREATE TABLE {loading.TABLE} ({databases.COLUMNS}, PRIMARY KEY (id))", given["database"])
        PostgreSQL(**given).write_rows(loading.TABLE, to_stream(databases.rows(rows)), AppendRows())
        server.sql(f"VACUUM ANALYZE {loading.TABLE}", given["database"])
        yield given


def _loading(options: argparse.Namespace) -> str:
    ways = {loading.OURS: options.rounds, loading.ADBC: options.rounds, **dict.fromkeys(loading.DLT, options.dlt)}
    with _source(options.rows) as given:
        found = loading.measure(given, options.rows, options.rounds, {way: most for way, most in ways.items() if most})
    columns = {
        "rows/s": lambda one: options.rows / one["seconds"],
        "wall s": lambda one: one["seconds"],
        "CPU s": lambda one: one["cpu"],
        "peak MB": lambda one: one["peak"],
    }
    said = table("PostgreSQL -> Delta", found, columns, base=loading.ADBC, of="rows/s")
    return f"{options.rows:,} rows of 12 columns.\n\n{said}"


def _writing(options: argparse.Namespace) -> str:
    found = databases.measure(options.rows, options.rounds)
    columns = {"rows/s": lambda one: options.rows / one["seconds"], "wall s": lambda one: one["seconds"]}
    parts = [table("Delta -> PostgreSQL", found, columns, base=base, of="rows/s") for base in (databases.PIPED,)]
    return "\n\n".join([f"{options.rows:,} rows of 12 columns.", *parts])


def _pages(options: argparse.Namespace) -> str:
    columns = {name: (lambda one, name=name: one[name]) for name in ("seconds", "at once", "peak")}  # type: ignore[misc]
    waiting = pages.measure(options.pages, 0.05, (1, 8), options.rounds)
    few, many = (pages.measure(count, 0.0, (8,), 1)[8] for count in (options.pages, 10 * options.pages))
    parts = [table("requests at a time", waiting, columns, base=1, of="seconds")]
    parts.append(table("pages", {options.pages: few, 10 * options.pages: many}, columns))
    said = f"{options.pages} pages of {pages.SIZE} rows, which the server holds back for 50 ms each; below not at all."
    return "\n\n".join([said, *parts])


def _quiet(options: argparse.Namespace) -> str:
    with _source(10_000) as given, tempfile.TemporaryDirectory() as folder:
        found = quiet.measure(given, loading.TABLE, Path(folder), options.commits, options.rounds)
    columns = {
        "query s": lambda one: one["query"],
        "load s": lambda one: one["load"],
        "beyond the query s": lambda one: one["load"] - one["query"],
        "CPU of the load s": lambda one: one["cpu"],
    }
    return f"{options.commits} commits above the first load.\n\n" + table("nothing new", found, columns)


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "loading": _loading,
    "writing": _writing,
    "pages": _pages,
    "quiet": _quiet,
}


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Put what was measured between its marks on the page."""
    start, end = f"<!-- measured: {name} -->", f"<!-- /measured: {name} -->"
    old = page.read_text(encoding="utf-8")
    assert start in old, f"`{page}` has no place for {name}"
    new = re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{text}\n{end}", old, flags=re.DOTALL)
    page.write_text(new, encoding="utf-8")


def main() -> None:
    """Measure some parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dlt", type=int, default=1, help="in how many rounds dlt is measured, by both backends")
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--commits", type=int, default=200)
    options = parser.parse_args()
    for name in options.parts or PARTS:
        text = PARTS[name](options)
        busy = f"{os.cpu_count()} cores, on which {os.getloadavg()[2]:.0f} programs wanted to run at a time"
        text += f"\n\nMeasured on {dt.datetime.now(dt.UTC):%Y-%m-%d} on {busy}."
        print(text)
        put(name, text)


if __name__ == "__main__":
    main()
