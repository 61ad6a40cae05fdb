"""Talking to Qdrant: an open client, asked again where that can help, with its failures in our words."""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from fuse_dagster.connectors.vectors.failures import AGAIN, kind_of, retry_after, worded
from fuse_dagster.core.errors import ConfigError, FuseError, MissingExtraError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")
logger = logging.getLogger(__name__)

MEMORY = ":memory:"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(slots=True, kw_only=True)
class Session:
    """An open client, and how it is asked.

    Attributes:
        client: Of Qdrant's own library.
        place: The address, for messages.
        checks: Kind of failure -> what to look at, in the fields of the connector.
        local: Whether there is no server.
        patience: Seconds for which what fails is tried again.
        renew: Gives a client with secrets that are resolved anew; None where there are none to resolve.
    """

    client: QdrantClient
    place: str
    checks: Mapping[str, str] = field(repr=False)
    local: bool
    patience: float
    renew: Callable[[], QdrantClient | None] = field(default=lambda: None, repr=False)

    def ask(self, question: Callable[[QdrantClient], T], *, of: str = "", again: bool = True) -> T:
        """Ask, and ask again after growing, jittered pauses where that can help.

        Args:
            question: It may be asked several times, because it changes nothing, or the same thing.
            of: The collection that it is about.
            again: Whether it may be asked again.

        Raises:
            FuseError: What the server, or the way to it, refuses.
        """
        began, pause, renewed = time.monotonic(), _FIRST_PAUSE, False
        while True:
            try:
                return question(self.client)
            except FuseError:
                raise
            except Exception as error:  # noqa: BLE001 - raised again, worded
                kind = kind_of(error, local=self.local)
                if kind == "credentials" and not renewed and (client := self.renew()) is not None:
                    self.client, renewed = client, True
                    continue
                wait = max(pause * random.SystemRandom().uniform(0.5, 1.5), retry_after(error))
                left = self.patience - (time.monotonic() - began)
                if not again or kind not in AGAIN or wait > left:
                    raise self.worded(error, of) from None
            logger.info("%s: %s; asking again in %.2f s", self.place, kind, wait)
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def worded(self, error: BaseException, of: str = "") -> FuseError:
        """The error to raise instead; where a collection is absent, it names those that are there."""
        hint = ""
        if of and kind_of(error, local=self.local) == "absent":
            try:
                named = {one.alias_name: one.collection_name for one in self.client.get_aliases().aliases}
                found = {one.name for one in self.client.get_collections().collections} - set(named.values())
                hint = did_you_mean(of, found | set(named))
            except Exception:
                # The message is complete without a hint, and what failed here would hide what failed first.
                logger.debug("%s doesn't say what it holds", self.place, exc_info=True)
        return worded(error, self.place, self.checks, local=self.local, what=of, hint=hint)


def client_class() -> type[QdrantClient]:
    """Qdrant's client.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from qdrant_client import QdrantClient
    except ModuleNotFoundError as error:
        msg = f'Qdrant needs the package `{error.name}`. Install it with: pip install "fuse-dagster[qdrant]"'
        raise MissingExtraError(msg) from error
    return QdrantClient


@contextmanager
def server_client(**settings: Any) -> Iterator[QdrantClient]:
    """A client of a server, closed afterwards."""
    kind = client_class()
    with warnings.catch_warnings():
        # It warns of a key over plain HTTP, which the connector allows only where someone says so.
        warnings.simplefilter("ignore", UserWarning)
        client = kind(check_compatibility=False, **settings)
    try:
        yield client
    finally:
        client.close()


def trusted(url: str, file: str) -> Any:
    """Which certificates are trusted: those of a file, or what the client trusts by itself.

    Raises:
        ConfigError: The file can't be read as certificates.
    """
    if url.startswith("http://"):
        return False  # there are none to look at, and loading the authorities takes time
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ConfigError(f"`ca_file` is `{file}`, which can't be read as certificates in PEM. Correct it.") from error


_lock = threading.RLock()
_open: dict[str, tuple[QdrantClient, int]] = {}


@contextmanager
def local_client(path: str) -> Iterator[QdrantClient]:
    """A client of a folder, which this process shares; of memory, it stays until the process ends.

    Args:
        path: An absolute path; or a name that begins with `:memory:`.

    Raises:
        RuntimeError: Another process uses the folder.
    """
    kind, memory = client_class(), path.startswith(MEMORY)
    with _lock:
        client, users = _open.get(path) or (_made(kind, path, memory=memory), 0)
        _open[path] = client, users + 1
    try:
        yield client
    finally:
        with _lock:
            client, users = _open[path]
            _open[path] = client, users - 1
            if users == 1 and not memory:
                del _open[path]
                client.close()


def _made(kind: type[QdrantClient], path: str, *, memory: bool) -> QdrantClient:
    return kind(location=MEMORY) if memory else kind(path=path, force_disable_check_same_thread=True)
