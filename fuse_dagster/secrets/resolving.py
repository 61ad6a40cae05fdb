"""From a reference to its value: late, cached for a while in this process, and asked for once at a time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock

from fuse_dagster.core.errors import ConfigError, FuseError, MissingExtraError, SecretError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.core.registry import Registry
from fuse_dagster.secrets.masking import Known, known_scheme
from fuse_dagster.secrets.reference import SCHEME, Reference, parse, variable_of
from fuse_dagster.secrets.store import Store, unresolved
from fuse_dagster.secrets.stores import stores


class _Slot:
    """One reference's value. Its lock makes threads that want the same secret wait for one answer."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.value: str | None = None
        self.until = 0.0


class Resolver:
    """Resolves references and keeps their values for a while.

    Args:
        registry: Finds the store of a scheme.
        clock: Seconds that only grow.
    """

    def __init__(self, registry: Registry[Store] = stores, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._lock = RLock()
        self._slots: dict[str, _Slot] = {}
        self._used: dict[str, Store] = {}
        self._known = Known()

    def resolve(self, text: str) -> str:
        """See the function `resolve`."""
        variable = variable_of(text)
        if variable is not None:
            return self.resolve(self._value(parse(f"env://{variable}")))
        if not self._is_reference(text):
            self._known.add(text)
            return text
        with self._lock:
            slot = self._slots.setdefault(text, _Slot())
        with slot.lock:
            if slot.value is not None and self._clock() < slot.until:
                self._known.add(slot.value)  # it is in use, and so the last to be forgotten
                return slot.value
            reference = parse(text)
            value = self._value(reference)
            kept = reference.options.get("ttl")
            slot.until = self._clock() + (float(kept) if kept else self.store(reference.scheme).ttl)
            slot.value = value
            return value

    def forget(self, text: str) -> None:
        """See the function `forget`."""
        with self._lock:
            # An answer that is still on its way goes into the old slot, where nobody looks any more.
            self._slots.pop(text, None)

    def check(self, text: str) -> None:
        """See the function `check`."""
        if variable_of(text) is None and self._is_reference(text):
            reference = parse(text)
            self.store(reference.scheme).check(reference)

    def use(self, store: Store) -> None:
        """See the function `use`."""
        scheme = next((name for name in self._registry.names if self._is(store, name)), None)
        if scheme is None:
            msg = f"`{type(store).__name__}` is no registered store. Valid: {listing(self._registry.names)}."
            raise ConfigError(msg)
        with self._lock:
            before = self._used.get(scheme)
            if type(before) is type(store) and before.model_dump() == store.model_dump():
                return  # its values, and the token that it has fetched, stay good
            self._used[scheme] = store
            self._slots = {text: slot for text, slot in self._slots.items() if not text.startswith(f"{scheme}://")}

    def store(self, scheme: str) -> Store:
        """The store of a scheme: the one that `use` gave, else one with its defaults."""
        with self._lock:
            if scheme not in self._used:
                self._used[scheme] = self._registry.load(scheme)()
            return self._used[scheme]

    def scrub(self, text: str) -> str:
        """See the function `scrub`."""
        return self._known.scrub(text)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """See the function `apart`."""
        slots, known = self._slots.copy(), self._known
        self._known = known.copy()
        try:
            yield
        finally:
            self._slots, self._known = slots, known

    def start_anew(self) -> None:
        """Forget all values and locks, as a forked process must: a lock may be held by a thread that it hasn't got."""
        self._lock = RLock()
        self._slots = {}
        self._known = Known()

    def _is(self, store: Store, scheme: str) -> bool:
        try:
            return isinstance(store, self._registry.load(scheme))
        except MissingExtraError:  # of another package's store, which this one is not
            return False

    def _is_reference(self, text: str) -> bool:
        if known_scheme(text) is not None:
            return True
        found = SCHEME.match(text)
        if found:
            nearest = did_you_mean(found[1].lower(), self._registry.names)
            if nearest.startswith("Did"):
                msg = f"`{found[1]}://` is the scheme of no store of secrets. {nearest}"
                raise ConfigError(msg)
        return False

    def _value(self, reference: Reference) -> str:
        store = self.store(reference.scheme)
        store.check(reference)
        try:
            found = store.fetch(reference)
        except FuseError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again, without what it says
            # What an unforeseen error says is left out, with its causes: it may hold the value.
            msg = (
                f"`{reference}` can't be resolved: the store failed with `{type(error).__name__}`. "
                "Check its settings and permissions, and that its client is of a version that the extra allows."
            )
            raise SecretError(msg) from None
        value = _picked(reference, found)
        if not value:
            raise unresolved(reference, "its value is empty", "Set it, or name another.")
        self._known.add(value)
        return value


def _picked(reference: Reference, found: str | Mapping[str, object]) -> str:
    """The field that the reference names, of a secret with several; all of a secret that is one text."""
    if isinstance(found, str) and not reference.field:
        return found
    fields = _fields(found) if isinstance(found, str) else found
    if fields is None:
        what = f"its value is no JSON object, so it has no field `{reference.field}`"
        raise unresolved(reference, what, "Take the `#` and what follows it away, or store a JSON object.")
    if not reference.field:
        what = "the secret holds several fields and the reference names none"
        raise unresolved(reference, what, f"Add one after a `#`. Valid: {listing(sorted(fields))}.")
    if reference.field not in fields:
        what = f"the secret has no field `{reference.field}`"
        raise unresolved(reference, what, did_you_mean(reference.field, fields))
    value = fields[reference.field]
    return value if isinstance(value, str) else json.dumps(value)


def _fields(text: str) -> Mapping[str, object] | None:
    try:
        found = json.loads(text)
    except ValueError:  # which holds the whole text: it must not travel along
        return None
    return found if isinstance(found, dict) else None


_resolver = Resolver()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resolver.start_anew)


