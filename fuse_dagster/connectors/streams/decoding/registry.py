"""A schema registry, asked for schemas by their id.

Protocol: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fuse_dagster.connectors.streams.decoding.decoded import UndecodableError
from fuse_dagster.core.errors import CredentialsError, MissingExtraError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    import httpx

_TRIES, _PAUSE = 4, 0.05  # seconds before the second try, which double
_BUSY = frozenset({429, 500, 502, 503, 504})
_CHECK = "Check `schema_registry`, `registry_username` and `registry_password`."


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as the registry holds it.

    Attributes:
        kind: `AVRO`, `JSON` or `PROTOBUF`.
        text: The schema; of Protobuf, its descriptor in base64.
        references: Schemas that it names, by name, each after those that it names itself.
    """

    kind: str
    text: str
    references: dict[str, str]


@dataclass(slots=True)
class Registry:
    """A registry; what it said of an id it is not asked again, as a schema never changes.

    Attributes:
        url: Its address.
        username: Who logs in; "" for nobody.
        password: The password.
        timeout: Seconds to wait for an answer.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 30.0
    _known: dict[int, Schema] = field(default_factory=dict, repr=False)
    _client: httpx.Client | None = field(default=None, repr=False)

    def schema(self, number: int) -> Schema:
        """The schema with an id.

        Raises:
            UndecodableError: There is none.
            CredentialsError: The registry refuses the login.
            StoreUnavailableError: It can't be reached, or is ill.
            StoreError: It answers with something else than a registry does.
        """
        if number not in self._known:
            said = self._asked(f"/schemas/ids/{number}")
            if said is None:
                raise UndecodableError(f"the schema registry has no schema with the id {number}")
            self._known[number] = self._made(said, f"/schemas/ids/{number}")
        return self._known[number]

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _made(self, said: dict[str, Any], path: str) -> Schema:
        kind = str(said.get("schemaType", "AVRO")).upper()
        references: dict[str, str] = {}
        self._follow(said, kind, references, ())
        text = self._descriptor(path) if kind == "PROTOBUF" else said.get("schema")
        if not isinstance(text, str):
            raise StoreError(f"`{self.url}{path}` holds no schema. {_CHECK}")
        return Schema(kind, text, references)

    def _follow(self, said: dict[str, Any], kind: str, found: dict[str, str], within: tuple[str, ...]) -> None:
        for one in said.get("references") or []:
            name, subject, version = str(one.get("name")), str(one.get("subject")), one.get("version")
            if name in found:
                continue
            if name in within:
                raise UndecodableError(f"its schema names `{name}`, which names it again")
            path = f"/subjects/{quote(subject, safe='')}/versions/{quote(str(version), safe='')}"
            other = self._asked(path)
            if other is None:
                raise UndecodableError(f"its schema names `{name}`, which the schema registry has not")
            self._follow(other, kind, found, (*within, name))
            found[name] = self._descriptor(path) if kind == "PROTOBUF" else str(other.get("schema"))

    def _descriptor(self, path: str) -> str:
        said = self._asked(f"{path}?format=serialized")
        text = said.get("schema") if said else None
        if not isinstance(text, str):
            raise StoreError(
                f"`{self.url}{path}` gives no descriptor (`format=serialized`), which Protobuf needs here."
            )
        return text

    def _asked(self, path: str) -> dict[str, Any] | None:
        """What it answers; None where it has no such thing."""
        httpx = _httpx()
        for number in range(1, _TRIES + 1):
            try:
                answer = self._connected().get(f"{self.url}{path}")
            except httpx.TimeoutException:
                raise StoreUnavailableError(f"{self._itself} does not answer in time. {_CHECK}") from None
            except httpx.HTTPError:
                if number == _TRIES:
                    raise StoreUnavailableError(f"{self._itself} can't be reached. {_CHECK}") from None
            except (httpx.InvalidURL, ValueError):
                raise StoreError(f"{self._itself} has no valid address. {_CHECK}") from None
            else:
                if answer.status_code not in _BUSY or number == _TRIES:
                    return self._read(answer)
            time.sleep(_PAUSE * 2**number)
        raise AssertionError("the last try returns or raises")

    @property
    def _itself(self) -> str:
        return f"The schema registry `{self.url}`"

    def _read(self, answer: httpx.Response) -> dict[str, Any] | None:
        status = answer.status_code
        if status == 404:
            return None
        if status in {401, 403}:
            raise CredentialsError(f"{self._itself} refuses this login. {_CHECK}")
        if status in _BUSY:
            raise StoreUnavailableError(f"{self._itself} is ill or busy (it says {status}).")
        try:
            said = answer.json()
        except ValueError:
            said = None
        if status != 200 or not isinstance(said, dict):
            raise StoreError(f"`{self.url}` does not answer as a schema registry does (it says {status}). {_CHECK}")
        return said

    def _connected(self) -> httpx.Client:
        if self._client is None:
            login = (self.username, self.password) if self.username else None
            accept = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
            self._client = _httpx().Client(auth=login, timeout=self.timeout, headers=accept)
        return self._client


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError as error:
        msg = f'A schema registry needs the package `{error.name}`. Install it with: pip install "fuse-dagster[kafka]"'
        raise MissingExtraError(msg) from error
    return httpx
