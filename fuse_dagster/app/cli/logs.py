"""Log lines on stderr: for a person, or one JSON object each."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from enum import StrEnum

from fuse_dagster.app.hiding import hidden


class LogFormat(StrEnum):
    """How a log line is written."""

    HUMAN = "human"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up(layout: LogFormat, level: LogLevel) -> None:
    """Send the log lines of this process to stderr, in place of wherever they went.

    Args:
        layout: `human`: time, level, logger, message. `json`: an object per line with the same.
        level: The lowest level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if layout is LogFormat.JSON else _Human())
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)


class _Human(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write a line for a person, with a traceback below it."""
        at = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
        said = f"{at:%H:%M:%S}Z {record.levelname:<7} {record.name}: {record.getMessage()}"
        if record.exc_info:
            said += "\n" + self.formatException(record.exc_info)
        return hidden(said)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write one object."""
        said = {
            "time": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hidden(record.getMessage()),
        }
        if record.exc_info:
            said["traceback"] = hidden(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False)
