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

    def close(self) -> None:
        """Read the answer to its end, where there is still a connection that it comes by."""
        if not getattr(self.connection, "open", True):
            self.leave()
        super().close()

    __del__ = close