def is_reference(text: str) -> bool:
    """Say whether a text is a reference to a secret in a store that is installed.

    Examples:
        >>> is_reference("env://S3_KEY"), is_reference("s3://bucket"), is_reference("swordfish")
        (True, False, False)
    """
    return known_scheme(text) is not None


def resolve(text: str) -> str:
    """The value that the content of a secret field stands for. Call it where the value is needed, and don't keep it.

    Values are cached in this process for the store's `ttl` (300 seconds; the environment and files are read each
    time). Safe to call from any thread; threads that ask for one reference at a time share one answer.

    Args:
        text: A reference, a Dagster `EnvVar`, or any other text.

    Returns:
        The value behind a reference or variable; other text as it is.

    Raises:
        ConfigError: A reference that its store can't take, or a scheme that looks like a misspelt one.
        SecretError: The secret is absent, empty, or may not be read.
        SecretStoreError: The store does not answer.
        MissingExtraError: The store's client is not installed.
    """
    return _resolver.resolve(text)


def forget(text: str) -> None:
    """Drop the cached value of a reference, so that the next `resolve` asks the store: after a 401 or a 403."""
    _resolver.forget(text)


def check(text: str) -> None:
    """Refuse a reference of a wrong form without asking its store; other text passes.

    Raises:
        ConfigError: The store can't take such a reference, or the scheme looks like a misspelt one.
    """
    _resolver.check(text)


def use(store: Store) -> None:
    """Use a store with these settings from now on, in this process, and drop the values cached from it.

    Examples:
        >>> from fuse_dagster.secrets.env import Env
        >>> use(Env(ttl=60))
    """
    _resolver.use(store)


@contextmanager
def apart() -> Iterator[None]:
    """Forget afterwards what is resolved meanwhile, as a secret and as a cached value: each test has its own."""
    with _resolver.apart():
        yield


def scrub(text: str) -> str:
    """Put `***` for every secret value that this process has resolved, wherever one stands in a text.

    For messages that others wrote and that may quote what they were given, as an error with a signed URL.
    """
    return _resolver.scrub(text)
