"""Which files there are at an address, in which format, and their bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileType, PyFileSystem

from fuse_dagster.core.errors import ConfigError, InputError, NotThereError, TableNotFoundError
from fuse_dagster.core.naming import listing
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri
from fuse_dagster.engines.local.files.layouts import ENDINGS, FILE_FORMATS, Format, format_by_ending
from fuse_dagster.engines.local.files.packing import members, unpacked
from fuse_dagster.engines.local.reading import open_table

Opener = Callable[[str], BinaryIO]
"""Opens the file at a URI or path for reading bytes; `FileNotFoundError` where there is none."""


def guess(address: str, storage_options: Mapping[str, str]) -> Format:
    """Say in which format the rows at an address are.

    Args:
        address: URI or path: a file by its ending, a folder by its log or by the files in it.
        storage_options: As delta-rs takes them.

    Raises:
        NotThereError: There is no such file or folder on this machine, or nothing to read in it.
        TableNotFoundError: It is a folder in a store, and no Delta table.
        TableStateError: It is a Delta table that can't be opened.
        ConfigError: Its ending tells no format, or files of several formats lie in it.
    """
    uri = normal_uri(address)
    ending = format_by_ending(uri)
    if is_local(uri):
        return _guess_here(Path(uri), ending, storage_options)
    if ending is not None:
        return ending
    try:
        open_table(uri, storage_options=storage_options)
    except TableNotFoundError as error:
        msg = (
            f"There is no Delta table at `{uri}`, and its name tells no format of files. Correct the name (`fuse "
            "tables list` shows the tables below a folder), or say the format (`--format csv`)."
        )
        raise TableNotFoundError(msg) from error
    return Format.DELTA


def files_below(uri: str, layout: Format, storage_options: Mapping[str, str] | None = None) -> list[str]:
    """The files to read at an address: itself, or all of its format in the folder, sorted.

    Args:
        uri: Normal URI or path.
        layout: The format.
        storage_options: As delta-rs takes them.

    Raises:
        NotThereError: A folder of this machine holds none.
    """
    if is_local(uri):
        folder = Path(uri)
        if not folder.is_dir():
            return [uri]
        found = sorted(str(path) for path in folder.rglob("*") if path.is_file() and _is_of(path.name, layout))
        if not found:
            msg = f"There is no file of {layout} in `{uri}`. Correct the path, or the format."
            raise NotThereError(msg)
        return found
    if format_by_ending(uri) is not None:
        return [uri]
    listed = _store(uri, storage_options).get_file_info(FileSelector("", recursive=True, allow_not_found=True))
    names = [info.path for info in listed if info.type == FileType.File and _is_of(info.path, layout)]
    return sorted(f"{uri}/{name}" for name in names) or [uri]


def opened(uri: str, storage_options: Mapping[str, str] | None = None) -> BinaryIO:
    """Open a file of this machine, or of a store that delta-rs reaches, for reading bytes.

    Args:
        uri: Normal URI or path.
        storage_options: As delta-rs takes them.

    Raises:
        FileNotFoundError: There is no such file.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
    """
    if is_local(uri):
        return Path(uri).open("rb")
    folder, _, name = uri.rpartition("/")
    try:
        stream: BinaryIO = _store(folder, storage_options).open_input_file(name)
    except FileNotFoundError:
        raise
    except (DeltaError, OSError, ValueError) as error:
        raise store_error(error, uri) or error from error
    return stream


def unpacking(stream: BinaryIO, file: str = "file") -> BinaryIO:
    """The content of a stream, whatever it is compressed by; of a zip archive that of its only file.

    Args:
        stream: The file, from its first byte.
        file: What it is called, for messages.

    Raises:
        InputError: It is damaged, holds too much, or is an archive of several files.
    """
    if not file.lower().endswith(".zip"):
        return unpacked(stream, file)
    with stream:
        data = stream.read()
    held = list(members(lambda: io.BytesIO(data), file))
    if len(held) > 1:
        names = listing([one.name for one in held], limit=5)
        msg = f"`{file}` is an archive of {len(held)} files: {names}. Unpack it, or load it as a landing folder."
        raise InputError(msg)
    return held[0].open()


def _store(folder: str, storage_options: Mapping[str, str] | None) -> PyFileSystem:
    return PyFileSystem(DeltaStorageHandler(folder, dict(storage_options or {})))


def _is_of(name: str, layout: Format) -> bool:
    found = format_by_ending(name)
    # What ends in `.json` may hold an object a line; and lines may be asked for as JSON.
    json = {Format.JSON, Format.NDJSON}
    return found is layout or {found, layout} <= json


def _guess_here(path: Path, ending: Format | None, storage_options: Mapping[str, str]) -> Format:
    if path.is_file():
        if ending is None:
            msg = f"The ending of `{path}` tells no format. Say it by `--format`; valid: {listing(FILE_FORMATS)}."
            raise ConfigError(msg)
        return ending
    if not path.is_dir():
        msg = f"There is nothing at `{path}`. Correct the path."
        raise NotThereError(msg)
    if (path / "_delta_log").is_dir():
        open_table(path, storage_options=storage_options)
        return Format.DELTA
    found = {kind for file in path.rglob("*") if (kind := format_by_ending(file.name)) is not None}
    if len(found) == 1:
        return found.pop()
    if not found:
        msg = f"There is no Delta table and no file to read in `{path}`. Valid: files that end in {listing(ENDINGS)}."
        raise NotThereError(msg)
    msg = f"`{path}` holds files of several formats: {listing(sorted(found))}. Name a file, or choose by `--format`."
    raise ConfigError(msg)
