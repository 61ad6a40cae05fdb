"""What a proxy before a server can do to a request, and what it says of those that came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COMMIT = r"PUT /\S*/_delta_log/\d{20}\.json"
"""How a request begins that commits to a Delta table."""

Kind = Literal["reset", "half sent", "refused", "late", "lost", "half answered", "trickled", "silent", "held"]
"""What happens to a request.

`reset`: the connection breaks before the server hears of it. `half sent`: the server gets half of what is sent.
`refused`: the proxy answers in the server's place, with a status. `late`: the answer waits. `lost`: the server does
what is asked, and its answer never comes. `half answered`: half of the answer comes. `trickled`: it begins byte by
byte. `silent`: the server does not hear of it, and nothing is answered. `held`: the server hears of it when the test
lets it go.
"""


@dataclass(frozen=True)
class Fault:
    """What is to happen, and to which requests.

    Attributes:
        kind: What happens.
        request: Expression that the first line of a request has to match.
        times: How many requests it happens to.
        status: Of what is `refused`.
        retry_after: Seconds after which a client that is `refused` is told to come back.
        seconds: How long `late` waits, and `trickled` between two bytes.
        share: The part of matching requests that it happens to, by chance.
        then: What happens afterwards, instead of all that was ordered.
    """

    kind: Kind
    request: str = ""
    times: int = 1
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.5
    share: float = 1.0
    then: Fault | None = None


GONE = Fault("reset", times=1_000_000)
"""A server that can't be reached."""


@dataclass(frozen=True)
class Seen:
    """A request that came by.

    Attributes:
        at: When, in seconds of a clock that only grows.
        line: Method and address, with `%2F` read as a slash and so on.
        only_new: Whether it asks for nothing to be replaced.
        fault: What happened to it; "" for nothing.
    """

    at: float
    line: str
    only_new: bool
    fault: str = ""
