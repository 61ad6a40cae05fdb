"""Files below a root of an SFTP server: what there is, reading in parts, writing beside and renaming."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import posixpath
import uuid
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from fuse_dagster.connectors.base import Entry
from fuse_dagster.core.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient, SFTPClientFile, SFTPName

T = TypeVar("T")
logger = logging.getLogger(__name__)

PIECE = 2 * 1024 * 1024
"""Bytes that are asked for, or sent, within one time to wait."""
_FOLDER, _FILE, _LINK = 2, 1, 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file is known by while it is read.

    Attributes:
        size: Bytes.
        modified: When it was written, in seconds since 1970.
    """

    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Files below a root, as one question sees them.

    Attributes:
        client: Asks.
        root: The folder; "" for the one that a login begins in.
        place: The address of the root, for people.
        seconds: To wait for one answer.
        server: What the server calls itself.
    """

    client: SFTPClient
    root: str
    place: str
    seconds: float
    server: str = ""

    async def within(self, answer: Awaitable[T]) -> T:
        """Wait for an answer, but not for ever."""
        return await asyncio.wait_for(answer, self.seconds)

    async def real_root(self) -> str:
        """Where the root is once all links are followed.

        Raises:
            StoreError: It is not there, or no folder.
        """
        import asyncssh

        root = self.root or "."
        real, facts = await self.within(
            asyncio.gather(self.client.realpath(root), self.client.stat(root), return_exceptions=True)
        )
        for found in (facts, real):
            if isinstance(found, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
                raise StoreError(f"The root of `{self.place}` is not there. Correct `root`, or have it made.")
            if isinstance(found, BaseException):
                raise found
        assert not isinstance(real, BaseException)
        assert not isinstance(facts, BaseException)
        if facts.type != _FOLDER:
            raise StoreError(f"The root of `{self.place}` is no folder. Correct `root`.")
        return real

    async def inside(self, path: str) -> str:
        """Where something is once all links are followed; it need not be there.

        Raises:
            StoreError: A link leads out of the root.
        """
        root = await self.real_root()
        real = await self.within(self.client.realpath(self.below(path)))
        if not _is_below(real, root):
            raise StoreError(
                f"`{self.place}/{path}` leads out of the root, by a link. It was not followed. "
                "Have it replaced by what it leads to, or set `root` to a folder that holds both."
            )
        return real

    def below(self, path: str) -> str:
        """The name that the server knows a path by."""
        return posixpath.join(self.root or ".", path)

    async def facts(self, path: str) -> SFTPAttrs:
        """What the server says of what is at a path, behind links.

        Raises:
            FileNotFoundError: There is nothing; or StoreError, where it leads out of the root.
        """
        await self.inside(path)
        return await self.within(self.client.stat(self.below(path)))

    async def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        import asyncssh

        try:
            await self.facts(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory):
            return False
        return True

    async def file(self, path: str) -> Facts:
        """The facts of a file.

        Raises:
            FileNotFoundError: There is none, or it is a folder.
            StoreError: It is a pipe or the like; or it leads out of the root.
        """
        facts = await self.facts(path)
        if facts.type == _FOLDER:
            raise FileNotFoundError(f"`{self.place}/{path}` is a folder, no file. Name a file in it.")
        if facts.type != _FILE or facts.size is None:
            raise StoreError(f"`{self.place}/{path}` is no plain file, but a pipe or a device. Name a file.")
        return _facts(facts)

    async def part(self, path: str, known: Facts, start: int, end: int) -> bytes:
        """Bytes of a file, from one position up to another.

        Raises:
            StoreUnavailableError: It was replaced, or written on, since its facts were asked for.
        """
        async with self._opened(path) as file:
            found = bytearray()
            while start + len(found) < end and _facts(await self.within(file.stat())) == known:
                size = min(PIECE, end - start - len(found))
                piece = await self.within(_read(file, start + len(found), size))
                if not piece:
                    break
                found += piece
            if len(found) != end - start or _facts(await self.within(file.stat())) != known:
                raise StoreUnavailableError(
                    f"`{self.place}/{path}` was written to while it was read. Read it again, from its beginning, once "
                    "who writes it is done."
                )
        return bytes(found)

    @contextlib.asynccontextmanager
    async def _opened(self, path: str) -> AsyncIterator[SFTPClientFile]:
        file = await self.within(self.client.open(self.below(path), "rb", encoding=None))
        try:
            yield file
        except StoreUnavailableError:
            await self.within(file.close())
            raise  # what else is raised comes of a line that is dropped, with its files
        await self.within(file.close())

    async def entries(self, prefix: str) -> list[Entry]:
        """Every file below a folder, and the files that links in it lead to; links to folders are not entered."""
        import asyncssh

        root = await self.real_root()
        found: list[Entry] = []
        try:
            start = await self.facts(prefix) if prefix else None
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return []
        folders = [prefix] if start is None or start.type == _FOLDER else []
        while folders:
            folder = folders.pop()
            async for name, facts in self._names(folder):
                path = posixpath.join(folder, name)
                behind = await self._behind(path, root) if facts.type == _LINK else facts
                if facts.type == _FOLDER:
                    folders.append(path)
                elif behind is not None and behind.type == _FILE:
                    when = datetime.fromtimestamp(behind.mtime or 0, tz=UTC)
                    found.append(Entry(path=path, size=behind.size or 0, modified=when))
        return sorted(found, key=lambda entry: entry.path)

    async def _names(self, folder: str) -> AsyncIterator[tuple[str, SFTPAttrs]]:
        names: AsyncIterator[SFTPName] = self.client.scandir(self.below(folder))
        while True:
            try:
                one = await self.within(anext(names))
            except StopAsyncIteration:
                return
            name = str(one.filename)
            if name in {".", ".."} or is_temporary(name):
                continue
            if not name.isascii() and any("\ud800" <= sign <= "\udfff" for sign in name):
                shown = name.encode("utf-8", "backslashreplace").decode()
                raise StoreError(
                    f"`{self.place}/{posixpath.join(folder, shown)}` has a name that is not UTF-8. Have it renamed: "
                    "no listing that leaves it out is given."
                )
            yield name, one.attrs

    async def _behind(self, path: str, root: str) -> SFTPAttrs | None:
        """What a link leads to; None where that is nothing, or out of the root."""
        import asyncssh

        try:
            real = await self.within(self.client.realpath(self.below(path)))
            facts = await self.within(self.client.stat(self.below(path)))
        except asyncssh.SFTPError as error:
            if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
                raise
            logger.warning("`%s/%s` is a link that leads nowhere: it is not listed", self.place, path)
            return None
        if not _is_below(real, root):
            logger.warning("`%s/%s` is a link that leads out of the root: it is not listed", self.place, path)
            return None
        return facts

    async def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole: under a temporary name in the same folder, which then takes the place of the other.

        Raises:
            StoreError: Fewer bytes arrived than were sent; or the server can't replace a file in one step.
            SourceError: `data` can't be read.
        """
        import asyncssh

        await self._make_room(path)
        temporary = self.below(posixpath.join(posixpath.dirname(path), f"{_BEGIN}{uuid.uuid4().hex}{_END}"))
        try:
            sent = await self._send(temporary, data)
            arrived = (await self.within(self.client.stat(temporary))).size
            if arrived != sent:
                raise StoreError(
                    f"Of `{self.place}/{path}` {arrived} bytes arrived, and {sent} were sent. Nothing was replaced. "
                    "Look at the disk of the server, and send it again."
                )
            await self.replace(temporary, path)
        except Exception:
            with contextlib.suppress(asyncssh.Error, OSError):
                await self.within(self.client.remove(temporary))
            raise

    async def _make_folders(self, folder: str) -> None:
        import asyncssh

        parts = folder.split("/") if folder else []
        for number in range(len(parts) + 1):
            one = "/".join(parts[:number])
            await self.inside(one)
            if one and not await self.exists(one):
                with contextlib.suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):  # another was faster
                    await self.within(self.client.mkdir(self.below(one)))

    async def _send(self, temporary: str, data: bytes | BinaryIO) -> int:
        """Send bytes to a new file; how many they were."""
        import asyncssh

        source = io.BytesIO(data) if isinstance(data, bytes) else data
        file = await self.within(self.client.open(temporary, "wb", encoding=None))
        sent = 0
        while piece := await _taken(source):
            await self.within(file.write(piece, sent))
            sent += len(piece)
        with contextlib.suppress(asyncssh.SFTPOpUnsupported):
            await self.within(file.fsync())
        await self.within(file.close())
        return sent

    async def prepare_move(self, path: str, to: str) -> None:
        """See that there is a file to be renamed, and a folder for its new name.

        Raises:
            FileNotFoundError: There is none.
            StoreError: One of the two is a folder, or leads out of the root.
        """
        await self.inside(posixpath.dirname(path))
        if (await self.within(self.client.lstat(self.below(path)))).type == _FOLDER:
            raise StoreError(f"`{self.place}/{path}` is a folder. Only files are moved.")
        await self._make_room(to)

    async def _make_room(self, path: str) -> None:
        """Make the folder of a file that is to be."""
        import asyncssh

        await self._make_folders(posixpath.dirname(path))
        with contextlib.suppress(asyncssh.SFTPNoSuchFile):
            if (await self.within(self.client.lstat(self.below(path)))).type == _FOLDER:
                raise StoreError(f"`{self.place}/{path}` is a folder: no file can take its place. Choose another name.")

    async def replace(self, temporary: str, path: str) -> None:
        """Give a file of the server, by the name that it knows, the name of another, in one step.

        Raises:
            StoreError: The other is there, and the server can't do so in one step.
        """
        import asyncssh

        try:
            await self.within(self.client.posix_rename(temporary, self.below(path)))
        except asyncssh.SFTPOpUnsupported:
            if await self.exists(path):
                raise StoreError(
                    f"`{self.place}/{path}` is there, and its server can't replace a file in one step (it lacks "
                    "`posix-rename@openssh.com`). Nothing was replaced. Delete it first, or write another name."
                ) from None
            await self.within(self.client.rename(temporary, self.below(path)))

    async def delete(self, path: str) -> None:
        """Delete a file, or a link itself; nothing happens where there is none."""
        import asyncssh

        await self.inside(posixpath.dirname(path))
        try:
            if (await self.within(self.client.lstat(self.below(path)))).type == _FOLDER:
                raise StoreError(f"`{self.place}/{path}` is a folder. Only files are deleted.")
            await self.within(self.client.remove(self.below(path)))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return


_BEGIN, _END = ".fuse-", ".part"


def is_temporary(name: str) -> bool:
    """Whether a file is one that somebody is writing, or was killed while writing."""
    return name.startswith(_BEGIN) and name.endswith(_END)


class SourceError(Exception):
    """What is to be sent can't be read: no matter of the server's. The reason is its cause."""


async def _taken(source: BinaryIO) -> bytes:
    """The next bytes to send; in another thread, as reading them may wait for the very one that this runs in."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, source.read, PIECE)
    except Exception as error:
        raise SourceError from error


def _facts(said: SFTPAttrs) -> Facts:
    return Facts(said.size or 0, int(said.mtime or 0))


async def _read(file: SFTPClientFile, start: int, size: int) -> bytes:
    """Bytes of a file; fewer where it ends. What the server leaves out in the middle is not made up."""
    found = bytearray(size)
    held = 0
    async for offset, data in await file.read_parallel(size, start):
        found[offset - start : offset - start + len(data)] = data
        held += len(data)
    return bytes(found[:size]) if held == size else b""


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
