from __future__ import annotations

from fuse_dagster.core.naming import did_you_mean, listing


def test_the_nearest_name_comes_first() -> None:
    assert did_you_mean("icoa", ["iata", "icao"]) == "Did you mean `icao`? Valid: `iata`, `icao`."


def test_a_far_name_lists_what_is_valid() -> None:
    assert did_you_mean("zzz", ["iata", "icao"]) == "Valid: `iata`, `icao`."


def test_a_long_list_is_cut_and_counted() -> None:
    assert listing(range(22)).endswith("`19` and 2 more")
    assert listing([]) == "(none)"
