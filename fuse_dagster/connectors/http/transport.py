"""One request over the wire and its whole answer: pools, proxies, TLS and time limits, by urllib3."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from fuse_dagster import secrets
from fuse_dagster.connectors.http.messages import Answer, BrokenError, Request
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    import urllib3

_PIECE = 2**16
_WHOLE = 10
"""How many times `timeout` an answer may take from its first byte to its last."""


class Transport:
    """Sends requests, each on a connection that is kept for the next one.

    Args:
        timeout: Seconds to wait for a connection, for an answer to begin, and between two pieces of it. A whole answer
            may take ten times as long.
        connections: How many are kept to one host.
        ca_file: Certificates of the authorities to trust; "" for those that this machine trusts.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        connections: int = 8,
        ca_file: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout, self._connections, self._ca_file, self._clock = timeout, connections, ca_file, clock
        self._pools: dict[tuple[bool, str], urllib3.PoolManager] = {}
        self._lock = Lock()
        logging.getLogger("urllib3.connectionpool").addFilter(_without_secrets)

    def send(self, request: Request) -> Answer:
        """Send a request as it is, and read the answer whole; redirects are answers.

        Raises:
            BrokenError: There was no whole answer.
            ConfigError: The file of authorities can't be read.
        """
        import urllib3

        pool, began = self._pool(request.url), self._clock()
        try:
            answer = pool.request(
                request.method,
                request.url,
                headers={"User-Agent": "fuse-dagster", "Accept-Encoding": "gzip, deflate", **request.headers},
                body=request.body,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, UnicodeError, ValueError) as error:
            raise _broken(error) from None
        try:
            body = self._read(answer, request, began)
        except urllib3.exceptions.HTTPError as error:
            answer.close()
            raise _broken(error, reading=True) from None
        except BaseException:
            answer.close()  # half an answer must not be taken for the beginning of the next one
            raise
        answer.release_conn()
        headers = {name.lower(): ", ".join(answer.headers.getlist(name)) for name in answer.headers}
        return Answer(status=answer.status, headers=headers, body=body, url=request.url)

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            pools, self._pools = [*self._pools.values()], {}
        for pool in pools:
            pool.clear()

    def _read(self, answer: urllib3.BaseHTTPResponse, request: Request, began: float) -> bytes:
        pieces, size = [], 0
        into = request.into if 200 <= answer.status < 300 else None
        if into is not None:
            into.seek(0)
            into.truncate()
        while piece := answer.read1(_PIECE, decode_content=request.decoded):  # as it comes: the clock is looked at
            if into is None:
                pieces.append(piece)
            else:
                into.write(piece)
            size += len(piece)
            if size > request.most:
                raise BrokenError("large", arrived=True)
            if self._clock() - began > _WHOLE * self._timeout:
                raise BrokenError("time", arrived=True)
        return b"".join(pieces)

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        secure, proxy = url.lower().startswith("https:"), _proxy(url)
        with self._lock:
            if (secure, proxy) not in self._pools:
                # Reading all authorities takes a while, which only TLS is worth.
                context = self._context() if secure or proxy.startswith("https:") else None
                self._pools[secure, proxy] = (
                    _through(proxy, context, self._connections)
                    if proxy
                    else urllib3.PoolManager(ssl_context=context, maxsize=self._connections)
                )
            return self._pools[secure, proxy]

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ValueError):
            msg = f"`{self._ca_file}` can't be read as certificates. Valid: a file in PEM form. Check `ca_file`."
            raise ConfigError(msg) from None


def _proxy(url: str) -> str:
    """The proxy that the environment names for an address; "" for none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy_bypass(f"{host}:{parts.port}" if parts.port else host) or proxy_bypass(host):
        return ""
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _without_secrets(record: logging.LogRecord) -> bool:
    """Let a line of urllib3's log pass, which holds whole addresses, without the secrets in them."""
    if isinstance(record.args, tuple):
        record.args = tuple(secrets.scrub(arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _through(proxy: str, context: ssl.SSLContext | None, connections: int) -> urllib3.ProxyManager:
    """Connections through a proxy, whose user and password may stand in its address."""
    import urllib3

    said = urlsplit(proxy)
    login = f"{unquote(said.username)}:{unquote(said.password or '')}" if said.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    bare = said._replace(netloc=said.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(bare, proxy_headers=headers, ssl_context=context, maxsize=connections)


def _broken(error: Exception, *, reading: bool = False) -> BrokenError:
    """What happened, by the classes that urllib3 and the standard library raise."""
    from urllib3 import exceptions as theirs

    chain = _causes(error)
    before: list[tuple[str, bool]] = [
        ("proxy", isinstance(error, theirs.ProxyError | theirs.ProxySchemeUnknown)),
        ("certificate", any(isinstance(one, ssl.SSLCertVerificationError) for one in chain)),
        ("scheme", any(isinstance(one, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(one) for one in chain)),
        ("host", isinstance(error, theirs.NewConnectionError)),
        ("time", isinstance(error, theirs.ConnectTimeoutError)),
        ("address", isinstance(error, theirs.LocationValueError | UnicodeError)),
    ]
    for kind, holds in before:
        if holds:
            return BrokenError(kind, arrived=False)
    if isinstance(error, theirs.TimeoutError):
        return BrokenError("time", arrived=True)
    return BrokenError("cut" if reading else "host", arrived=True)


def _causes(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 8:
        chain.append(inner)
    return chain + [one for each in chain for one in each.args if isinstance(one, BaseException)]
