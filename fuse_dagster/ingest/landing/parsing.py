"""Files into the spool: each whole or not at all; many small ones of JSON in one go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import InputError, first_line
from fuse_dagster.engines.local.files.casting import as_types
from fuse_dagster.engines.local.files.json_rows import frame_of, objects
from fuse_dagster.engines.local.files.layouts import UNPACKED, JsonOptions, NdjsonOptions
from fuse_dagster.engines.local.files.opening import Layout, is_text, layout_of, read_file_parts
from fuse_dagster.engines.local.files.packing import packed_as
from fuse_dagster.engines.local.files.parts import BadRow, Part
from fuse_dagster.engines.local.files.texts import typed
from fuse_dagster.engines.local.files.types import type_text
from fuse_dagster.ingest.landing.fetching import Fetched
from fuse_dagster.ingest.landing.spool import FILE, MEMBER, ROW, Spool

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

_SMALL = 2**18
_TOGETHER = 20_000
_JSON = (JsonOptions, NdjsonOptions)


class Parser:
    """Reads files into a spool.

    Args:
        source: How they are laid out.
        folder: On this machine's disk, for what is more than memory should hold.
        refuse: Takes the number of a file that turns out to be broken only later, and why.
        known: Column -> type, of loads before.
    """

    def __init__(
        self,
        source: LandingFiles,
        folder: str,
        refuse: Callable[[int, str], None],
        known: Mapping[str, pl.DataType],
    ) -> None:
        self._source, self._refuse = source, refuse
        self._declared = source.declared
        self.spool = Spool(folder, forms=source.forms, declared=self._declared, known=known)
        self._rows: list[dict[str, Any]] = []
        self._spans: list[tuple[int, str, int]] = []

    def parse(self, one: Fetched, number: int, taken: Collection[str]) -> list[BadRow]:
        """Read a file, and keep its rows.

        Args:
            one: The file.
            number: Its number among the files of this load.
            taken: Names of columns that its own must not have.

        Returns:
            The rows that were taken out of it.

        Raises:
            InputError: It is broken; nothing of it is kept.
        """
        layout = self._source.layout
        if self._is_small_json(one, layout):
            assert isinstance(one.data, bytes)
            rows = _objects(one.data, one.entry.path)
            _refuse_names({name for row in rows for name in row}, one.entry.path, taken)
            self._rows += rows
            self._spans.append((number, one.entry.path, len(rows)))
            if len(self._rows) >= _TOGETHER or len(self._spans) >= _TOGETHER:
                self.finish()
            return []
        self.finish()
        drafts: list[tuple[pl.DataFrame | Path, bool]] = []
        bad: list[BadRow] = []
        try:
            for part, found in self._parts(one, layout, taken):
                if not is_text(found) and not isinstance(found, _JSON):
                    self.spool.refuse(part.rows.schema, one.entry.path)
                bad += part.bad
                frame = part.rows.with_columns(pl.lit(number, pl.UInt32).alias(FILE), part.numbers.alias(ROW))
                if frame.width > 2:
                    drafts.append((frame if isinstance(one.data, bytes) else self.spool.aside(frame), is_text(found)))
        except InputError:
            for draft, _ in drafts:
                if isinstance(draft, Path):
                    draft.unlink()
            raise
        for draft, text in drafts:
            if isinstance(draft, Path):
                self.spool.add(pl.read_ipc(draft), text=text, stored=draft)
            else:
                self.spool.add(draft, text=text)
        return bad

    def finish(self) -> None:
        """Keep what was collected of small files."""
        rows, spans = self._rows, self._spans
        self._rows, self._spans = [], []
        if not rows:
            return
        try:
            self._keep(rows, spans)
        except (InputError, PolarsError):
            start = 0
            for number, path, count in spans:
                try:
                    self._keep(rows[start : start + count], [(number, path, count)])
                except (InputError, PolarsError) as error:
                    self._refuse(number, f"`{path}` does not fit the declared types: {first_line(error)}.")
                start += count

    def _keep(self, rows: list[dict[str, Any]], spans: list[tuple[int, str, int]]) -> None:
        if not rows:
            return
        files = [number for number, _, count in spans for _ in range(count)]
        numbers = [row for _, _, count in spans for row in range(1, count + 1)]
        read = self._native(Part(frame_of(rows), pl.Series(numbers, dtype=pl.Int64)), spans[0][1])
        frame = read.rows.with_columns(pl.Series(FILE, files, dtype=pl.UInt32), read.numbers.alias(ROW))
        if frame.width > 2:
            self.spool.add(frame, text=False)

    def _native(self, part: Part, file: str) -> Part:
        """Rows of a format with types of its own, of which some are declared."""
        if not self._declared:
            return part
        read = typed(part, self._declared, file, forms=self._source.forms)
        for name, found in read.rows.schema.items():
            wanted = self._declared.get(name, found)
            if not _can_become(found, wanted):
                msg = f"`{name}` is {type_text(found)} in `{file}`, and declared as {type_text(wanted)}. Correct one."
                raise InputError(msg)
        try:
            rows = as_types(read.rows.lazy(), self._declared).collect()
        except PolarsError as error:
            msg = f"`{file}` does not fit the declared types: {first_line(error)}. Repair it, or the types."
            raise InputError(msg) from error
        return Part(rows, read.numbers, read.bad)

    def _parts(self, one: Fetched, layout: Layout | None, taken: Collection[str]) -> Iterator[tuple[Part, Layout]]:
        source, path = self._source, one.entry.path
        for member, part in read_file_parts(one.open, path, layout, types=self._declared, bound=source.bound):
            used = layout or layout_of(f"{path}/{member}" if member else path)
            _refuse_names(part.rows.columns, path, taken)
            if is_text(used):
                read = typed(part, self._declared, path, forms=source.forms, reject=_rejects(used))
            else:
                read = self._native(part, path)
            rows = read.rows
            if "member" in source.metadata:
                rows = rows.with_columns(pl.lit(member, pl.String).alias(MEMBER))
            yield Part(rows, read.numbers, read.bad), used

    def _is_small_json(self, one: Fetched, layout: Layout | None) -> bool:
        if "member" in self._source.metadata or not isinstance(one.data, bytes) or len(one.data) > _SMALL:
            return False
        if packed_as(one.data[:8]) != "none" or one.entry.path.lower().endswith(UNPACKED):
            return False
        return isinstance(layout or layout_of(one.entry.path), JsonOptions)


def _objects(data: bytes, file: str) -> list[dict[str, Any]]:
    """The objects of a small file."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        msg = f"`{file}` is no utf-8 at byte {error.start:,}. It has to be, as all JSON: deliver it again."
        raise InputError(msg) from error
    return objects(text.removeprefix("\ufeff"), file)


def _can_become(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether values of a type can be another's at all: a number is no day."""
    if found in (wanted, pl.Null) or wanted == pl.String:
        return True
    return (found.is_numeric() and wanted.is_numeric()) or (found.is_temporal() and wanted.is_temporal())


def _rejects(layout: Layout) -> bool:
    return getattr(layout, "bad_rows", "refuse") == "reject"


def _refuse_names(names: Collection[str], file: str, taken: Collection[str]) -> None:
    both = sorted(set(names) & set(taken))
    if both:
        msg = f"`{file}` has the columns {both}, which its name or the metadata are to say. Call those otherwise."
        raise InputError(msg)
    if FILE in names or ROW in names:
        raise InputError(f"`{file}` has a column whose name holds a null sign. Rename it.")
