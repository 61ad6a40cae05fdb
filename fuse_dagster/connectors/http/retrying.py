"""When a question is asked again, and how long to wait before.

`Retry-After` is that of RFC 9110, 10.2.3: seconds, or a date.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same question may be answered later."""

_BROKEN = frozenset({"host", "time", "cut"})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on, and with which pauses.

    Attributes:
        seconds: Since the first try of a question, after which none is begun; 0 for one try.
        first: Seconds of the first pause at the most; each is twice as long as the one before it.
        longest: Seconds of a pause at the most, where the server doesn't name one.
        chance: A number between 0 and 1 by which a pause is shortened, so that clients don't come back together.
        today: The time of this machine, UTC, by which dates are read where an answer has none of its own.
    """

    seconds: float = 60.0
    first: float = 0.5
    longest: float = 30.0
    chance: Callable[[], float] = field(default=random.SystemRandom().random)
    today: Callable[[], datetime] = field(default=_now)

    def pause(self, tries: int, headers: Mapping[str, str] | None = None) -> float:
        """Seconds to wait after so many tries: those that the server asks for, else growing ones.

        Args:
            tries: Tries so far, from 1.
            headers: Of the answer, by names in small letters; None where there was none.
        """
        asked = self.asked(headers) if headers else None
        if asked is not None:
            return asked
        most = min(self.longest, self.first * 2.0 ** min(tries - 1, 30))
        return most * (0.5 + self.chance() / 2)

    def asked(self, headers: Mapping[str, str]) -> float | None:
        """Seconds that `Retry-After` names; None where it names none that can be read."""
        said = headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit():
            return float(said) if len(said) < 10 else 1e9
        try:
            then = parsedate_to_datetime(said)
            # The server's own clock counts, where it is told: ours may differ.
            theirs = headers.get("date")
            now = parsedate_to_datetime(theirs) if theirs else self.today()
            return max(0.0, (then - now).total_seconds())
        except (ValueError, TypeError):
            return None


def may_go_again(kind: str | int, *, repeatable: bool, arrived: bool = True) -> bool:
    """Whether a question may be asked once more.

    Args:
        kind: A status, or what broke the connection.
        repeatable: Whether it may arrive twice.
        arrived: Whether it may have arrived already.
    """
    if not (repeatable or not arrived):
        return False
    return kind in BUSY or kind in _BROKEN
