"""A landing folder as a source: declared once, read by every load from what its ledger has not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl

from fuse_dagster.connectors.base import CanDelete, CanList, CanMove, CanRead, CanWrite
from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.files.fixed_width import FixedWidth
from fuse_dagster.engines.local.files.opening import Layout
from fuse_dagster.engines.local.files.packing import Bound
from fuse_dagster.engines.local.files.texts import PLAIN, Forms
from fuse_dagster.engines.local.files.types import type_text, types_of
from fuse_dagster.ingest.landing.arriving import UNFINISHED, sorted_out
from fuse_dagster.ingest.landing.collecting import no_search_for_cycles
from fuse_dagster.ingest.landing.loaded import METADATA
from fuse_dagster.ingest.landing.naming import NamePattern, glob_regex
from fuse_dagster.ingest.landing.reading import LandingReading
from fuse_dagster.ingest.landing.scratch import Scratch
from fuse_dagster.ingest.source import Ledger, Position


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingFiles:
    """The files of a folder, of which each content is loaded once.

    Attributes:
        connector: Where the folder is; any connector that lists and reads files.
        folder: The folder below its root; all of it by default.
        include: Patterns of names below the folder: `*` stops at slashes, `**/` stands for folders.
        exclude: Those that are left out.
        name: What names say in columns, as `{carrier}_{day:%Y%m%d}.csv`. A file that says it otherwise is broken.
        layout: How the rows are laid out; by default as each name's ending tells.
        types: Column -> type, as polars or text. Others are told from the values of all new files, without loss.
        forms: How numbers and times are written in text.
        metadata: Facts of the file in columns: `path`, `member`, `size`, `modified`, `hash`, `row`.
        settle: Seconds that a file must have been left alone; 0 where whole files appear at once.
        unfinished: What names of files end in that are still being written.
        marker: The file that says that another is complete, as `{name}.done`, or `_SUCCESS` for a whole folder.
        same_name: A name that was loaded brings new content: `load` it as any other, `refuse` the file, or `replace`:
            load it by a mode that replaces the rows of its path, as `Overwrite(replace_keys=["_file_path"])`.
        after: What becomes of a file once its rows are committed: `keep`, `move` to `done`, or `delete`.
        unique_names: Names never come again. Say so where `after` moves or deletes files of a store that can't rename,
            as object stores: between the last look and the deletion, new content under a name would be lost there.
        done: The folder for loaded files, below `folder`.
        failed: The folder for broken ones, where they are moved with `after="move"`; else they stay.
        order: `name` or `modified`: which files come first.
        most_files: Files per load; the next load takes the others.
        most_bytes: Bytes of files per load, as they lie there; one file is always taken.
        parallel: How many are read at a time.
        bound: How much a compressed file may hold.
        clock: Says the time, UTC.

    Raises:
        ConfigError: Something of it can't be, or the connector can't do what is asked.

    Examples:
        >>> from fuse_dagster import Local
        >>> LandingFiles(connector=Local(root="/data/landing"), folder="flights", include=("*.csv",)).identity
        'files:/data/landing/flights'
    """

    connector: Any
    folder: str = ""
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    name: str = ""
    layout: Layout | None = None
    types: Mapping[str, Any] = field(default_factory=dict)
    forms: Forms = PLAIN
    metadata: tuple[str, ...] = ()
    settle: float = 3.0
    unfinished: tuple[str, ...] = UNFINISHED
    marker: str = ""
    same_name: Literal["load", "refuse", "replace"] = "load"
    after: Literal["keep", "move", "delete"] = "keep"
    unique_names: bool = False
    done: str = "_done"
    failed: str = "_failed"
    order: Literal["name", "modified"] = "name"
    most_files: int = 1_000_000
    most_bytes: int = 2**40
    parallel: int = 4
    bound: Bound = field(default_factory=Bound)
    clock: Any = _now

    def __post_init__(self) -> None:
        """Refuse what can't be, all at once."""
        problems = [*self._wrong_choices(), *self._wrong_needs(), *self._wrong_columns()]
        if problems:
            msg = "This landing folder can't be loaded:"
            raise ConfigError("\n- ".join([msg, *problems]))

    @property
    def identity(self) -> str:
        """What the folder is known by in the table that takes its rows."""
        place = str(getattr(self.connector, "place", type(self.connector).__name__)).rstrip("/")
        return f"files:{place}/{self.folder.strip('/')}".rstrip("/")

    @property
    def pattern(self) -> NamePattern | None:
        """What names say, if anything."""
        return NamePattern(self.name) if self.name else None

    @property
    def declared(self) -> dict[str, pl.DataType]:
        """Column -> type, of what is declared."""
        own = self.layout.types if isinstance(self.layout, FixedWidth) else {}
        return {**own, **types_of(self.types)}

    @property
    def fingerprint(self) -> str:
        """Tells one way of reading files from another: a broken file is tried again where it differs."""
        types = {name: type_text(dtype) for name, dtype in self.declared.items()}
        said = repr((self.layout, sorted(types.items(), key=str), self.forms, self.name, self.bound, self.same_name))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[LandingReading]:
        """Read the files that the ledger has not seen; leaving the context removes what was kept of them.

        Args:
            since: Where the last load ended that landed; None for the first load and a full refresh.
            ledger: The contents that were loaded before; None for a full refresh, which reads those in `done`, too.

        Yields:
            The reading. All files are read before it gives its first rows, of which this machine's disk keeps what is
            more than 32 MB.

        Raises:
            InputError: `since` is not a position of a landing folder.
            ConfigError: It is to be read from its start, and deletes what it has loaded.
            StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
        """
        if since is not None and "modified" not in since.value:
            msg = f"`{since.said}` is no position of `{self.identity}`. Load it once by `full_refresh=True`."
            raise InputError(msg)
        if ledger is None and self.after == "delete":
            msg = (
                f"`{self.identity}` deletes files once they are loaded: to read it from its start would lose their "
                'rows. Nothing was read. Take `after="move"`, which keeps them.'
            )
            raise ConfigError(msg)
        with no_search_for_cycles():
            found = sorted_out(self, list(self.connector.list(self.folder)), self.clock(), again=ledger is None)
        with closing(Scratch()) as scratch:
            yield LandingReading(self, found, since, ledger, scratch)

    def _wrong_choices(self) -> Iterator[str]:
        choices = {
            "same_name": ("load", "refuse", "replace"),
            "after": ("keep", "move", "delete"),
            "order": ("name", "modified"),
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                yield f"`{name}` is `{getattr(self, name)}`. {did_you_mean(str(getattr(self, name)), valid)}"
        for name in ("most_files", "most_bytes", "parallel"):
            if getattr(self, name) < 1:
                yield f"`{name}` is {getattr(self, name)}. Valid: from 1 on."
        if self.settle < 0:
            yield f"`settle` is {self.settle}. Valid: seconds, from 0 on."
        for name in ("include", "exclude", "unfinished", "metadata"):
            if type(getattr(self, name)) is str:
                yield f"`{name}` is text. Give a tuple: `({getattr(self, name)!r},)`."
        for one in self.metadata:
            if one not in METADATA:
                yield f"`metadata` has `{one}`. {did_you_mean(one, METADATA)}"

    def _wrong_needs(self) -> Iterator[str]:
        kind = type(self.connector).__name__
        if not (isinstance(self.connector, CanList) and isinstance(self.connector, CanRead)):
            yield f"`connector` is `{kind}`, which does not list and read files. `fuse connectors list` names others."
        moves = isinstance(self.connector, CanMove) or (
            isinstance(self.connector, CanWrite) and isinstance(self.connector, CanDelete)
        )
        if self.after == "move" and not moves:
            yield f'`after` is `move`, and `{kind}` does not move files. Take `after="keep"`: the ledger knows them.'
        if self.after == "delete" and not isinstance(self.connector, CanDelete):
            yield f'`after` is `delete`, and `{kind}` does not delete files. Take `after="keep"`.'
        if self.after != "keep" and moves and not isinstance(self.connector, CanMove) and not self.unique_names:
            yield (
                f"`after` is `{self.after}`, and `{kind}` can't rename files: what is written under the same name in "
                'that moment would be lost. Say `unique_names=True` where no name comes again, or take `after="keep"`.'
            )
        if self.same_name == "replace" and "path" not in self.metadata:
            yield '`same_name` is `replace`, which needs the path in a column. Add `metadata=("path",)`.'
        if self.after == "move" and not (self.done.strip("/") and self.failed.strip("/")):
            yield "`after` is `move`, and `done` or `failed` is empty. Name a folder for each."

    def _wrong_columns(self) -> Iterator[str]:
        try:
            declared = dict(self.declared)
            named = self.pattern.types if self.pattern else {}
            for pattern in (*self.include, *self.exclude):
                glob_regex(pattern)
        except ConfigError as error:
            yield str(error)
            return
        both = sorted(set(declared) & set(named))
        if both:
            yield f"{both} are columns of the files and of their names. Rename them in `name`."
        if self.marker.replace("{name}", "").count("{"):
            yield f"`marker` is `{self.marker}`. Valid: a name, in which `{{name}}` stands for the file's."
