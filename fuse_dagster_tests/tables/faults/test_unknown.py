"""Commits whose answer is lost on the way: the server has them, and the writer must find that out, not repeat them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuse_dagster.core.errors import FuseError, OutcomeUnknownError, Transient
from fuse_dagster_tests.servers.proxy import FaultyProxy, faulty_proxy
from fuse_dagster_tests.servers.s3 import S3Server
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_whole

# delta-rs asks again for up to three minutes by default; what is proven here does not depend on how long.
IMPATIENT = {"retry_timeout": "2s", "connect_timeout": "2s", "timeout": "5s"}


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def through(s3: S3Server, s3_place: Place, proxy: FaultyProxy) -> Place:
    """The same place as `s3_place`, by way of the proxy."""
    return Place(s3_place.uri, {**s3.options(port=proxy.port), **IMPATIENT})


CASES = [(name, first) for name in FEEDS for first in (0, 3)]


@pytest.mark.parametrize(("name", "first"), CASES)
def test_a_commit_whose_answer_is_lost_lands_once(
    name: str, first: int, s3_place: Place, through: Place, proxy: FaultyProxy
) -> None:
    feed = FEEDS[name]
    for number in range(first):
        s3_place.apply(feed, number)
    proxy.lose_next()
    result = through.apply(feed, first)
    assert proxy.happened == 1
    assert feed.found(s3_place.rows()) == feed.expected(range(first + 1))
    check_whole(s3_place)
    assert result.version == first == s3_place.version()


@pytest.mark.parametrize("name", list(FEEDS))
def test_a_commit_that_cannot_be_looked_up_is_reported_as_unknown(
    name: str, s3_place: Place, through: Place, proxy: FaultyProxy
) -> None:
    feed = FEEDS[name]
    s3_place.apply(feed, 0)
    proxy.lose_next(then_gone=True)
    with pytest.raises(OutcomeUnknownError, match="look for `") as caught:
        through.apply(feed, 1)
    assert not isinstance(caught.value, Transient), "a retry policy must not repeat it"
    wanted = str(caught.value).split("look for `")[1].split("`")[0]
    proxy.come_back()
    (found,) = [e["version"] for e in s3_place.opened().history() if wanted in e.values()]
    assert found == 1 == s3_place.version()
    assert feed.found(s3_place.rows()) == feed.expected([0, 1])
    if name != "appends":
        assert through.apply(feed, 1).version is None, "run again, it finds that all is there"


@pytest.mark.parametrize("name", list(FEEDS))
def test_an_unreachable_server_is_no_missing_table(
    name: str, s3_place: Place, through: Place, proxy: FaultyProxy
) -> None:
    feed = FEEDS[name]
    s3_place.apply(feed, 0)
    before = s3_place.digests()
    proxy.go_away()
    with pytest.raises(FuseError):
        through.apply(feed, 1)
    assert s3_place.digests() == before


@pytest.mark.parametrize("name", ["snapshots", "upserts"])
def test_the_number_of_retries_may_be_chosen(name: str, s3: S3Server, s3_place: Place) -> None:
    place = Place(s3_place.uri, {**s3.options(), "max_retries": "2"})
    place.apply(FEEDS[name], 0)
    place.apply(FEEDS[name], 1)
