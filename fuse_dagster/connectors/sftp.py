"""A folder of a server that speaks SFTP: how files come from, and go to, other companies."""

import io
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, TypeVar

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Connector, Entry
from fuse_dagster.connectors.declaring import Problem, wrong_times
from fuse_dagster.connectors.object_store import file_parts, is_plain, looked_up
from fuse_dagster.connectors.parts import PART, Parts
from fuse_dagster.core.errors import MissingExtraError

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

    from fuse_dagster.connectors.ssh.connecting import Login
    from fuse_dagster.connectors.ssh.trees import Tree

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_TRIES = 4
_FIRST_PAUSE = 0.1


class SFTP(Connector):
    """A folder of a server that speaks SFTP.

    The server's host key is verified always, by `known_hosts` or `fingerprint`. Files are read in parts that begin anew
    where the line broke, and written beside their name and then renamed.

    Examples:
        >>> SFTP(host="files.example.com", username="lake", password="env://SFTP_PASSWORD", root="/in").place
        'sftp://lake@files.example.com:22/in'
    """

    type: Literal["sftp"] = "sftp"
    host: str = Field(description="Name or address of the server.")
    port: int = Field(default=22, description="Its port, where it is not SSH's own.")
    username: str = Field(description="The account to log in to.")
    root: str = Field(
        default="",
        description="Keep everything below this folder. A relative one starts where a login begins, which is what "
        "holds without it.",
    )
    password: str = secrets.secret_field(
        description="The account's password. Servers that want a key and a password get both."
    )
    private_key: str = secrets.secret_field(
        description="Text of a private key (OpenSSH or PEM), as by `file:///run/secrets/id_ed25519`."
    )
    passphrase: str = secrets.secret_field(description="Opens `private_key` where it is encrypted.")
    known_hosts: str = Field(
        default="~/.ssh/known_hosts",
        description="A file of OpenSSH's `known_hosts`, or its lines themselves, which say what key the server has.",
    )
    fingerprint: str = Field(
        default="",
        description="Trust the host key with this fingerprint, as `SHA256:...`, where there is no `known_hosts`; "
        "several with spaces between, while a server changes its key.",
    )
    connect_timeout: float = Field(default=15.0, description="Seconds for a connection and the login.")
    timeout: float = Field(default=30.0, description="Seconds to wait for one answer, or for 2 MB of a file.")
    retry_timeout: float = Field(
        default=60.0, description="Seconds for which what breaks is tried again, with growing and jittered pauses."
    )

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `username`, and `password` or `private_key`, and that the server takes such a login.",
        "host": "Check `host` and `port`, DNS, firewalls, and whether the server limits connections.",
        "time": "Check `host` and `port` and firewalls; raise `timeout` or `connect_timeout` where the line is slow.",
        "rights": "Have `username` be given the right to read and write there, or choose another `root`.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A way to log in, a host that is a name, a root of good names, fingerprints that are some."""
        found = wrong_times(given, ("connect_timeout", "timeout", "retry_timeout"))
        for name in ("host", "username"):
            if given[name] is not None and (not given[name] or not _is_name(given[name])):
                found.append(Problem(name, "It needs a name, without a scheme, spaces and folders."))
        if given["port"] is not None and not 0 < given["port"] < 65536:
            found.append(Problem("port", f"`{given['port']}` is no port. Valid: 1 to 65535."))
        if not given["password"] and not given["private_key"]:
            found.append(Problem("password", "There is no way to log in. Give it, or `private_key`, or both."))
        if given["passphrase"] and not given["private_key"]:
            found.append(Problem("passphrase", "It belongs to `private_key`. Give that, or take it away."))
        if is_plain(given["fingerprint"]):
            wrong = [one for one in given["fingerprint"].split() if not _FINGERPRINT.fullmatch(one)]
            if wrong:
                found.append(
                    Problem("fingerprint", f"`{wrong[0]}` is none. Valid: `SHA256:` and 43 signs, as `ssh-keygen -lf`.")
                )
        if is_plain(given["root"]) and not _is_folder(given["root"]):
            found.append(Problem("root", "It holds an empty part, `.`, `..`, a backslash or a control sign."))
        return found

    @property
    def place(self) -> str:
        """Where the files lie."""
        where = f"sftp://{looked_up(self.username)}@{looked_up(self.host)}:{self.port}"
        root = looked_up(self.root).rstrip("/")
        return f"{where}{root}" if root.startswith("/") else f"{where}/~/{root}".removesuffix("/")

    def answer(self) -> str:
        """Log in, and look for the root.

        Returns:
            What the server calls itself, as `OpenSSH_9.2p1 Debian-2`.
        """

        async def ask(tree: "Tree") -> str:
            await tree.real_root()
            return tree.server

        return self._asked(ask)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below the folder `prefix`, sorted by path; nothing where there is none.

        A link to a file below the root is that file. Links to folders are not entered; links that lead out of the root,
        or nowhere, are left out and logged. So are files that a connector of this kind is writing.

        Raises:
            StoreError: The server refuses, the root is not there, or a name is not UTF-8.
            StoreUnavailableError: It can't be reached.
        """
        folder = "/".join(file_parts(prefix.strip("/"))) if prefix.strip("/") else ""
        yield from self._asked(lambda tree: tree.entries(folder), folder)

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`.

        Raises:
            StoreError: A link there leads out of the root; or the server refuses.
            StoreUnavailableError: It can't be reached.
        """
        key = "/".join(file_parts(path))
        return self._asked(lambda tree: tree.exists(key), key)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes; it is fetched in parts of 8 MB, as far as it is read.

        Raises:
            FileNotFoundError: There is no file at `path`.
            StoreError: A link there leads out of the root; or the server refuses.
            StoreUnavailableError: Also while it is read, where somebody writes to it meanwhile.
        """
        key = "/".join(file_parts(path))
        known = self._asked(lambda tree: tree.file(key), key)

        def part(start: int, end: int) -> bytes:
            return self._asked(lambda tree: tree.part(key, known, start, end), key)

        return io.BufferedReader(Parts(known.size, part), buffer_size=min(PART, max(1, known.size)))

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole, in place of one that is there; readers see the old bytes or the new ones.

        It is sent under a temporary name in the same folder, and renamed; folders are made where they are missing.

        Args:
            path: Name below the root, with `/` between its parts.
            data: The bytes, or a file opened for reading them, which is sent in parts of 2 MB.

        Raises:
            StoreError: The server refuses, or can't replace a file in one step.
            StoreUnavailableError: It can't be reached.
        """
        key = "/".join(file_parts(path))
        rewinds = isinstance(data, bytes) or data.seekable()
        start = data.tell() if rewinds and not isinstance(data, bytes) else 0

        async def send(tree: "Tree") -> None:
            if rewinds and not isinstance(data, bytes):
                data.seek(start)
            await tree.write(key, data)

        self._asked(send, key, tries=_TRIES if rewinds else 1)

    def move(self, path: str, to: str) -> None:
        """Give a file, or a link itself, another name, in place of a file that has it; folders are made.

        It is asked for once: where the line breaks in that moment, either name may be the file's.

        Raises:
            FileNotFoundError: There is no file at `path`.
            StoreError: The server refuses, can't replace a file in one step, or one of the two is a folder.
            StoreUnavailableError: It can't be reached.
        """
        key, target = "/".join(file_parts(path)), "/".join(file_parts(to))
        self._asked(lambda tree: tree.prepare_move(key, target), key)
        self._asked(lambda tree: tree.replace(tree.below(key), target), key, tries=1)

    def delete(self, path: str) -> None:
        """Delete a file, or a link itself; nothing happens where there is none. Folders stay.

        Raises:
            StoreError: The server refuses, or it is a folder.
            StoreUnavailableError: It can't be reached.
        """
        key = "/".join(file_parts(path))
        self._asked(lambda tree: tree.delete(key), key)

    def _asked(self, question: "Callable[[Tree], Awaitable[T]]", path: str = "", *, tries: int = _TRIES) -> T:
        """Ask the server: again where the line broke, and with new secrets where it refuses the login."""
        try:
            import asyncssh
        except ModuleNotFoundError as error:
            msg = f'SFTP needs the package `{error.name}`. Install it with: pip install "fuse-dagster[sftp]"'
            raise MissingExtraError(msg) from error
        from fuse_dagster.connectors.ssh.failures import is_broken, worded

        began, number, forgotten = time.monotonic(), 0, False
        while True:
            number += 1
            try:
                return self._asked_once(question)
            except asyncssh.PermissionDenied as error:
                if forgotten or not self.forget_secrets():
                    raise worded(error, self.place, self.checks) from None
                forgotten = True
            except Exception as error:  # noqa: BLE001 - raised again, worded
                if number >= tries or time.monotonic() - began > self.retry_timeout or not is_broken(error):
                    raise worded(error, f"{self.place}/{path}".rstrip("/"), self.checks) from None
                pause = _FIRST_PAUSE * 2**number * random.SystemRandom().uniform(0.5, 1.5)
                logger.info("the line to `%s` broke; asking again in %.2f s (try %d)", self.place, pause, number)
                time.sleep(pause)

    def _asked_once(self, question: "Callable[[Tree], Awaitable[T]]") -> T:
        from fuse_dagster.connectors.ssh import keeping
        from fuse_dagster.connectors.ssh.connecting import connect
        from fuse_dagster.connectors.ssh.failures import is_broken
        from fuse_dagster.connectors.ssh.trees import Tree

        login, root = self._login(), looked_up(self.root)

        async def ask(connection: "SSHClientConnection", client: "SFTPClient") -> T:
            server = str(connection.get_extra_info("server_version")).removeprefix("SSH-2.0-")
            return await question(Tree(client, root, self.place, self.timeout, server))

        return keeping.run(keeping.ask(login.key, lambda: connect(login), ask, broken=is_broken))

    def _login(self) -> "Login":
        from fuse_dagster.connectors.ssh.connecting import Login, read_known_hosts

        resolve = secrets.resolve
        return Login(
            host=looked_up(self.host),
            port=self.port,
            username=looked_up(self.username),
            password=resolve(self.password),
            private_key=resolve(self.private_key),
            passphrase=resolve(self.passphrase),
            known_hosts=read_known_hosts(looked_up(self.known_hosts)),
            fingerprints=tuple(looked_up(self.fingerprint).split()),
            seconds=self.connect_timeout,
        )


def _is_name(text: str) -> bool:
    return not is_plain(text) or (text.isprintable() and not set(text) & set("/@ \\"))


def _is_folder(text: str) -> bool:
    parts = text.removeprefix("/").removesuffix("/").split("/") if text.strip("/") else []
    return all(part not in {"", ".", ".."} and "\\" not in part and part.isprintable() for part in parts)
