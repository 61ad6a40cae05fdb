"""A source by what a connection can do: a table or query, an endpoint, a topic, or a landing folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import polars as pl

from fuse_dagster.app.values import span
from fuse_dagster.connectors.base import CanList, CanRead, CanReadRows
from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.streams.broker import Broker
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.ingest import TableSource, Window
from fuse_dagster.tables import Overwrite, WriteMode, slices

if TYPE_CHECKING:
    from fuse_dagster.connectors.base import Connector
    from fuse_dagster.ingest import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be read, as text.

    Attributes:
        cursor: The column that grows; "" where none was named.
        lag: How far below the watermark late rows may appear; "" for not at all.
        query: A question of the other side's own language, in place of a table.
        options: Field of the source -> value.
    """

    cursor: str = ""
    lag: str = ""
    query: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class HasEndpoints(Protocol):
    """Rows are had from endpoints, which are declared by name."""

    @property
    def endpoints(self) -> Mapping[str, Any]:
        """What is declared."""


def source_of(connector: Connector, name: str, asked: Asked) -> Source:
    """What a load reads of a connection.

    Args:
        connector: The connection.
        name: A table, an endpoint, a topic or a folder; of a `query` the name that its position is known by.
        asked: How.

    Raises:
        ConfigError: The connection holds nothing that can be loaded, or options do not fit what it holds.
    """
    if isinstance(connector, Database):
        return _table(connector, name, asked)
    if asked.query:
        msg = f"A `{connector.type}` is not asked by a query here. Name what is loaded, and leave `--query` out."
        raise ConfigError(msg)
    if isinstance(connector, HasEndpoints):
        return _endpoint(connector, name, asked)
    for given, option in ((asked.cursor, "--cursor"), (asked.lag, "--lag")):
        if given:
            what = "offsets" if isinstance(connector, Broker) else "the contents of files"
            msg = f"`{option}` is for rows with a cursor; a `{connector.type}` is loaded by {what}. Leave it out."
            raise ConfigError(msg)
    if isinstance(connector, Broker):
        from fuse_dagster.ingest.topics import TopicMessages

        return TopicMessages(broker=connector, topic=name, **_fields(asked.options, _TOPIC))
    if isinstance(connector, CanList) and isinstance(connector, CanRead) and not isinstance(connector, CanReadRows):
        from fuse_dagster.ingest.landing import LandingFiles

        folder = "" if name == "." else name
        return LandingFiles(connector=connector, folder=folder, **_fields(asked.options, _FILES))
    msg = (
        f"A `{connector.type}` can't be loaded by what is new: it is no database, no API with endpoints, no broker, "
        "and holds no files. `fuse connectors list` says what each can do."
    )
    raise ConfigError(msg)


def window_of(source: Source, said: Sequence[str]) -> tuple[Source, slices.Slice]:
    """Parts of a source, and the slice of the table that they are.

    Args:
        source: The whole.
        said: As `2024-01-01..2024-02-01`: the first value of the cursor that belongs, and the first that does not.

    Raises:
        ConfigError: The source can't be read by parts, or what was said is no window of its cursor.
    """
    if not isinstance(source, TableSource):
        hint = " Name ranges of offsets by `-o only=0:100-200`." if hasattr(source, "topic") else ""
        msg = f"`--window` is for a database, whose cursor says what lies in it; `{source.identity}` has none.{hint}"
        raise ConfigError(msg)
    schema = source.schema()
    if source.cursor not in schema:
        msg = f"`{source.identity}` has no column `{source.cursor}`. {did_you_mean(source.cursor, schema)}"
        raise ConfigError(msg)
    windows = [_window(text, source.cursor, schema[source.cursor]) for text in said]
    part = tuple((slices.Window(source.cursor, one.start, one.end),) for one in windows)
    return source.within_any(*windows), slices.Slice(part)


def mode_in(mode: WriteMode, part: slices.Slice | None) -> WriteMode:
    """The mode that takes a part: an overwrite replaces that part only."""
    if part is None or not isinstance(mode, Overwrite):
        return mode
    return replace(mode, where=part)


def _table(database: Database, name: str, asked: Asked) -> TableSource:
    said = _fields(asked.options, _TABLE)
    if not asked.cursor:
        msg = f"`{name}` is loaded by a column that grows. Name it by `--cursor`, as `--cursor updated_at`."
        raise ConfigError(msg)
    what = {"query": asked.query, "name": name} if asked.query else {"table": name}
    return TableSource(database=database, cursor=asked.cursor, lag=_lag(asked.lag, "--lag"), **{**what, **said})


def _endpoint(api: Any, name: str, asked: Asked) -> Source:
    from fuse_dagster.ingest.endpoints import EndpointSource

    said = _fields(asked.options, _ENDPOINT)
    if not asked.cursor or "since" not in said:
        msg = (
            f"`{name}` is loaded by a column that grows and a parameter that asks for what is new. Name both, as "
            "`--cursor updated_at -o since=updated_since`."
        )
        raise ConfigError(msg)
    if name not in api.endpoints:
        msg = f"`{api.place}` has no endpoint `{name}`. {did_you_mean(name, api.endpoints)}"
        raise ConfigError(msg)
    return EndpointSource(api=api, endpoint=name, cursor=asked.cursor, lag=_lag(asked.lag, "--lag"), **said)


