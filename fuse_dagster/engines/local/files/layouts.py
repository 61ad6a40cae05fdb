"""The formats of files, and the options of each: one vocabulary for reading and writing, on every engine."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.engines.local.files.fixed_width import FixedWidth
from fuse_dagster.engines.local.files.xml_rows import XmlRows


class Format(StrEnum):
    """How rows are stored."""

    DELTA = "delta"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    EXCEL = "excel"
    AVRO = "avro"
    XML = "xml"
    FIXED = "fixed"


ENDINGS: Mapping[str, Format] = {
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".xlsx": Format.EXCEL,
    ".avro": Format.AVRO,
    ".xml": Format.XML,
}
"""Ending of a file's name -> its format."""

PACKED = {"gzip": ".gz", "zstd": ".zst"}
"""Compression of a whole file -> what it adds to the name."""

UNPACKED = (*PACKED.values(), ".bz2", ".xz", ".zip")
"""What names of compressed files that can be read end in."""

_PARQUET_CODECS = ("zstd", "snappy", "gzip", "lz4", "brotli", "none")
_TEXT_CODECS = ("none", *PACKED)
_AVRO_CODECS = ("deflate", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetOptions:
    """How Parquet is written. It holds every type, and is read lazily.

    Attributes:
        compression: `zstd` is small and quick; `snappy` is for readers from before 2020.
    """

    format: ClassVar[Format] = Format.PARQUET
    compression: str = "zstd"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        _one_of("compression", self.compression, _PARQUET_CODECS)

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """How CSV is read and written: text in quotes, numbers without, a missing value as `null`. It is read lazily.

    Attributes:
        separator: One sign between the columns; by default a tab in files that end in `.tsv`.
        header: Whether the first line names the columns. Without it they are called `column_1`, `column_2`, unless
            their types are given.
        encoding: Name of the encoding. Any other than UTF-8 is read whole rather than lazily.
        null: What stands for a missing value; by default nothing between the separators. Empty text is `""`.
        compression: Of the whole file; when reading, the content tells.
    """

    format: ClassVar[Format] = Format.CSV
    separator: str = ","
    header: bool = True
    encoding: str = "utf-8"
    null: str = ""
    compression: str = "none"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        _one_of("compression", self.compression, _TEXT_CODECS)
        if len(self.separator) != 1 or not self.separator.isascii() or self.separator in '"\n\r':
            msg = f"`separator` is {self.separator!r}. Valid: one ASCII sign other than a quote or the end of a line."
            raise ConfigError(msg)
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            msg = f"`encoding` is `{self.encoding}`, which Python does not know. Valid: `utf-8`, `cp1252`, `utf-16`."
            raise ConfigError(msg) from error
        if any(sign in self.null for sign in ('"', "\n", "\r", self.separator)) or _is_value(self.null):
            msg = f"`null` is {self.null!r}, which is a value or ends one. Valid: a word such as `NA`, or nothing."
            raise ConfigError(msg)

    @property
    def is_utf8(self) -> bool:
        """Whether the text is UTF-8, which is read as it is."""
        return codecs.lookup(self.encoding).name == "utf-8"

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return (".tsv" if self.separator == "\t" else ".csv") + PACKED.get(self.compression, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonOptions:
    """One JSON array of objects. It is read whole; NDJSON is the format for many rows.

    Attributes:
        compression: Of the whole file; when reading, the content tells.
    """

    format: ClassVar[Format] = Format.JSON
    compression: str = "none"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        _one_of("compression", self.compression, _TEXT_CODECS)

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".json" + PACKED.get(self.compression, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NdjsonOptions:
    """One JSON object a line. It is read lazily.

    Attributes:
        compression: Of the whole file; when reading, the content tells.
    """

    format: ClassVar[Format] = Format.NDJSON
    compression: str = "none"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        _one_of("compression", self.compression, _TEXT_CODECS)

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".ndjson" + PACKED.get(self.compression, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcelOptions:
    """One sheet of an Excel workbook (`.xlsx`). It is read whole.

    Attributes:
        sheet: Its name; by default the first one, which is written as `Sheet1`.
        header: Whether the first row names the columns, as it always does in what is written. Without it they are
            called `column_1`, `column_2`, and rows without a value at the top are skipped.
    """

    format: ClassVar[Format] = Format.EXCEL
    sheet: str = ""
    header: bool = True

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        if len(self.sheet) > 31 or set(self.sheet) & set("[]:*?/\\") or self.sheet[:1] == "'" or self.sheet[-1:] == "'":
            msg = f"`sheet` is `{self.sheet}`. Valid: up to 31 signs, none of `[]:*?/\\`, no `'` at either end."
            raise ConfigError(msg)

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".xlsx"


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroOptions:
    """An Avro object container file: the schema, then blocks of rows. It is read block by block.

    Attributes:
        compression: Of the blocks: `deflate`, which every reader knows, or `none`.
    """

    format: ClassVar[Format] = Format.AVRO
    compression: str = "deflate"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        _one_of("compression", self.compression, _AVRO_CODECS)

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".avro"


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlOptions(XmlRows):
    """XML, of which one element is a row. It is read whole, and never written."""

    format: ClassVar[Format] = Format.XML

    @property
    def ending(self) -> str:
        """What names of such files end in."""
        return ".xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOptions(FixedWidth):
    """Lines whose columns stand at declared places. They are read whole, and never written."""

    format: ClassVar[Format] = Format.FIXED

    @property
    def ending(self) -> str:
        """What names of such files end in, often."""
        return ".txt"


FileOptions = (
    ParquetOptions | CsvOptions | JsonOptions | NdjsonOptions | ExcelOptions | AvroOptions | XmlOptions | FixedOptions
)
"""The options of one format; the class says which."""

_OPTIONS: dict[str, type[FileOptions]] = {kind.format: kind for kind in get_args(FileOptions)}
_WANTED: dict[Any, str] = {str: "text", bool: "true or false", int: "a whole number"}
FILE_FORMATS = tuple(_OPTIONS)
"""The formats of files: all but Delta."""


def file_options(layout: str, options: Mapping[str, Any] | None = None) -> FileOptions:
    """Read a format and its options, as a configuration states them.

    Args:
        layout: The format.
        options: Option -> value.

    Raises:
        ConfigError: The format is none of files, or an option is unknown, of another type or can't be.

    Examples:
        >>> file_options("csv", {"separator": ";"}).separator
        ';'
    """
    kind = _OPTIONS.get(layout)
    if kind is None:
        msg = f"`{layout}` is no format of files. {did_you_mean(layout, _OPTIONS)}"
        raise ConfigError(msg)
    valid = {entry.name: get_type_hints(kind)[entry.name] for entry in fields(kind)}
    for name, value in (options or {}).items():
        if name not in valid:
            msg = f"The format `{layout}` has no option `{name}`. {did_you_mean(name, valid)}"
            raise ConfigError(msg)
        if not isinstance(value, _classes(valid[name])):
            wanted = _WANTED.get(valid[name], "a list or a map, as its documentation says")
            msg = f"The option `{name}` of `{layout}` is `{value}`. Valid: {wanted}."
            raise ConfigError(msg)
    missing = [entry.name for entry in fields(kind) if _is_required(entry) and entry.name not in (options or {})]
    if missing:
        msg = f'The format `{layout}` needs {listing(missing)}, as `columns="carrier:1-2; number:3-6:int64"`.'
        raise ConfigError(msg)
    return kind(**(options or {}))


def options_for(uri: str, layout: Format) -> FileOptions:
    """The options of a file that nothing is said of but its name."""
    if layout is Format.CSV and unpacked(uri).endswith(".tsv"):
        return CsvOptions(separator="\t")
    return file_options(layout)


def format_by_ending(name: str) -> Format | None:
    """The format that the ending of a name tells, packed or not; None for none."""
    bare = unpacked(name)
    return next((kind for ending, kind in ENDINGS.items() if bare.endswith(ending)), None)


def unpacked(name: str) -> str:
    """A name in small letters, without what follows a `?` and without the ending of a compression."""
    bare = name.partition("?")[0].lower()
    for packed in UNPACKED:
        bare = bare.removesuffix(packed)
    return bare


def _classes(hint: Any) -> tuple[type, ...]:
    """What a value of a type hint is an instance of."""
    if isinstance(hint, UnionType):
        return tuple(kind for one in get_args(hint) for kind in _classes(one))
    return (get_origin(hint) or hint,)


def _is_required(entry: Any) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        msg = f"`{name}` is `{value}`. Valid: {listing(valid)}."
        raise ConfigError(msg)


def _is_value(text: str) -> bool:
    """Whether a word is how a number or a truth value is written."""
    if text.lower() in {"true", "false"}:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
