"""Checkpoints, log cleanup and vacuum: what a table needs survives them, and what others did does not hide in them."""

from __future__ import annotations

import pytest
from deltalake import write_deltalake

from fuse_dagster.core.errors import TableStateError
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_whole
from fuse_dagster_tests.tables.faults.test_storage import check_goes_on, check_untouched, fill

COUNT = 12


def clean(place: Place) -> None:
    """Forget all of the log but the newest state, and remove every file that it does not name."""
    table = place.opened()
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    table.create_checkpoint()
    table.cleanup_metadata()
    assert not [path for path in place.paths() if path.endswith(f"_delta_log/{0:020d}.json")]
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)


@pytest.mark.parametrize("name", list(FEEDS))
def test_a_table_lives_without_its_past(place: Place, name: str) -> None:
    feed = FEEDS[name]
    fill(place, name, COUNT)
    clean(place)
    assert feed.found(place.rows()) == feed.expected(range(COUNT))
    if name != "appends":
        assert place.apply(feed, COUNT - 1).version is None
    check_goes_on(place, name, COUNT)
    clean(place)
    check_goes_on(place, name, COUNT + 1)
    check_whole(place)


@pytest.mark.parametrize("name", ["snapshots", "changes"])
def test_what_others_did_does_not_hide_behind_a_cleaned_log(place: Place, name: str) -> None:
    fill(place, name, COUNT)
    rows, table = place.rows(), place.opened()
    key = rows["k"][0]
    table.delete(f"k = {key}")
    write_deltalake(table, rows.filter(k=key), mode="append")
    assert place.rows().height == rows.height
    clean(place)
    before = place.digests()
    with pytest.raises(TableStateError, match="changed by others"):
        place.apply(FEEDS[name], COUNT)
    check_untouched(place, before)
