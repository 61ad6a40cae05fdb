"""The pictures of the documentation, drawn from what the code does, so that they can't be wrong.

Timelines are drawn from history tables that `write` made. A test compares the files with what would be drawn.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import polars as pl

from fuse_dagster.tables import History, write
from fuse_dagster_tests.docs.pages import PAGES
from fuse_dagster_tests.house.test_arrows import ALLOWED

INK, FAINT, LINE = "#263238", "#78909c", "#cfd8dc"
COLOURS = ["#3f51b5", "#00897b", "#ef6c00", "#8e24aa", "#546e7a", "#c0ca33"]
FONT = 'font-family="Helvetica, Arial, sans-serif"'
LEFT, WIDTH, ROW, BAR = 110, 720, 44, 28


def _day(day: int, month: int = 1) -> dt.datetime:
    return dt.datetime(2024, month, day, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Panel:
    """One timeline: a title, the versions, and the times at which something was said.

    Attributes:
        title: What the reader sees here.
        versions: Rows with `key`, `value`, `valid_from`, `valid_to`.
        said: (time, words) of each batch, drawn as a dashed line.
        keys: Keys from top to bottom, so that panels of one picture look alike.
    """

    title: str
    versions: Sequence[dict[str, object]]
    said: Sequence[tuple[dt.datetime, str]]
    keys: Sequence[str]


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 13,
    fill: str = INK,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" {FONT} font-size="{size}" fill="{fill}" '
        f'text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def _panel(
    panel: Panel, top: int, scale: Callable[[dt.datetime], float], colours: dict[str, str]
) -> tuple[list[str], int]:
    parts = [_text(0, top + 14, panel.title, size=14, bold=True)]
    rows_top = top + 50
    bottom = rows_top + ROW * len(panel.keys)
    for moment, words in panel.said:
        x = scale(moment)
        parts.append(f'<path d="M{x:.0f} {top + 38}V{bottom}" stroke="{FAINT}" stroke-dasharray="3 3"/>')
        parts.append(_text(x, top + 34, words, size=11, fill=FAINT, anchor="middle"))
    for number, key in enumerate(panel.keys):
        y = rows_top + ROW * number
        parts.append(_text(0, y + 19, key, bold=True))
        parts.append(f'<path d="M{LEFT} {y + ROW - 8}H{LEFT + WIDTH}" stroke="{LINE}"/>')
        for version in panel.versions:
            if version["key"] != key:
                continue
            start, end = version["valid_from"], version["valid_to"]
            assert isinstance(start, dt.datetime)
            x = scale(start)
            right = scale(end) if isinstance(end, dt.datetime) else LEFT + WIDTH
            value = str(version["value"])
            parts.append(
                f'<rect x="{x + 1:.0f}" y="{y}" width="{right - x - 2:.0f}" height="{BAR}" rx="4" '
                f'fill="{colours[value]}"/>'
            )
            if end is None:  # an open version has no right edge
                parts.append(f'<path d="M{right - 3:.0f} {y}l14 {BAR // 2}l-14 {BAR // 2}z" fill="{colours[value]}"/>')
            parts.append(_text((x + right) / 2, y + 19, value, fill="#fff", anchor="middle"))
    return parts, bottom + 24


def _timeline(panels: Sequence[Panel]) -> str:
    moments = [moment for panel in panels for moment, _ in panel.said]
    first, last = min(moments), max(moments)
    span = (last - first) * 1.35

    def scale(moment: dt.datetime) -> float:
        return LEFT + 30 + (WIDTH - 30) * ((moment - first) / span)

    values = dict.fromkeys(str(version["value"]) for panel in panels for version in panel.versions)
    colours = dict(zip(values, COLOURS, strict=False))
    parts: list[str] = []
    top = 6
    for panel in panels:
        drawn, top = _panel(panel, top, scale, colours)
        parts += drawn
    return _svg(parts, LEFT + WIDTH + 20, top)


def _svg(parts: Sequence[str], width: int, height: int) -> str:
    size = f'viewBox="-8 0 {width + 8} {height}" width="{width + 8}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, *parts, "</svg>", ""])


def _versions(table: Path, key: str, value: str) -> list[dict[str, object]]:
    columns = [pl.col(key).alias("key"), pl.col(value).alias("value"), "valid_from", "valid_to"]
    return pl.read_delta(str(table)).select(columns).sort("key", "valid_from").to_dicts()


def _snapshot(table: Path, moment: dt.datetime, rows: dict[str, str]) -> None:
    data = pl.DataFrame({"icao": list(rows), "name": list(rows.values())})
    write(table, data, History(keys=["icao"], effective_at=moment))


SNAPSHOTS = {
    _day(1, 1): {"EDDB": "Schönefeld", "EDDT": "Tegel"},
    _day(1, 2): {"EDDB": "Brandenburg", "EDDT": "Tegel", "LOWW": "Schwechat"},
    _day(1, 3): {"EDDB": "Brandenburg", "LOWW": "Schwechat"},
}
KEYS = ["EDDB", "EDDT", "LOWW"]


def snapshots(folder: Path) -> str:
    """Three snapshots in order: a change, a newcomer, an end."""
    table = folder / "airports"
    for moment, rows in SNAPSHOTS.items():
        _snapshot(table, moment, rows)
    said = [(moment, f"snapshot of {moment:%-d %b}") for moment in SNAPSHOTS]
    return _timeline(
        [Panel("Three snapshots, and the history they make", _versions(table, "icao", "name"), said, KEYS)]
    )


def late(folder: Path) -> str:
    """January and March first, then February."""
    table = folder / "airports"
    january, february, march = SNAPSHOTS
    for moment in (january, march):
        _snapshot(table, moment, SNAPSHOTS[moment])
    said = [(moment, f"snapshot of {moment:%-d %b}") for moment in (january, march)]
    before = Panel("January and March are known", _versions(table, "icao", "name"), said, KEYS)
    _snapshot(table, february, SNAPSHOTS[february])
    said = [(moment, f"snapshot of {moment:%-d %b}") for moment in SNAPSHOTS]
    after = Panel("February arrives last: the same history as in order", _versions(table, "icao", "name"), said, KEYS)
    return _timeline([before, after])


def splice(folder: Path) -> str:
    """A at 1, A at 5, then B at 3, which arrives last."""
    table = folder / "prices"
    mode = History(keys=["item"], source="changes", effective_column="at")

    def say(*statements: tuple[int, str]) -> None:
        rows = [{"item": "tea", "price": price, "at": _day(day)} for day, price in statements]
        write(table, pl.DataFrame(rows), mode)

    say((1, "A"), (5, "A"))
    said = [(_day(1), "A at 1"), (_day(5), "A at 5")]
    before = Panel("A is stated twice: one version", _versions(table, "item", "price"), said, ["tea"])
    say((3, "B"))
    said = [said[0], (_day(3), "B at 3"), said[1]]
    after = Panel("B at 3 arrives last: A holds again from 5", _versions(table, "item", "price"), said, ["tea"])
    return _timeline([before, after])


def rooms(folder: Path) -> str:
    """The rooms in layers, with a line from each down to those that it imports first-hand."""
    del folder
    names = [room for room in ALLOWED if room not in {"", "testing"}]
    below = {room: ALLOWED[room] - {r for other in ALLOWED[room] for r in ALLOWED[other]} for room in names}
    layers: dict[int, list[str]] = {}
    level: dict[str, int] = {}
    for room in names:  # listed from the bottom up
        level[room] = 1 + max((level[other] for other in below[room]), default=-1)
        layers.setdefault(level[room], []).append(room)
    width, high, gap, step, middle = 112, 34, 14, 76, 390
    top = {room: 10 + (max(layers) - level[room]) * step for room in names}
    centre = {
        room: middle + (number - (len(row) - 1) / 2) * (width + gap)
        for row in layers.values()
        for number, room in enumerate(row)
    }
    parts = [
        f'<path stroke="{FAINT}" d="M{centre[room]:.0f} {top[room] + high}L{centre[other]:.0f} {top[other]}"/>'
        for room in names
        for other in sorted(below[room])
    ]
    for room in names:
        there = (PAGES.parents[1] / "fuse_dagster" / room).is_dir()
        style = f'fill="{COLOURS[0]}"' if there else f'fill="#fff" stroke="{FAINT}" stroke-dasharray="4 3"'
        x, y = centre[room], top[room]
        parts.append(f'<rect x="{x - width / 2:.0f}" y="{y}" width="{width}" height="{high}" rx="6" {style}/>')
        parts.append(_text(x, y + 22, room, fill="#fff" if there else FAINT, anchor="middle"))
    bottom = top["core"] + high + 26
    words = "A room may import what its lines lead down to. Dashed: planned, not there yet."
    parts.append(_text(middle, bottom, words, size=12, fill=FAINT, anchor="middle"))
    return _svg(parts, 2 * middle, bottom + 14)


PICTURES: dict[str, Callable[[Path], str]] = {
    "history-snapshots.svg": snapshots,
    "history-late.svg": late,
    "history-splice.svg": splice,
    "rooms.svg": rooms,
}


def draw(name: str) -> str:
    """One picture, as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        return PICTURES[name](Path(folder))


def draw_all() -> None:
    """Write all pictures to their place in the documentation."""
    for name in PICTURES:
        (PAGES / "images" / name).write_text(draw(name), encoding="utf-8")
