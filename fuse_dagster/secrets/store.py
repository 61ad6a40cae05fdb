"""What every store of secrets is, and how it says that something is wrong without saying a secret."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fuse_dagster.core.errors import ConfigError, MissingExtraError, SecretError, SecretStoreError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.secrets.fields import shown
from fuse_dagster.secrets.reference import Reference

SECONDS_TO_WAIT = 10.0
"""How long a store may take to answer one request."""


class Store(BaseModel, ABC):
    """A place that keeps secrets. Subclasses are registered by their scheme.

    Attributes:
        example: A valid reference, shown in messages.
        options: Options that a reference may have besides `ttl`.
        extra: What to install when the store's client is missing: the extra of fuse_dagster, or a package.
    """

    # What a wrong field holds may be a secret: the message of pydantic must not show it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    example: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    extra: ClassVar[str] = ""

    ttl: float = Field(
        default=300.0,
        ge=0,
        description="Seconds until a value is fetched again. Lower where secrets rotate often, 0 to always ask. "
        "A reference may say its own, as `?ttl=60`.",
    )

    @abstractmethod
    def fetch(self, reference: Reference) -> str | Mapping[str, object]:
        """Ask the store.

        Returns:
            The value, or all fields of the secret, of which the reference names one.

        Raises:
            SecretError: There is no such secret, or it may not be read.
            SecretStoreError: The store can't be reached.
            MissingExtraError: The store's client is not installed.
        """

    def check(self, reference: Reference) -> None:
        """Refuse a reference that can't be one of this store, without asking the store.

        Raises:
            ConfigError: An unknown option, a `ttl` that is no number of seconds, or a path of another form.
        """
        for name, value in reference.options.items():
            if name not in self.options | {"ttl"}:
                valid = did_you_mean(name, self.options | {"ttl"})
                msg = f"`{reference}` has the option `{name}`, which this store does not know. {valid}"
                raise ConfigError(msg)
            if name == "ttl" and not value.replace(".", "", 1).isdecimal():
                msg = f"`{reference}` has a `ttl` that is no number of seconds. Valid: `?ttl=60`."
                raise ConfigError(msg)

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return shown(self)


def malformed(reference: Reference, store: Store) -> ConfigError:
    """The error for a path of another form."""
    return ConfigError(f"`{reference}` is not how this store's references look. Valid: `{store.example}`.")


def unresolved(reference: Reference, what: str, check: str) -> SecretError:
    """The error for a secret that the store does not give.

    Args:
        reference: What was asked for.
        what: What the store said, without a value.
        check: What to look at, as a sentence.
    """
    return SecretError(f"`{reference}` can't be resolved: {what}. {check}")


def unreachable(reference: Reference, where: str, what: str) -> SecretStoreError:
    """The error for a store that does not answer.

    Args:
        reference: What was asked for.
        where: The store's address.
        what: What happened, without a value.
    """
    return SecretStoreError(
        f"`{reference}` can't be resolved: the store at `{where}` does not answer ({what}). "
        "Check its address, the network, and whether it is up."
    )


def missing_extra(reference: Reference, store: Store, error: ModuleNotFoundError) -> MissingExtraError:
    """The error for a store whose client is not installed, with the install line."""
    install = f'pip install "fuse-dagster[{store.extra}]"' if store.extra else f'pip install "{error.name}"'
    return MissingExtraError(f"`{reference}` needs the package `{error.name}`. Install it with: {install}")
