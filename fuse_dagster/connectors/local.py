"""A folder of this machine."""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import Field

from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.lake import REFUSED, Lake, checked_parts
from fuse_dagster.core.errors import ConfigError

_PLAIN = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
"""Names that are good for sure."""

_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Local(Lake):
    """A folder of this machine, or of a disk that every process of the deployment mounts.

    Examples:
        >>> Local(root="/data/lake").uri("silver", "airports")
        '/data/lake/silver/airports'
    """

    type: Literal["local"] = "local"
    root: str = Field(
        default="lake",
        description="The folder. A relative one starts at the working directory of the process: set an "
        "absolute one where processes with different working directories share it.",
    )

    def uri(self, *parts: str) -> str:
        """Say where the thing with this name lies: an absolute path below the root.

        Raises:
            ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign; or the
                root does.
        """
        return str(self._folder().joinpath(*checked_parts(parts)))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below the folder `prefix`, sorted by path; nothing where there is none."""
        folder = self._folder()
        start = folder.joinpath(*checked_parts(prefix.strip("/").split("/"))) if prefix.strip("/") else folder
        above = len(str(folder).rstrip(os.sep)) + 1
        return iter(sorted(_files_below(str(start), above), key=attrgetter("path")))

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`."""
        return Path(self.uri(*path.split("/"))).exists()

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """
        return open(self._text(path), "rb")  # noqa: PTH123

    def read_whole(self, path: str, most: int) -> bytes:
        """Read a small file at one go.

        Args:
            path: Name below the root, with `/` between its parts.
            most: Bytes that are wanted at the most; one more is given where there are more.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """
        file = os.open(self._text(path), _READING)
        try:
            data = os.read(file, most + 1)
            while len(data) < most and (part := os.read(file, most + 1 - len(data))):
                data += part
        finally:
            os.close(file)
        return data

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole, in place of one that is there; readers see the old bytes or the new ones.

        Args:
            path: Name below the root, with `/` between its parts.
            data: The bytes, or a file opened for reading them.
        """
        place = Path(self.uri(*path.split("/")))
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as file:
            try:
                shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file)
                file.flush()
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def move(self, path: str, to: str) -> None:
        """Give a file another name, in place of a file that has it.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """
        place = Path(self.uri(*to.split("/")))
        place.parent.mkdir(parents=True, exist_ok=True)
        Path(self.uri(*path.split("/"))).replace(place)

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none."""
        Path(self.uri(*path.split("/"))).unlink(missing_ok=True)

    def _text(self, path: str) -> str:
        """The address of a file. Many small ones are read in a row: this is quicker than the paths of `uri`."""
        if not _PLAIN.fullmatch(path):
            checked_parts(path.split("/"))
        root = self.root
        return f"{_absolute(root, '' if root.startswith('/') else os.getcwd())}/{path}"  # noqa: PTH109

    def _folder(self) -> Path:
        return Path(_absolute(self.root, os.getcwd()))  # noqa: PTH109 - text is the key of a cache


@lru_cache(maxsize=64)
def _absolute(root: str, _: str) -> str:
    """A root as an absolute path, from the working directory that it is given for."""
    folder = os.path.abspath(Path(root).expanduser())  # noqa: PTH100 - no link is followed
    if any(sign in REFUSED.replace("/", "") for sign in folder):
        msg = f"The root `{folder}` holds one of `{REFUSED[1:]}`, which delta-rs can't open. Choose another."
        raise ConfigError(msg)
    return folder


def _files_below(folder: str, above: int) -> Iterator[Entry]:
    """Every file; one that goes meanwhile, or leads nowhere, is none.

    Args:
        folder: Where to look.
        above: Signs of the names of files that stand for the root.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files_below(entry.path, above)
                elif entry.is_file():
                    facts = entry.stat()
                    yield Entry(
                        path=entry.path[above:].replace(os.sep, "/"),
                        size=facts.st_size,
                        modified=datetime.fromtimestamp(facts.st_mtime, tz=UTC),
                        version=f"{facts.st_ino}-{facts.st_ctime_ns}",
                    )
            except FileNotFoundError:
                continue


def _umask() -> int:
    """Which rights new files go without; there is no way to ask but to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
