"""Asking a server: signed for its own host only, at its pace, and again where that may help."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from threading import BoundedSemaphore, Event

from fuse_dagster.connectors.http.failures import broken, refused
from fuse_dagster.connectors.http.login import Login, Nobody, Signature
from fuse_dagster.connectors.http.messages import Answer, BrokenError, Request
from fuse_dagster.connectors.http.pacing import Pace
from fuse_dagster.connectors.http.retrying import BUSY, Patience, may_go_again
from fuse_dagster.connectors.http.transport import Transport
from fuse_dagster.connectors.http.urls import origin, refuse_other_host, resolved, shown, with_query
from fuse_dagster.core.errors import FuseError, StoreError, StoreUnavailableError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5

logger = logging.getLogger(__name__)


class Client:
    """Asks one server, from any thread.

    Args:
        base: Its address: credentials go to its origin (scheme, host and port), and nowhere else.
        transport: Sends one request.
        login: Makes the credentials.
        headers: What is sent with every request to this origin.
        patience: How long what fails is tried again.
        pace: When requests may begin.
        concurrency: Requests at a time.
        allowed_hosts: Other hosts that answers may lead to, as `files.example.com`; without credentials.
        check: What to look at where credentials are refused, in the fields of the connector.
    """

    def __init__(
        self,
        base: str,
        *,
        transport: Transport,
        login: Login | None = None,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        pace: Pace | None = None,
        concurrency: int = 4,
        allowed_hosts: Collection[str] = (),
        check: str = "",
    ) -> None:
        self.base = base
        self._transport, self._login, self._headers = transport, login or Nobody(), dict(headers or {})
        self._patience, self._pace = patience or Patience(), pace or Pace()
        self._slots = BoundedSemaphore(concurrency)
        self._allowed, self._check = tuple(allowed_hosts), check

    def send(self, request: Request, *, given_up: Event | None = None) -> Answer:
        """Ask, and ask again while the server is busy or the line breaks, as long as patience lasts.

        Args:
            request: The question; to the origin of `base`, or to a host that is allowed.
            given_up: Set by who does not need the answer any more: no pause is waited out then.

        Returns:
            An answer of status 2xx, or of one that the request accepts.

        Raises:
            ConfigError: The address is of another host.
            CredentialsError: 401 and 403, also after the credentials were renewed once.
            NotThereError: 404 and 410.
            StoreError: Another refusal.
            StoreUnavailableError: It can't be reached, or is busy, for too long.
        """
        refuse_other_host(request.url, self.base, self._allowed)
        began, tries, renewed = self._pace.now(), 0, False
        while True:
            tries += 1
            self._pace.wait(given_up)
            signature = self._signature(request.url)
            try:
                answer = self._followed(request, signature)
            except BrokenError as error:
                kind: str | int = error.kind
                again = may_go_again(kind, repeatable=request.repeatable, arrived=error.arrived)
                failure = self._failure(error, request, signature, self._tried(tries, began))
                pause = self._patience.pause(tries)
            else:
                if 200 <= answer.status < 300 or answer.status in request.accept:
                    return answer
                if answer.status == 401 and not renewed and self._login.renew(signature):
                    renewed = True
                    continue
                kind = answer.status
                again = may_go_again(kind, repeatable=request.repeatable)
                failure = self._failure(answer, request, signature, self._tried(tries, began))
                pause = self._patience.pause(tries, answer.headers)
                if answer.status in BUSY and self._patience.asked(answer.headers) is not None:
                    self._pace.hold(min(pause, self._patience.seconds))
            if not again or (given_up is not None and given_up.is_set()):
                raise failure
            if self._pace.now() - began + pause > self._patience.seconds:
                asked = self._patience.asked(answer.headers) if kind in BUSY else None
                raise _out_of_time(failure, asked, self._patience.seconds)
            place = shown(request.url, signature.parameters)
            logger.info("`%s` failed (%s); asking again in %.2f s (try %d)", place, kind, pause, tries)
            self._pace.pause(pause, given_up)

    def _signature(self, url: str) -> Signature:
        return self._login.sign() if origin(url) == origin(self.base) else Signature()

    def _followed(self, request: Request, signature: Signature) -> Answer:
        """The answer to a request, or what its redirects lead to."""
        for _ in range(_MOST_REDIRECTS + 1):
            at_home = origin(request.url) == origin(self.base)
            answer = self._sent(request, signature if at_home else Signature(), at_home=at_home)
            where = answer.headers.get("location")
            if answer.status not in _REDIRECTS or answer.status in request.accept or not where:
                return answer
            request = self._next(request, answer, resolved(request.url, where))
        msg = f"`{shown(self.base)}` redirects more than {_MOST_REDIRECTS} times. Check the address."
        raise StoreError(msg)

    def _next(self, request: Request, answer: Answer, url: str) -> Request:
        if request.method in {"GET", "HEAD"}:
            refuse_other_host(url, self.base, self._allowed)
            return replace(request, url=url)
        if answer.status in {307, 308}:
            refuse_other_host(url, self.base, ())  # what is sent along is for nobody else
            return replace(request, url=url)
        msg = (
            f"`{shown(request.url)}` redirects a {request.method} by status {answer.status}, which would make a GET of "
            f"it. Take the address that it leads to: `{shown(url)}`."
        )
        raise StoreError(msg)

    def _sent(self, request: Request, signature: Signature, *, at_home: bool) -> Answer:
        headers = {**(self._headers if at_home else {}), **_travelling(request, at_home=at_home), **signature.headers}
        signed = replace(request, url=with_query(request.url, signature.parameters), headers=headers)
        with self._slots:
            answer = self._transport.send(signed)
        return replace(answer, url=request.url)

    def _tried(self, tries: int, began: float) -> str:
        return f"It was tried {tries} times in {self._pace.now() - began:.0f} s." if tries > 1 else ""

    def _failure(self, what: Answer | BrokenError, request: Request, signature: Signature, tried: str) -> FuseError:
        place = shown(what.url if isinstance(what, Answer) else request.url, signature.parameters)
        if isinstance(what, BrokenError):
            return broken(what, place, tried=tried, repeatable=request.repeatable)
        check = self._check
        if origin(what.url) != origin(self.base):
            check = f"No credentials are sent there, as it is not `{shown(self.base)}`. Check `base_url`."
        hide = signature.secret
        return refused(what, place, hide=hide, tried=tried, check=check, repeatable=request.repeatable)


def _travelling(request: Request, *, at_home: bool) -> dict[str, str]:
    """The headers of a request that another host may see: what is wanted, and nothing of who wants it."""
    if at_home:
        return dict(request.headers)
    return {name: value for name, value in request.headers.items() if name.lower() in {"accept", "range", "if-range"}}


def _out_of_time(failure: FuseError, asked: float | None, seconds: float) -> FuseError:
    """The failure, with what the server asked for where there was no time for it."""
    if asked is None:
        return failure
    msg = f"{failure} The server asks to wait {asked:,.0f} s, and `retry_timeout` is {seconds:,.0f} s."
    return StoreUnavailableError(msg)


def asks_without_login(transport: Transport, patience: Patience, pace: Pace) -> Callable[[Request], Answer]:
    """A function that asks a server for tokens: again while it is busy, and whatever its answer is.

    Args:
        transport: Sends one request.
        patience: How long what fails is tried again.
        pace: The clock; its own, as tokens are no part of what a server limits.
    """

    def ask(request: Request) -> Answer:
        everything = frozenset(range(300, 600)) - BUSY
        client = Client(request.url, transport=transport, patience=patience, pace=pace, concurrency=1)
        return client.send(replace(request, accept=everything))

    return ask
