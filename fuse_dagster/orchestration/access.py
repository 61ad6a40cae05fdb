"""What reaches a connector's tables: options with secrets, taken once per step, and anew where they are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from fuse_dagster.core.errors import CredentialsError
from fuse_dagster.core.store_failures import store_errors

if TYPE_CHECKING:
    from fuse_dagster.connectors.lake import Lake

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Access:
    """The storage options of one step.

    Args:
        lake: Where tables lie.

    Raises:
        FuseError: A secret can't be resolved.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._options: Mapping[str, str] = lake.storage_options()

    def __repr__(self) -> str:
        """Say whose they are, and nothing that they hold."""
        return f"Access({self._lake!r})"

    @property
    def options(self) -> Mapping[str, str]:
        """As delta-rs takes them, with the secrets that were good last."""
        return self._options

    def ask(self, act: Callable[[Mapping[str, str]], T], *, place: str) -> T:
        """Do something with the options; where the store refuses its credentials, once more with new ones.

        A commit whose outcome is unknown is never such a refusal, so nothing is committed twice.

        Args:
            act: Takes the options. It may be called twice.
            place: The address that it works on.

        Raises:
            CredentialsError: The store refuses the new ones too, or there are none.
        """
        try:
            with store_errors(place):
                return act(self._options)
        except CredentialsError:
            self._lake.forget_secrets()
            renewed = self._lake.storage_options()
            if renewed == self._options:
                raise
        logger.info("the store of %s refuses its credentials; trying once more with those that hold now", place)
        self._options = renewed
        with store_errors(place):
            return act(self._options)
