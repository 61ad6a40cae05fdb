"""XML as rows: one element a row, read as a stream, with no entity expanded and nothing fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn
from xml.parsers import expat

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.files.parts import Part

_PART = 20_000
_CHUNK = 2**18
_DEEP = 200
_NIL = "http://www.w3.org/2001/XMLSchema-instance nil"
_STEP = re.compile(r"(?:(?P<prefix>[\w.-]+):)?(?P<name>[\w.-]+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlRows:
    """Which elements of XML are rows, and how their columns are called.

    Attributes:
        record: The path of the element that is a row, from the root: `feed/flight`; a name alone stands for it at any
            depth. "" for the children of the root.
        namespaces: Prefix -> URI, for a path as `f:flight`. A name without a prefix is of any namespace.
        lists: Columns that may repeat within a row: their values become one JSON array. Others that repeat are refused.
        null: Texts that stand for a missing value, besides `xsi:nil="true"`.
    """

    record: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    null: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        """Refuse a path that is none."""
        for step in filter(None, self.record.strip("/").split("/")):
            found = _STEP.fullmatch(step)
            if found is None or (found["prefix"] and found["prefix"] not in self.namespaces):
                msg = (
                    f"`{step}` in `record` is no element, or of an unknown prefix. Valid: `feed/flight`, or `f:flight` "
                    "with `namespaces`."
                )
                raise ConfigError(msg)

    @property
    def steps(self) -> list[tuple[str | None, str]]:
        """Namespace (None for any) and name of each step of the path."""
        found = []
        for step in filter(None, self.record.strip("/").split("/")):
            prefix, _, name = step.rpartition(":")
            found.append((self.namespaces[prefix] if prefix else None, name))
        return found


def read_xml(stream: BinaryIO, options: XmlRows, file: str) -> Iterator[Part]:
    """Read the elements that are rows, in parts; all values are text.

    Attributes and children without children are columns by their names; what lies deeper is called `outer_inner`. The
    text of the row itself is called as the element.

    Args:
        stream: The plain bytes, from the first; their encoding is what the XML declares.
        options: Which elements.
        file: What it is called, for messages.

    Yields:
        Rows in order; a part has the columns that its rows have.

    Raises:
        InputError: It is no XML, or cut off, declares entities, has no such element, or a column twice in a row.
    """
    reading = _Reading(options, file)
    count = 0
    while True:
        chunk = stream.read(_CHUNK)
        reading.feed(chunk, last=not chunk)
        if len(reading.rows) >= _PART or (not chunk and (reading.rows or not count)):
            yield Part.numbered(reading.taken(), count)
            count = reading.count
        if not chunk:
            break
    if not reading.count and options.record:
        msg = f"`{file}` holds no element `{options.record}`; its root is `{reading.root}`. Correct `record`."
        raise InputError(msg)


class _Reading:
    """One document, as its parser tells of it."""

    def __init__(self, options: XmlRows, file: str) -> None:
        self.rows: list[dict[str, str | None]] = []
        self.count, self.root = 0, ""
        self._options, self._file, self._steps = options, file, options.steps
        self._path: list[tuple[str, str]] = []
        self._texts: list[list[str]] = []
        self._nil: list[bool] = []
        self._leaf: list[bool] = []
        self._row: dict[str, Any] | None = None
        self._depth = 0
        self._columns: dict[str, None] = {}
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse
        parser.UnparsedEntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        parser.SkippedEntityHandler = self._refuse
        self._parser = parser

    def feed(self, chunk: bytes, *, last: bool) -> None:
        """Parse some more bytes."""
        try:
            self._parser.Parse(chunk, last)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            msg = f"`{self._file}` can't be read as XML: {error}. It is cut off or damaged: deliver it again, whole."
            raise InputError(msg) from error

    def taken(self) -> pl.DataFrame:
        """The rows so far, which are forgotten then."""
        rows, self.rows = self.rows, []
        columns = {name: pl.Series(name, [row.get(name) for row in rows], dtype=pl.String) for name in self._columns}
        return pl.DataFrame(columns) if columns else pl.DataFrame()

    def _refuse(self, *_: object) -> NoReturn:
        line = self._parser.CurrentLineNumber
        msg = f"`{self._file}` declares or uses an entity in line {line}, which may hold anything. Deliver it without."
        raise InputError(msg)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        uri, _, local = name.rpartition(" ")
        self._path.append((uri, local))
        if len(self._path) > _DEEP:
            msg = f"`{self._file}` nests elements more than {_DEEP} deep, as a file made to exhaust memory does."
            raise InputError(msg)
        self.root = self.root or local
        if self._row is None and self._is_record():
            self._row, self._depth = {}, len(self._path)
        if self._row is not None:
            if self._leaf:
                self._leaf[-1] = False
            self._leaf.append(True)
            self._texts.append([])
            self._nil.append(attributes.get(_NIL) in {"true", "1"})
            for said, value in attributes.items():
                if said != _NIL:
                    self._put([said.rpartition(" ")[2]], value)

    def _end(self, _: str) -> None:
        if self._row is not None:
            text, nil = "".join(self._texts.pop()), self._nil.pop()
            inside = len(self._path) > self._depth
            is_leaf = self._leaf.pop()
            if inside and (is_leaf or text.strip()):
                self._put([], None if nil else text)
            elif not inside and text.strip():
                self._put([self._path[-1][1]], text)
            if not inside:
                self._finish()
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._texts:
            self._texts[-1].append(text)

    def _is_record(self) -> bool:
        if not self._steps:
            return len(self._path) == 2
        if len(self._steps) == 1:
            return _matches(self._steps, self._path[-1:])
        return len(self._path) == len(self._steps) and _matches(self._steps, self._path)

    def _put(self, ending: list[str], value: str | None) -> None:
        assert self._row is not None
        name = "_".join([local for _, local in self._path[self._depth :]] + ending)
        kept = None if value is None or value.strip() in self._options.null else value
        if name in self._options.lists:
            self._row.setdefault(name, []).append(kept)
        elif name in self._row:
            msg = (
                f"`{self._file}` has `{name}` twice in one row, in line {self._parser.CurrentLineNumber}. "
                f'Declare it as a list, by `lists=("{name}",)`, or correct `record`.'
            )
            raise InputError(msg)
        else:
            self._row[name] = kept

    def _finish(self) -> None:
        assert self._row is not None
        row = {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for name, value in self._row.items()
        }
        self._columns.update(dict.fromkeys(row))
        self.rows.append(row)
        self.count += 1
        self._row = None


def _matches(steps: list[tuple[str | None, str]], path: list[tuple[str, str]]) -> bool:
    return all(
        (uri is None or uri == found) and name in {"*", local}
        for (uri, name), (found, local) in zip(steps, path, strict=True)
    )
