"""A fake of SQL Server's ODBC driver, which can't run here: it takes down what it is told, and has answers ready.

Written from pyodbc's public API. It knows no SQL: what it is asked is checked by a parser, what it answers is what
Microsoft's documentation says of catalogue views and errors.
"""

from __future__ import annotations

from typing import Any


class LoggedIn(Exception):  # noqa: N818 - no failure, but the end of what the fake can do
    """What the driver was told at a login.

    Attributes:
        text: The connection string.
        options: What stands beside it.
    """

    def __init__(self, text: str, options: dict[str, Any]) -> None:
        super().__init__("logged in")
        self.text, self.options = text, options


def log_in(text: str, **options: Any) -> None:
    """Stands for `pyodbc.connect`.

    Raises:
        LoggedIn: Always.
    """
    raise LoggedIn(text, options)


class Answers:
    """A connection, and its cursor, that has answers ready.

    Args:
        *answers: Rows of each question, in order.

    Attributes:
        asked: Text and values of each question.
    """

    def __init__(self, *answers: list[tuple[Any, ...]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def cursor(self) -> Answers:
        """Itself."""
        return self

    def execute(self, text: str, *values: Any) -> None:
        """Take the question down."""
        self.asked.append((text, values))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The next answer."""
        return self.answers.pop(0)

    def close(self) -> None:
        """Nothing."""


class Taking:
    """A connection, and its cursor, that takes down which rows it is handed.

    Attributes:
        text: The statement.
        rows: All that came.
        sizes: The types that they were said to be of; None where the driver was left alone with them.
        fast_executemany: Whether they go as arrays.
    """

    def __init__(self) -> None:
        self.text = ""
        self.rows: list[tuple[Any, ...]] = []
        self.sizes: list[tuple[int, int, int]] | None = None
        self.fast_executemany = False

    def cursor(self) -> Taking:
        """Itself."""
        return self

    def setinputsizes(self, sizes: list[tuple[int, int, int]] | None) -> None:
        """Take the types down."""
        self.sizes = sizes

    def executemany(self, text: str, rows: list[tuple[Any, ...]]) -> None:
        """Take rows down."""
        self.text = text
        self.rows += rows

    def close(self) -> None:
        """Nothing."""
