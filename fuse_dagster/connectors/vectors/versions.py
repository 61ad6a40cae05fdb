"""The collections behind an alias: one is filled while another is read, and then takes its place."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.vectors import collections as there
from fuse_dagster.core.errors import FuseError

if TYPE_CHECKING:
    from fuse_dagster.connectors.vectors.opening import Session

VERSION = re.compile(r"(?P<name>.+)--(?:0|(?P<made>\d{8}T\d{6}Z)-[0-9a-f]{8})")
"""What the collections behind an alias are called: the first one, and those that were put in its place."""
_LEFT = timedelta(days=1)
_MADE = "%Y%m%dT%H%M%SZ"

logger = logging.getLogger(__name__)


def first_version(name: str) -> str:
    """What the first collection behind an alias is called: the same for all who make it at once."""
    return f"{name}--0"


def new_version(name: str) -> str:
    """What a collection is called that is to take the place of another one."""
    return f"{name}--{datetime.now(UTC).strftime(_MADE)}-{uuid.uuid4().hex[:8]}"


def switch(session: Session, name: str, to: str) -> None:
    """Let an alias stand for another collection, in one step; asked twice, it is the same."""
    from qdrant_client import models

    made = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=to, alias_name=name))
    gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
    old = name in there.aliases(session)
    steps: list[Any] = [gone, made] if old else [made]
    session.ask(lambda client: client.update_collection_aliases(steps), of=name)


def drop_quietly(session: Session, name: str, *, unless_named: str) -> None:
    """Drop a collection that nobody reads any more; where that fails, the next overwrite does it."""
    try:
        if there.aliases(session).get(unless_named) != name:
            session.ask(lambda client: client.delete_collection(name), of=name)
    except FuseError as error:
        logger.warning("The collection `%s` is left over, and the next overwrite removes it: %s", name, error)


def left_over(name: str, every: Sequence[str], named: Mapping[str, str]) -> Iterator[str]:
    """Versions that a write of long ago left behind; younger ones may still be filled by another process."""
    oldest = datetime.now(UTC) - _LEFT
    for each in every:
        found = VERSION.fullmatch(each)
        if found is None or found["name"] != name or each in named.values() or not found["made"]:
            continue
        if datetime.strptime(found["made"], _MADE).replace(tzinfo=UTC) < oldest:
            yield each


def drop(session: Session, name: str) -> bool:
    """Remove a collection, or an alias with the collection behind it; whether there was one."""
    target = there.aliases(session).get(name, name)
    if target not in there.collections(session):
        return False
    session.ask(lambda client: client.delete_collection(target), of=name)
    return True
