"""The memory of a history, as maintenance meets it: carried on, so that no commit of ours looks like another's."""

from __future__ import annotations

import logging

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.tables.commit import APP_ID, LostRaceError, attempts
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.foreign import refuse_foreign_changes
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.swapping import mark
from fuse_dagster.tables.view import TableView, open_view

logger = logging.getLogger(__name__)


def is_history(view: TableView) -> bool:
    """Whether a history was written to a table."""
    return view.exists and view.table.transaction_version(APP_ID) is not None


def in_step(view: TableView) -> Manifest:
    """What a history remembers, if that fits its rows.

    Raises:
        TableStateError: Its memory is gone, or somebody else changed rows since.
    """
    manifest = store.read_manifest(view, view.table.transaction_version(APP_ID) or 0)
    refuse_foreign_changes(view, manifest)
    return manifest


def catch_up(view: TableView) -> TableView:
    """Bring the memory of a history to its newest version, where only harmless commits came since.

    The log proves that they are harmless, and a cleanup takes its entries away. A history that nothing is written to
    would then look as if somebody had changed it.

    Args:
        view: The opened table; one that is no history is left alone.

    Returns:
        The table as it is then.
    """
    for _ in attempts(view.uri):
        if not is_history(view):
            return view
        try:
            manifest = in_step(view)
        except TableStateError as error:
            # The next write says so and stops; until then its files and log can be looked after all the same.
            logger.warning("the memory of %s stays behind: %s", view.uri, error)
            return view
        if manifest.version == view.version:
            return view
        try:
            with store.remembered(view, manifest, facts=None, rows_total=manifest.rows_total) as ticket:
                mark(view, ticket=ticket)
        except LostRaceError:
            logger.info("somebody wrote to %s meanwhile", view.uri)
        view = open_view(view.uri, view.storage_options)
    raise AssertionError("attempts() ends by raising")