def _fields(said: Mapping[str, str], valid: Mapping[str, Callable[[str, str], Any]]) -> dict[str, Any]:
    """Options as the fields that they are.

    Raises:
        ConfigError: There is no such field, or the text is no value of it.
    """
    unknown = [name for name in said if name not in valid]
    if unknown:
        msg = f"The source has no option `{unknown[0]}`. {did_you_mean(unknown[0], valid)}"
        raise ConfigError(msg)
    return {name: valid[name](text, f"-o {name}") for name, text in said.items()}


def _text(text: str, option: str) -> str:
    del option
    return text


def _listed(text: str, option: str) -> tuple[str, ...]:
    del option
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _number(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"`{option}` takes a whole number; this is `{text}`."
        raise ConfigError(msg) from None


def _count(text: str, option: str) -> int | None:
    return None if text == "none" else _number(text, option)


def _seconds(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"`{option}` takes seconds, as 3.5; this is `{text}`."
        raise ConfigError(msg) from None


def _choice(text: str, option: str, *, valid: Sequence[str]) -> str:
    if text not in valid:
        msg = f"`{option}` is `{text}`. {did_you_mean(text, valid)}"
        raise ConfigError(msg)
    return text


def _yes(text: str, option: str) -> bool:
    return _choice(text, option, valid=("true", "false")) == "true"


def _span(text: str, option: str) -> dt.timedelta | None:
    if text == "none":
        return None
    found = span(text)
    if found is None:
        msg = f"`{option}` takes a number and us, ms, s, m, h or d, as 5m, or none; this is `{text}`."
        raise ConfigError(msg)
    return found


def _lag(text: str, option: str) -> dt.timedelta | int | Decimal | None:
    if not text:
        return None
    found = span(text)
    if found is not None:
        return found
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        msg = f"`{option}` takes a time, as 5m, 2h or 1d, or for cursors that are numbers a number; this is `{text}`."
        raise ConfigError(msg)
    return int(number) if number == number.to_integral_value() else number


def _start(text: str, option: str) -> str | dt.datetime:
    if text in {"earliest", "latest"}:
        return text
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        msg = f"`{option}` is `{text}`. Valid: earliest, latest, or a moment, as 2024-06-01T00:00:00Z."
        raise ConfigError(msg) from None


_TABLE: Mapping[str, Callable[[str, str], Any]] = {
    "columns": _listed, "keys": _listed, "reread": _lag, "null_cursor": _text, "timezone": _text, "ahead": _span,
    "name": _text, "moved_from": _text,
}  # fmt: skip
_ENDPOINT: Mapping[str, Callable[[str, str], Any]] = {
    "since": _text, "until": _text, "first": _text, "keys": _listed, "ahead": _span, "name": _text,
    "format": partial(_choice, valid=("iso", "date", "epoch_seconds", "epoch_milliseconds")),
}  # fmt: skip
_TOPIC: Mapping[str, Callable[[str, str], Any]] = {
    "value": _text, "key": _text, "key_column": _text, "envelope": _text, "headers": _yes, "start": _start,
    "on_gap": _text, "only": _text, "max_messages": _count, "max_bytes": _count, "group": _text, "name": _text,
}  # fmt: skip
_FILES: Mapping[str, Callable[[str, str], Any]] = {
    "include": _listed, "exclude": _listed, "name": _text, "metadata": _listed, "settle": _seconds, "marker": _text,
    "same_name": _text, "after": _text, "done": _text, "failed": _text, "order": _text, "most_files": _number,
    "most_bytes": _number, "parallel": _number,
}  # fmt: skip


def _window(text: str, cursor: str, dtype: pl.DataType) -> Window:
    start, dots, end = text.partition("..")
    if not dots or not start or not end:
        msg = f"`--window` takes two values of the cursor, as 2024-01-01..2024-02-01; this is `{text}`."
        raise ConfigError(msg)
    found = Window(start=_bound(start.strip(), cursor, dtype), end=_bound(end.strip(), cursor, dtype))
    if not found.start < found.end:
        msg = f"`--window` is `{text}`, which ends where it begins, or before. The end is the first value outside."
        raise ConfigError(msg)
    return found


def _bound(text: str, cursor: str, dtype: pl.DataType) -> Any:
    """A value of the cursor's type.

    Raises:
        ConfigError: The text is none.
    """
    try:
        if dtype.is_integer():
            return int(text)
        if isinstance(dtype, pl.Decimal):
            return Decimal(text)
        if dtype == pl.Date:
            return dt.date.fromisoformat(text)
        if isinstance(dtype, pl.Datetime):
            return _moment(text, zoned=dtype.time_zone is not None)
    except ConfigError:
        raise
    except (ValueError, InvalidOperation):
        msg = f"`{text}` is no value of the cursor `{cursor}`, which is {str(dtype).lower()}."
        raise ConfigError(msg) from None
    msg = f"The cursor `{cursor}` is {str(dtype).lower()}, of which no window can be said here: use a number or a time."
    raise ConfigError(msg)


def _moment(text: str, *, zoned: bool) -> dt.datetime:
    at = dt.datetime.fromisoformat(text)
    if not zoned:
        if at.tzinfo is not None:
            msg = f"`{text}` has a zone, and the cursor is a time without one. Leave it out."
            raise ConfigError(msg)
        return at
    if at.tzinfo is None and len(text) > len("2024-06-01"):
        msg = f"`{text}` has no zone, and the cursor has one. Add it, as in 2024-06-01T12:00:00Z."
        raise ConfigError(msg)
    return at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)
