"""The landing sensor: a file with new content becomes a partition and a run, once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo.jobs import load_release
from fuse_dagster.definitions.demo.landing import AIRPORTS, Feed, Landing, sha256
from fuse_dagster.definitions.demo.partitions import RELEASES

FILE_HASH = "landing/file_hash"
"""Tag of every run that loads a file: which bytes it loaded."""

PARTITION = "dagster/partition"
"""Tag that Dagster gives every run of one partition."""

FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

QUIET = timedelta(seconds=3)
"""How long a file must have been left alone before it counts as complete. A careful supplier renames a finished file
into place; this is for the others."""

UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A complete file that belongs to the feed, or one that is left alone for now.

    Attributes:
        entry: The file.
        part: Partition key in its name; None where it is left alone.
        reason: Why it is left alone; empty where it is not.
    """

    entry: Entry
    part: str | None = None
    reason: str = ""

    @property
    def stamp(self) -> str:
        """Size and time of modification: tells a file seen before without reading it."""
        return f"{self.entry.size} {self.entry.modified.isoformat()}"


def arrivals(landing: Landing, feed: Feed, known: Mapping[str, str], *, now: datetime) -> Iterator[Arrival]:
    """Look at the files of a feed.

    Args:
        landing: Where the files lie.
        feed: Which folder, which names.
        known: Path to stamp, of the files dealt with before.
        now: The time, UTC.

    Yields:
        What has arrived complete since, and what is left alone and why.
    """
    for entry in landing.list(feed.folder):
        part = feed.part_of(entry)
        name = entry.path.rpartition("/")[2]
        if name.startswith(".") or name.endswith(UNFINISHED):
            yield Arrival(entry=entry, reason="its name says that it is still being written")
        elif part is None:
            yield Arrival(entry=entry, reason=f"its name does not follow `{feed.example}`")
        elif now - entry.modified < QUIET:
            yield Arrival(entry=entry, reason=f"it changed less than {QUIET.seconds} seconds ago and may still grow")
        else:
            arrival = Arrival(entry=entry, part=part)
            if known.get(entry.path) != arrival.stamp:
                yield arrival


@dg.sensor(
    name="new_airport_release",
    job=load_release,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition and launches its run when an airports file lands or changes; not for a mere touch.",
)
def new_airport_release(context: dg.SensorEvaluationContext, landing: Local) -> dg.SensorResult:
    """Request one run per delivery, named by its partition, content and time."""
    known: dict[str, str] = json.loads(context.cursor or "{}")
    requests: list[dg.RunRequest] = []
    reasons: list[str] = []
    for found in arrivals(landing, AIRPORTS, known, now=datetime.now(UTC)):
        if found.part is None:
            reasons.append(f"`{found.entry.path}` is skipped: {found.reason}.")
            continue
        known[found.entry.path] = found.stamp
        with landing.open(found.entry.path) as file:
            digest = sha256(file.read())
        newest = _newest_run(context.instance, found.part)
        if newest is not None and _loads(newest, digest):
            reasons.append(f"`{found.entry.path}` is skipped: the newest run of its partition has loaded these bytes.")
            continue
        # Dagster launches one run per key, ever: without the run before it, content that comes back would stay away.
        run_key = f"{found.part}:{digest}:{found.entry.modified.isoformat()}:{newest.run_id if newest else 'first'}"
        requests.append(dg.RunRequest(run_key=run_key, partition_key=found.part, tags=file_tags(digest)))
    for reason in reasons:
        context.log.info(reason)
    new = [request.partition_key for request in requests if request.partition_key is not None]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " ".join(reasons) or f"Nothing new in `{AIRPORTS.folder}`.",
        dynamic_partitions_requests=[RELEASES.build_add_request(new)] if new else [],
        cursor=json.dumps(known),
    )


def file_tags(digest: str) -> dict[str, str]:
    """Return the tag for a run that loads a file with this SHA-256; a tag's value has at most 63 characters."""
    return {FILE_HASH: digest[:63]}


def _newest_run(instance: dg.DagsterInstance, part: str) -> dg.DagsterRun | None:
    """The newest run of a partition, launched by whomever."""
    records = instance.get_run_records(dg.RunsFilter(tags={PARTITION: part}), limit=1)
    return records[0].dagster_run if records else None


def _loads(run: dg.DagsterRun, digest: str) -> bool:
    """Whether a run is for these bytes and has not failed."""
    return run.tags.get(FILE_HASH) == digest[:63] and run.status not in FAILED
