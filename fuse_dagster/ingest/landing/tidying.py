"""What becomes of files whose rows are committed: again and again the same, until it is done."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.base import CanMove, Entry
from fuse_dagster.core.errors import FuseError, first_line
from fuse_dagster.ingest.landing.arriving import aside, below, is_aside, is_done, marker_of

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

logger = logging.getLogger(__name__)

_AT_ONCE = 1000
_PART = 2**20

Known = Callable[[Sequence[tuple[Entry, str]]], set[str]]
"""Takes files as they were listed with the SHA-256 of their bytes, and gives the paths of those that have landed."""


def put_away(source: LandingFiles, finished: Sequence[Entry], broken: Sequence[Entry], known: Known) -> None:
    """Move or delete files, as the source says; those that are no longer what was read stay.

    A file goes only after its content is in the ledger: one that a crash leaves behind is known by its content, and put
    away by the next load. Its marker goes first, so that it can't stand for a file of the same name that comes later.

    Args:
        source: What becomes of them, and where to.
        finished: Files whose content is loaded.
        broken: Files that can't be.
        known: Tells the contents that have landed.

    Raises:
        FuseError: The store refuses for one of them; the others are done.
    """
    if source.after == "keep":
        return
    there = {entry.path: entry for entry in source.connector.list(source.folder)}

    def as_read(entries: Sequence[Entry]) -> list[Entry]:  # neither gone, nor written anew since it was read
        return [one for one in entries if there.get(one.path) == one and not is_done(source, one.path)]

    failures: list[str] = []
    if source.after == "delete":
        files = iter(as_read(finished))
        while some := list(islice(files, _AT_ONCE)):
            _delete(source, some, there, known, failures)
    else:
        moving = [(entry, source.done) for entry in as_read(finished)]
        moving += [(entry, source.failed) for entry in as_read(broken)]
        moved: dict[str, Entry] = {}
        for entry, place in moving:
            target = _target(source, entry, place, there)
            if _tried(partial(_move, source, entry, target, there), entry, failures):
                moved[target] = entry
        _bring_back(source, moved)
    if failures:
        msg = f"{len(failures):,} files are where they were, as {'; '.join(failures[:3])}. The next load tries again."
        raise FuseError(msg)


def _tried(step: Callable[[], object], entry: Entry, failures: list[str]) -> bool:
    try:
        step()
    except (FuseError, OSError) as error:
        failures.append(f"`{entry.path}`: {first_line(error)}")
        return False
    return True


def _delete(
    source: LandingFiles, entries: Iterable[Entry], there: dict[str, Entry], known: Known, failures: list[str]
) -> None:
    """Delete files: where the store renames, what lies under a name that nobody else writes, and is known."""
    connector: Any = source.connector
    if not isinstance(connector, CanMove):
        for entry in entries:
            _tried(partial(_delete_plainly, source, entry, there), entry, failures)
        return
    held: list[tuple[Entry, str, str]] = []

    def hold(entry: Entry) -> None:
        _drop_marker(source, entry, there)
        place = entry.path if is_aside(entry.path) else aside(entry.path)
        if place != entry.path:
            connector.move(entry.path, place)
        held.append((entry, place, _digest(connector, place)))

    for entry in entries:
        _tried(partial(hold, entry), entry, failures)
    landed = known([(entry, digest) for entry, _, digest in held])
    for entry, place, _ in held:
        if entry.path in landed:
            _tried(partial(source.connector.delete, place), entry, failures)
        else:
            logger.warning("`%s` changed while it was to be deleted, and waits as `%s` to be loaded", entry.path, place)


def _delete_plainly(source: LandingFiles, entry: Entry, there: dict[str, Entry]) -> None:
    _drop_marker(source, entry, there)
    source.connector.delete(entry.path)


def _digest(connector: Any, path: str) -> str:
    found = hashlib.sha256()
    with connector.open(path) as stream:
        while part := stream.read(_PART):
            found.update(part)
    return found.hexdigest()


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
        place = aside(entry.path)  # its own name may be taken by now
        logger.warning("`%s` changed while it was put away, and is back as `%s`", entry.path, place)
        connector.move(target, place)


def _drop_marker(source: LandingFiles, entry: Entry, there: dict[str, Entry]) -> None:
    if "{name}" in source.marker and marker_of(source, entry.path) in there:
        source.connector.delete(marker_of(source, entry.path))


def _target(source: LandingFiles, entry: Entry, place: str, there: dict[str, Entry]) -> str:
    """The name in the folder for what is done; one that other content has already is never taken."""
    folder = "/".join(part for part in (source.folder.strip("/"), place.strip("/")) if part)
    target = f"{folder}/{below(source, entry.path)}"
    if target not in there:
        return target
    start, dot, ending = target.rpartition("/")[2].partition(".")
    stamp = f"{entry.modified:%Y%m%dT%H%M%S%f}"
    return f"{target.rpartition('/')[0]}/{start}~{stamp}{dot}{ending}"


def _move(source: LandingFiles, entry: Entry, target: str, there: dict[str, Entry]) -> None:
    connector: Any = source.connector
    _drop_marker(source, entry, there)
    if isinstance(connector, CanMove):
        connector.move(entry.path, target)
        return
    with connector.open(entry.path) as stream:
        connector.write(target, stream)
    connector.delete(entry.path)
