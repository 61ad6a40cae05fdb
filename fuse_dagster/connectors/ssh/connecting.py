"""Logging in to an SSH server whose host key is known; one that isn't known is never trusted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection, SSHKey

_KEEPALIVE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """All that a login takes, with secrets that are resolved.

    Attributes:
        host: Name or address.
        port: Of the server.
        username: The account.
        password: Its password; "" for none.
        private_key: Text of a key; "" for none.
        passphrase: That the key is encrypted with; "" for none.
        known_hosts: Text in the form of OpenSSH's `known_hosts`.
        fingerprints: `SHA256:...` of host keys that are trusted as well.
        seconds: For the connection and the login.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    private_key: str = field(repr=False)
    passphrase: str = field(repr=False)
    known_hosts: str = field(repr=False)
    fingerprints: tuple[str, ...]
    seconds: float

    @property
    def key(self) -> str:
        """Stands for this login, without the secrets."""
        return hashlib.sha256(repr([getattr(self, name) for name in self.__slots__]).encode()).hexdigest()


async def connect(login: Login) -> tuple[SSHClientConnection, SFTPClient]:
    """Log in, and open SFTP.

    Raises:
        ConfigError: The private key can't be read, or the known hosts.
        StoreError: The server shows a host key that is not known.
        Exception: What the library says of all else; see `failures.worded`.
    """
    import asyncio

    import asyncssh

    key = private_key(login.private_key, login.passphrase)
    hosts = _known_hosts(login.known_hosts)
    shown: list[SSHKey] = []

    class Client(asyncssh.SSHClient):
        """Judges host keys that are not among the known hosts."""

        def validate_host_public_key(self, host: str, addr: str, port: int, key: SSHKey) -> bool:
            del host, addr, port
            shown.append(key)
            return key.get_fingerprint() in login.fingerprints

    async def log_in() -> tuple[SSHClientConnection, SFTPClient]:
        connection, _ = await asyncssh.create_connection(
            Client,
            login.host,
            login.port,
            username=login.username,
            password=login.password or None,
            client_keys=[key] if key else None,
            known_hosts=hosts,
            config=None,
            agent_path=None,
            gss_auth=False,
            gss_kex=False,
            host_based_auth=False,
            disable_trivial_auth=True,
            connect_timeout=login.seconds,
            login_timeout=login.seconds,
            keepalive_interval=_KEEPALIVE,
        )
        try:
            return connection, await connection.start_sftp_client(path_errors="surrogateescape")
        except asyncssh.ChannelOpenError:
            await asyncio.sleep(0)
            if connection.is_closed():  # the line broke meanwhile, which the library words so, too
                raise ConnectionResetError from None
            connection.abort()
            raise
        except BaseException:
            connection.abort()
            raise

    try:
        return await asyncio.wait_for(log_in(), login.seconds)
    except asyncssh.HostKeyNotVerifiable as error:
        raise _not_known(login, shown[-1] if shown else None, str(error)) from None


def private_key(text: str, passphrase: str) -> SSHKey | None:
    """Read a private key in the form of OpenSSH or PEM; None for none.

    Raises:
        ConfigError: It is no such key, or the passphrase doesn't open it. The message holds neither.
    """
    import asyncssh

    if not text:
        return None
    try:
        return asyncssh.import_private_key(text if text.endswith("\n") else f"{text}\n", passphrase or None)
    except asyncssh.KeyEncryptionError:
        what = "`passphrase` does not open `private_key`. Correct it."
    except asyncssh.KeyImportError as error:
        if "Passphrase" in str(error):
            what = "`private_key` is encrypted. Give its `passphrase`."
        else:
            what = "`private_key` is no private key in the form of OpenSSH or PEM. Give the whole text of its file."
    raise ConfigError(what)


def read_known_hosts(text: str) -> str:
    """The known hosts themselves, of a path or of a text that holds them; "" where the file is not there.

    Raises:
        ConfigError: The file can't be read.
    """
    if not text or "\n" in text or " " in text.strip():
        return text
    try:
        return Path(text).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        msg = f"`known_hosts` names the file `{text}`, which can't be read ({type(error).__name__}). Correct it."
        raise ConfigError(msg) from None


def _known_hosts(text: str) -> bytes:
    import asyncssh

    try:
        asyncssh.import_known_hosts(text)
    except ValueError as error:
        msg = f"`known_hosts` is not in the form that OpenSSH writes: {type(error).__name__}. Correct or shorten it."
        raise ConfigError(msg) from None
    return text.encode()


def _not_known(login: Login, key: SSHKey | None, said: str) -> StoreError:
    import asyncssh

    place = f"{login.host}:{login.port}"
    if key is None:
        what = "is revoked in `known_hosts`" if "revoked" in said else "is a certificate that nobody known has signed"
        return StoreError(f"The host key of `{place}` {what}: it was not logged in to. Ask who runs the server.")
    trusted, _, _, *_ = asyncssh.match_known_hosts(_known_hosts(login.known_hosts), login.host, "", login.port)
    shown = f"a key of kind `{key.get_algorithm()}` with the fingerprint `{key.get_fingerprint()}`"
    if trusted or login.fingerprints:
        expected = [one.get_fingerprint() for one in trusted if hasattr(one, "get_fingerprint")]
        named = ", ".join(f"`{one}`" for one in [*login.fingerprints, *expected])
        return StoreError(
            f"`{place}` shows {shown}, which is none of those that are known ({named}): it is another machine, or was "
            "set up anew. It was not logged in to. Ask who runs it which key it has, before you change `fingerprint` "
            "or `known_hosts`."
        )
    return StoreError(
        f"`{place}` is not known: it shows {shown}. It was not logged in to. Compare that with what its operator says, "
        f"then set `fingerprint` to it, or add the line of `ssh-keyscan -p {login.port} {login.host}` to `known_hosts`."
    )
