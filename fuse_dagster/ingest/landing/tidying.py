"""What becomes of files whose rows are committed: again and again the same, until it is done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.base import CanMove, Entry
from fuse_dagster.core.errors import FuseError, first_line
from fuse_dagster.ingest.landing.arriving import below, is_done, marker_of

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

logger = logging.getLogger(__name__)


def put_away(source: LandingFiles, finished: Sequence[Entry], broken: Sequence[Entry]) -> None:
    """Move or delete files, as the source says; those that are no longer what was read stay.

    A file goes only after its content is in the ledger: one that a crash leaves behind is known by its content, and put
    away by the next load. Its marker goes first, so that it can't stand for a file of the same name that comes later.

    Args:
        source: What becomes of them, and where to.
        finished: Files whose content is loaded.
        broken: Files that can't be.

    Raises:
        FuseError: The store refuses for one of them; the others are done.
    """
    if source.after == "keep":
        return
    there = {entry.path: entry for entry in source.connector.list(source.folder)}
    failures, moved = [], {}
    moving = [(entry, source.done) for entry in finished]
    moving += [(entry, source.failed) for entry in broken] if source.after == "move" else []
    for entry, place in moving:
        if there.get(entry.path) != entry or is_done(
            source, entry.path
        ):  # gone already, or written anew since it was read
            continue
        try:
            moved[_put_one(source, entry, place, there)] = entry
        except (FuseError, OSError) as error:
            failures.append(f"`{entry.path}`: {first_line(error)}")
    if source.after == "move":
        _bring_back(source, moved)
    if failures:
        msg = f"{len(failures):,} files are where they were, as {'; '.join(failures[:3])}. The next load tries again."
        raise FuseError(msg)


def _bring_back(source: LandingFiles, moved: dict[str, Entry]) -> None:
    """Files that somebody wrote anew between the look and the move come back: nobody has loaded those."""
    connector: Any = source.connector
    if not moved or not isinstance(connector, CanMove):
        return
    there = {entry.path: entry for entry in source.connector.list(source.folder)}
    for target, entry in moved.items():
        found = there.get(target)
        if found is None or (found.size, found.modified) == (entry.size, entry.modified):
            continue
        place = entry.path
        if place in there:
            start, dot, ending = place.rpartition("/")[2].partition(".")
            place = f"{place.rpartition('/')[0]}/{start}~{found.modified:%Y%m%dT%H%M%S%f}{dot}{ending}".lstrip("/")
        logger.warning("`%s` changed while it was put away, and is back as `%s`", entry.path, place)
        connector.move(target, place)


def _put_one(source: LandingFiles, entry: Entry, place: str, there: dict[str, Entry]) -> str:
    """Put one file away, and say where it is now."""
    connector = source.connector
    if "{name}" in source.marker and marker_of(source, entry.path) in there:
        connector.delete(marker_of(source, entry.path))
    if source.after == "delete":
        connector.delete(entry.path)
        return entry.path
    target = _target(source, entry, place, there)
    _move(connector, entry, target)
    return target


def _target(source: LandingFiles, entry: Entry, place: str, there: dict[str, Entry]) -> str:
    """The name in the folder for what is done; one that other content has already is never taken."""
    folder = "/".join(part for part in (source.folder.strip("/"), place.strip("/")) if part)
    target = f"{folder}/{below(source, entry.path)}"
    if target not in there:
        return target
    start, dot, ending = target.rpartition("/")[2].partition(".")
    stamp = f"{entry.modified:%Y%m%dT%H%M%S%f}"
    return f"{target.rpartition('/')[0]}/{start}~{stamp}{dot}{ending}"


def _move(connector: Any, entry: Entry, target: str) -> None:
    if isinstance(connector, CanMove):
        connector.move(entry.path, target)
        return
    with connector.open(entry.path) as stream:
        connector.write(target, stream)
    connector.delete(entry.path)
