"""A sensor for landing folders: complete new content launches a run, once."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fuse_dagster.connectors.base import Entry
from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import listing
from fuse_dagster.ingest.landing import LandingFiles, arrivals
from fuse_dagster.ingest.landing.arriving import below
from fuse_dagster.ingest.landing.fetching import Fetched, fetch

FILES = "fuse/landing_files"
"""Tag of a run that a sensor launches: how many files have arrived."""


def arrival_sensor(
    source: LandingFiles,
    *,
    name: str,
    partitions: dg.DynamicPartitionsDefinition | None = None,
    partition_by: str = "",
    most_files: int = 1000,
    minimum_interval_seconds: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    **target: Any,
) -> dg.SensorDefinition:
    """Launch a run for the files that have arrived since the last look: one for all, or one per partition.

    What has arrived is complete, as the source says it. Its content names the run (`run_key`), so that a file that is
    only touched, moved or delivered twice launches none. The run loads what the ledger has not seen, whatever launched
    it.

    Args:
        source: The landing folder.
        name: Of the sensor.
        partitions: Where each value of `partition_by` becomes a partition, with a run for each.
        partition_by: The column of the source's `name` pattern whose value is the partition's key.
        most_files: Files that one look takes up; they are read for their content.
        minimum_interval_seconds: Between two looks.
        default_status: Whether it runs without being switched on.
        **target: What is launched, as for `dagster.sensor`: `job=`, `asset_selection=`, `target=`.

    Raises:
        ConfigError: Partitions without a column of the name, or the other way round.
    """
    pattern = source.pattern
    fields = list(pattern.types) if pattern else []
    if (partitions is None) != (not partition_by) or (partition_by and partition_by not in fields):
        msg = f"`partition_by` is `{partition_by}`. Valid: with `partitions`, one of {listing(fields)}, of names."
        raise ConfigError(msg)

    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        known: dict[str, str] = json.loads(context.cursor or "{}")
        found = arrivals(source, now=datetime.now(UTC))
        present = {_short(entry.path): _stamp(entry) for entry in found.ready}
        fresh = [entry for entry in found.ready if known.get(_short(entry.path)) != _stamp(entry)][:most_files]
        reasons = [f"`{one.entry.path}` is left alone: {one.reason}." for one in found.waiting]
        taken = []
        for one in fetch(source.connector, fresh, parallel=source.parallel):
            one.forget()
            if one.digest:  # its bytes are not kept: memory holds a few files
                taken.append(Fetched(one.entry, one.digest, b""))
        requests = _per_partition(source, taken, partition_by, reasons) if partition_by else _for_all(taken)
        seen = {path: stamp for path, stamp in known.items() if path in present}
        seen |= {_short(one.entry.path): _stamp(one.entry) for one in taken}
        for reason in reasons:
            context.log.info(reason)
        keys = [request.partition_key for request in requests if request.partition_key is not None]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else " ".join(reasons[:20]) or f"Nothing new in `{source.identity}`.",
            dynamic_partitions_requests=[partitions.build_add_request(keys)] if partitions and keys else [],
            cursor=json.dumps(seen),
        )

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=look,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Launches a run when files land in `{source.identity}`, once for each content.",
        **target,
    )


def _for_all(taken: Sequence[Fetched]) -> list[dg.RunRequest]:
    if not taken:
        return []
    return [dg.RunRequest(run_key=_key(taken), tags={FILES: str(len(taken))})]


def _per_partition(
    source: LandingFiles, taken: Sequence[Fetched], column: str, reasons: list[str]
) -> list[dg.RunRequest]:
    pattern = source.pattern
    assert pattern is not None, "checked when the sensor was made"
    groups: dict[str, list[Fetched]] = {}
    for one in taken:
        try:
            groups.setdefault(str(pattern.read(below(source, one.entry.path))[column]), []).append(one)
        except InputError as error:
            reasons.append(str(error))
    return [
        dg.RunRequest(run_key=f"{key}:{_key(files)}", partition_key=key, tags={FILES: str(len(files))})
        for key, files in groups.items()
    ]


def _key(files: Sequence[Fetched]) -> str:
    return hashlib.sha256(" ".join(sorted({one.digest for one in files})).encode()).hexdigest()


def _short(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def _stamp(entry: Entry) -> str:
    return _short(f"{entry.size} {entry.modified.isoformat()} {entry.version}")
