"""A cursor that reads an answer row by row, and can leave it before its end."""

from __future__ import annotations

from pymysql.cursors import SSCursor


class Rows(SSCursor):  # type: ignore[misc,unused-ignore]  # the driver ships no types
    """PyMySQL's unbuffered cursor, which reads an answer to its end when it is closed; this one may leave it."""

    def leave(self) -> None:
        """Let go of an answer of which there is more; the connection has to be closed then."""
        result = self._result
        if result is not None:
            result.unbuffered_active = False
        self.connection = None
