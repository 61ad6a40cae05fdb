"""Files into the spool: each whole or not at all; many small ones of JSON in one go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import InputError, first_line
from fuse_dagster.engines.local.files.casting import as_types
from fuse_dagster.engines.local.files.json_joined import read_joined
from fuse_dagster.engines.local.files.json_rows import frame_of, objects
from fuse_dagster.engines.local.files.layouts import ENDINGS, UNPACKED, Format, JsonOptions, NdjsonOptions
from fuse_dagster.engines.local.files.opening import Layout, is_text, layout_of, read_file_parts
from fuse_dagster.engines.local.files.packing import packed_as
from fuse_dagster.engines.local.files.parts import BadRow, Part
from fuse_dagster.engines.local.files.texts import typed
from fuse_dagster.engines.local.files.types import type_text
from fuse_dagster.ingest.landing.fetching import Fetched
from fuse_dagster.ingest.landing.scratch import Kept, Scratch
from fuse_dagster.ingest.landing.spool import FILE, MEMBER, ROW, Spool

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

_SMALL = 2**18
_TOGETHER = 20_000
_JOINED = 8 * 2**20
_JSON = (JsonOptions, NdjsonOptions)
_LINES = {Format.JSON: False, Format.NDJSON: True}
_PLAIN = b"{["

logger = logging.getLogger(__name__)


class Parser:
    """Reads files into a spool.

    Args:
        source: How they are laid out.
        scratch: For what is more than memory should hold.
        refuse: Takes the number of a file that turns out to be broken only later, and why.
        known: Column -> type, of loads before.
        taken: Names of columns that files must not have.
    """

    def __init__(
        self,
        source: LandingFiles,
        scratch: Scratch,
        refuse: Callable[[int, str], None],
        known: Mapping[str, pl.DataType],
        taken: Collection[str],
    ) -> None:
        self._source, self._refuse, self._taken = source, refuse, taken
        self._declared, self._layout = source.declared, source.layout
        self._joins = "member" not in source.metadata
        self._scratch = scratch
        self.spool = Spool(scratch, forms=source.forms, declared=self._declared, known=known)
        self._small: list[Fetched] = []
        self._numbers: list[int] = []
        self._size, self._by_lines = 0, False

    def parse(self, one: Fetched, number: int) -> list[BadRow]:
        """Read a file, and keep its rows.

        Args:
            one: The file.
            number: Its number among the files of this load.

        Returns:
            The rows that were taken out of it.

        Raises:
            InputError: It is broken; nothing of it is kept.
        """
        lines = self._lines(one)
        if lines is not None:
            if lines is not self._by_lines or len(self._small) >= _TOGETHER or self._size >= _JOINED:
                self.finish()
            self._by_lines = lines
            self._small.append(one)
            self._numbers.append(number)
            self._size += one.entry.size
            return []
        self.finish()
        drafts: list[tuple[pl.DataFrame | Kept, bool]] = []
        bad: list[BadRow] = []
        try:
            for part, found in self._parts(one):
                if not is_text(found) and not isinstance(found, _JSON):
                    self.spool.refuse(part.rows.schema, one.entry.path)
                bad += part.bad
                frame = part.rows.with_columns(pl.lit(number, pl.UInt32).alias(FILE), part.numbers.alias(ROW))
                if frame.width > 2:
                    drafts.append((frame if isinstance(one.data, bytes) else self._scratch.put(frame), is_text(found)))
        except InputError:
            first = next((draft for draft, _ in drafts if isinstance(draft, Kept)), None)
            if first is not None:
                self._scratch.forget_from(first)
            raise
        for draft, text in drafts:
            if isinstance(draft, Kept):
                self.spool.add(self._scratch.get(draft), text=text, stored=draft)
            else:
                self.spool.add(draft, text=text)
        return bad

    def finish(self) -> None:
        """Keep the rows of the small files; those that turn out to be broken are refused by their numbers."""
        small, numbers = self._small, self._numbers
        self._small, self._numbers, self._size = [], [], 0
        if not small:
            return
        joined = read_joined([_bytes(one) for one in small], lines=self._by_lines)
        try:
            if joined is not None:
                _refuse_names(joined[0].columns, small[0].entry.path, self._taken)
                self._keep(joined[0], numbers, joined[1], small[0].entry.path)
                return
        except (InputError, PolarsError):
            logger.debug("`%s` and %d others are read one by one", small[0].entry.path, len(small) - 1)
        self._finish_apart(small, numbers)

    def _finish_apart(self, small: Sequence[Fetched], numbers: Sequence[int]) -> None:
        """Keep the rows of small files that can't be read as one."""
        whole: list[tuple[int, str, list[dict[str, Any]]]] = []
        for one, number in zip(small, numbers, strict=True):
            path = one.entry.path
            try:
                rows = _objects(_bytes(one), path, lines=self._by_lines)
                _refuse_names({name for row in rows for name in row}, path, self._taken)
            except InputError as error:
                self._refuse(number, first_line(error))
                continue
            whole.append((number, path, rows))
        every = [row for _, _, rows in whole for row in rows]
        try:
            self._keep(frame_of(every), [number for number, _, _ in whole], [len(rows) for _, _, rows in whole], "")
        except (InputError, PolarsError):
            for number, path, rows in whole:
                try:
                    self._keep(frame_of(rows), [number], [len(rows)], path)
                except (InputError, PolarsError) as error:
                    self._refuse(number, f"`{path}` does not fit the declared types: {first_line(error)}.")

    def _keep(self, rows: pl.DataFrame, files: Sequence[int], counts: Sequence[int], path: str) -> None:
        if rows.is_empty():
            return
        numbers = [1] * rows.height
        if counts.count(1) < len(counts):
            files = [number for number, count in zip(files, counts, strict=True) for _ in range(count)]
            numbers = [row for count in counts for row in range(1, count + 1)]
        read = self._native(Part(rows, pl.Series(numbers, dtype=pl.Int64)), path)
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

    def _parts(self, one: Fetched) -> Iterator[tuple[Part, Layout]]:
        source, layout, path = self._source, self._layout, one.entry.path
        for member, part in read_file_parts(one.open, path, layout, types=self._declared, bound=source.bound):
            used = layout or layout_of(f"{path}/{member}" if member else path)
            _refuse_names(part.rows.columns, path, self._taken)
            if is_text(used):
                read = typed(part, self._declared, path, forms=source.forms, reject=_rejects(used))
            else:
                read = self._native(part, path)
            rows = read.rows
            if "member" in source.metadata:
                rows = rows.with_columns(pl.lit(member, pl.String).alias(MEMBER))
            yield Part(rows, read.numbers, read.bad), used

    def _lines(self, one: Fetched) -> bool | None:
        """Whether it is a small file of JSON that has to be an object a line; None where it is none."""
        data, name = one.data, one.entry.path
        if self._layout is None:
            kind = ENDINGS.get(name[name.rfind(".") :].lower())
        else:
            kind = None if name.lower().endswith(UNPACKED) else getattr(self._layout, "format", None)
        if kind not in _LINES or not self._joins or not isinstance(data, bytes) or len(data) > _SMALL:
            return None
        return _LINES[kind] if data[:1] in _PLAIN or packed_as(data[:8]) == "none" else None


def _bytes(one: Fetched) -> bytes:
    assert isinstance(one.data, bytes), "small files are in memory"
    return one.data


def _objects(data: bytes, file: str, *, lines: bool) -> list[dict[str, Any]]:
    """The objects of a small file."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        msg = f"`{file}` is no utf-8 at byte {error.start:,}. It has to be, as all JSON: deliver it again."
        raise InputError(msg) from error
    return objects(text.removeprefix("\ufeff"), file, lines=lines)


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
