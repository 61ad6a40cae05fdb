"""Facts with the versions that held at their times, in Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.core.errors import TimeValueError
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.reading.asking import Fitted, PointInTime, Question, early_error, fit, require
from fuse_dagster.tables.history.reading.searching import broken_error
from fuse_dagster.tables.history.reading.versions import Versions
from fuse_dagster.tables.samples import KNOWN, samples
from fuse_dagster.tables.spark.reading.searching import (
    BROKEN,
    FACT,
    GIVEN,
    LOST,
    Line,
    checked,
    facts_of,
    field,
    lay,
    versions_on,
)
from fuse_dagster.tables.spark.reading.times import Placed, placed
from fuse_dagster.tables.spark.reading.versions import opened, refuse_taken_in_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SHOWN = 3
_MEMBER = "__fuse_member"


def join(
    session: SparkSession, facts: Any, history: Versions | DataFrame, asked: Question
) -> PointInTime[DataFrame]:  # fmt: skip
    """Give each fact the version that held at its time.

    Args:
        session: The session that joins.
        facts: A Spark DataFrame, or any frame that `write` takes.
        history: URI or path of a history, or a frame of its versions, of Spark or not.
        asked: What is asked.

    Returns:
        The facts in no particular order with the history's columns, not yet computed, and the counts.

    Raises:
        FuseError: As `point_in_time`.
    """
    rows = to_spark(session, facts)
    schema = from_spark(rows.limit(0)).schema
    require(asked, list(schema))
    own = asked.own
    versions = opened(session, history, times=(own.valid_from, own.valid_to), keys=asked.keys)
    fitted = fit(asked, schema, versions.schema, called=versions.called)
    times = placed(rows, asked.at, schema[asked.at], asked.timezone)
    if fitted.member is not None and asked.says_the_key:
        refuse_taken_in_spark(versions, fitted.member, asked.keys)
    ordered = checked(versions.frame, fitted.pairs, own)
    line = lay(facts_of(rows, fitted.pairs, times), versions_on(ordered, fitted.pairs, list(fitted.renamed)))
    counts = _counts(line)
    _refuse_lost(rows, times, asked, counts["lost"])
    if counts["broken"]:
        columns = dict.fromkeys([*asked.keys, own.valid_from, own.valid_to])
        shown = from_spark(ordered.filter(BROKEN).select(*map(quoted, columns)).limit(_SHOWN))
        raise broken_error(shown, called=versions.called, of=counts["broken"])
    if asked.before_first == "error" and counts["early"]:
        shown = _early(line, asked, rows.columns)
        raise early_error(shown, early=counts["early"], facts=counts["facts"])
    frame = _given(line, rows, fitted, earliest=asked.before_first == "earliest")
    total, matched, early = counts["facts"], counts["matched"], counts["early"]
    return PointInTime(frame, total, matched, early, total - matched - early)


def _counts(line: Line) -> Mapping[str, int]:
    """All that is counted and checked, by one job that reads keys and times only."""
    from pyspark.sql import functions as f

    asked = {
        "facts": line.is_fact,
        "matched": line.held,
        "early": line.early,
        "broken": f.col(BROKEN),
        "lost": f.col(LOST),
    }
    return from_spark(line.frame.agg(*(f.count_if(met).alias(name) for name, met in asked.items()))).row(0, named=True)


def _refuse_lost(facts: DataFrame, times: Placed, asked: Question, lost: int) -> None:
    if lost:
        shown = from_spark(facts.filter(times.lost).limit(_SHOWN))
        raise TimeValueError(
            f"`at` `{asked.at}` happens twice or never in `{asked.timezone or 'UTC'}`, where the clock is changed "
            f"then, in {lost} rows: {samples(shown, of=lost)}; make it aware in the input"
        )


def _early(line: Line, asked: Question, facts: list[str]) -> pl.DataFrame:
    from pyspark.sql import functions as f

    shown = [field(FACT, facts.index(name)).alias(name) for name in dict.fromkeys([*asked.matches, asked.at])]
    first = f.timestamp_micros(line.first).alias(KNOWN + asked.own.valid_from)
    return from_spark(line.frame.filter(line.early).select(*shown, first).limit(_SHOWN))


def _given(line: Line, facts: DataFrame, fitted: Fitted, *, earliest: bool) -> DataFrame:
    from pyspark.sql import functions as f

    found = line.held | line.early if earliest else line.held
    rows = line.frame.filter(line.is_fact)
    values = [f.when(found, field(GIVEN, number)) for number in range(len(fitted.renamed))]
    if fitted.member is not None:
        rows = rows.crossJoin(f.broadcast(_packed_member(facts.sparkSession, fitted)))
        values = [value.otherwise(field(_MEMBER, number)) for number, value in enumerate(values)]
    return rows.select(
        *(field(FACT, number).alias(name) for number, name in enumerate(facts.columns)),
        *(value.alias(name) for value, name in zip(values, fitted.renamed.values(), strict=True)),
    )


def _packed_member(session: SparkSession, fitted: Fitted) -> DataFrame:
    from pyspark.sql import functions as f

    assert fitted.member is not None
    row = to_spark(session, fitted.member.select(list(fitted.renamed)))
    return row.toDF(*(f"c{n}" for n in range(len(fitted.renamed)))).select(f.struct("*").alias(_MEMBER))
