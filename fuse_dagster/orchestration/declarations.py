"""What an asset's metadata declares about its table: write mode, deciding columns, column properties, lineage.

The decorators write these entries, anyone else can write them by hand, and the IO manager reads them. They hold only
what JSON holds, so the UI shows them and nothing depends on which process reads them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from dagster import AssetKey, AssetsDefinition, MetadataValue

from fuse_dagster.core.columns import Column
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.tables import Append, History, Overwrite, Upsert, WriteMode

WRITE = "write"
PARTITION_BY = "partition_by"
PARTITION_EXPR = "partition_expr"
COLUMNS = "columns"
LINEAGE = "lineage"

EFFECTIVE_FORMAT = "effective_format"
EFFECTIVE_FUNCTION = "effective_function"

_MODES: dict[str, Callable[..., WriteMode]] = {
    "append": Append,
    "overwrite": Overwrite,
    "upsert": Upsert,
    "history": History,
}
# Set per write, from the partition or the run; a declaration that fixed them would be wrong from the second run on.
_PER_WRITE = {"where", "effective_at", "batch_id"}

PartitionBy = str | Mapping[str, str]
Lineage = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What the metadata of one asset says about its table.

    Attributes:
        mode: How a batch becomes the table.
        partition_by: Column that decides which rows belong to a Dagster partition; for multi partitions a map from
            dimension to column.
        columns: Column name -> its properties.
        lineage: Column -> the (asset key, column) pairs it comes from; `*` stands for columns of the same name.
        effective_format: For a history over static or dynamic partitions: how a key is read as a time.
        effective_function: Instead of it, `module:function` from a key to a time.
    """

    mode: WriteMode = field(default_factory=Overwrite)
    partition_by: PartitionBy | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=dict)
    effective_format: str | None = None
    effective_function: str | None = None

    @property
    def history(self) -> History | None:
        """The mode, where it is a history."""
        return self.mode if isinstance(self.mode, History) else None

    @property
    def has_slices(self) -> bool:
        """Whether a Dagster partition is a slice of the table, rather than a batch that was merged into it."""
        replaces = isinstance(self.mode, Overwrite) and not self.mode.chooses_rows
        return replaces or (self.history is None and self.partition_by is not None)

    @property
    def names_batches(self) -> bool:
        """Whether each batch has a name, which makes a repeated one harmless."""
        return isinstance(self.mode, Append) and self.mode.once_by_batch

    def partition_problems(self) -> list[str]:
        """Why the mode can't be that of an asset with partitions, whatever decides them."""
        problems = []
        if isinstance(self.mode, Overwrite) and self.mode.predicate is not None:
            problems.append(
                f"The predicate `{self.mode.predicate}` is the same for every partition, so each would replace the "
                "rows of the others. Name in `partition_by` the column that decides, instead of the predicate."
            )
        if isinstance(self.mode, Upsert) and self.mode.absent == "delete":
            problems.append(
                '`absent="delete"` takes a batch for the whole truth, so each partition would delete the keys of the '
                "others. Leave the partitions out, or use `history_table`, which takes snapshots in any order."
            )
        return problems

    @property
    def masked(self) -> frozenset[str]:
        """Columns whose values are never shown."""
        return frozenset(name for name, column in self.columns.items() if column.mask)


def read_declaration(metadata: Mapping[str, Any]) -> Declaration:
    """Read what an asset's metadata declares.

    Args:
        metadata: The asset's definition metadata; entries of others are left alone.

    Raises:
        ConfigError: Entries that can't work, all of them, each with its path.
    """
    said = {key: _plain(value) for key, value in metadata.items()}
    problems: list[str] = []
    mode = _read_mode(said.get(WRITE, {}), problems)
    declared = Declaration(
        mode=mode or Overwrite(),
        partition_by=_read_partition_by(said, problems),
        columns=_read_columns(said.get(COLUMNS, {}), problems),
        lineage=_read_lineage(said.get(LINEAGE, {}), problems),
        **_read_effective(said.get(WRITE, {})),
    )
    raise_together(problems)
    return declared


def sole_asset(asset: AssetsDefinition, key: AssetKey | None = None) -> tuple[AssetKey, Declaration]:
    """The key of one asset of a definition, and what its metadata declares.

    Args:
        asset: The definition.
        key: Which of its assets; not needed where it makes one.

    Raises:
        ConfigError: It makes several assets and none is named, or not the one named; or the metadata can't work.
    """
    names = listing(each.to_user_string() for each in sorted(asset.keys))
    if key is None and len(asset.keys) != 1:
        msg = f"The definition makes {len(asset.keys)} assets: {names}. Give that of one asset, or its `key`."
        raise ConfigError(msg)
    chosen = key or asset.key
    if chosen not in asset.keys:
        msg = f"The definition makes no asset `{chosen.to_user_string()}`. Valid: {names}."
        raise ConfigError(msg)
    return chosen, read_declaration(asset.metadata_by_key.get(chosen, {}))


def write_declaration(declared: Declaration) -> dict[str, Any]:
    """Write a declaration as asset metadata; `read_declaration` reads the same one back."""
    write: dict[str, Any] = {"mode": mode_name(declared.mode)}
    write |= {
        name: list(value) if isinstance(value, tuple) else value
        for name, value, default in _options(declared.mode)
        if value != default
    }
    for name in (EFFECTIVE_FORMAT, EFFECTIVE_FUNCTION):
        if getattr(declared, name) is not None:
            write[name] = getattr(declared, name)
    found: dict[str, Any] = {WRITE: write}
    if declared.partition_by is not None:
        by = declared.partition_by
        found[PARTITION_BY] = by if isinstance(by, str) else dict(by)
    if declared.columns:
        found[COLUMNS] = {name: _shown(column) for name, column in declared.columns.items()}
    if declared.lineage:
        found[LINEAGE] = {column: [list(source) for source in sources] for column, sources in declared.lineage.items()}
    return found


def mode_name(mode: WriteMode) -> str:
    """The word for a mode in metadata."""
    return type(mode).__name__.lower()


def raise_together(problems: Sequence[str], what: str = "asset metadata") -> None:
    """Raise all problems of a declaration as one error.

    Raises:
        ConfigError: There is at least one.
    """
    if problems:
        msg = f"{what}: " + "\n".join(f"{'' if len(problems) == 1 else '- '}{problem}" for problem in problems)
        raise ConfigError(msg.replace(": - ", ":\n- ", 1))


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, MetadataValue) else value


def _read_mode(said: Any, problems: list[str]) -> WriteMode | None:
    options = {"mode": said} if isinstance(said, str) else said
    if not isinstance(options, Mapping):
        problems.append(f"$.{WRITE} is `{said}`. Valid: one of {listing(_MODES)}, or a map with `mode`.")
        return None
    name = options.get("mode", "overwrite")
    if name not in _MODES:
        problems.append(f"$.{WRITE}.mode is `{name}`. {did_you_mean(str(name), _MODES)}")
        return None
    given = {key: value for key, value in options.items() if key not in {"mode", EFFECTIVE_FORMAT, EFFECTIVE_FUNCTION}}
    valid = set(inspect.signature(_MODES[name]).parameters) - _PER_WRITE
    unknown = [key for key in given if key not in valid]
    problems.extend(f"$.{WRITE}.{key} is no option of `{name}`. {did_you_mean(key, valid)}" for key in unknown)
    if unknown:
        return None
    try:
        return _MODES[name](**given)
    except (ConfigError, TypeError) as error:
        problems.append(f"$.{WRITE}: {error}")
        return None


def _read_effective(said: Any) -> dict[str, Any]:
    options = said if isinstance(said, Mapping) else {}
    return {name: options.get(name) for name in (EFFECTIVE_FORMAT, EFFECTIVE_FUNCTION)}


def _read_partition_by(said: Mapping[str, Any], problems: list[str]) -> PartitionBy | None:
    given = [name for name in (PARTITION_BY, PARTITION_EXPR) if said.get(name) is not None]
    if len(given) == 2:
        problems.append(f"$.{PARTITION_BY} and its alias $.{PARTITION_EXPR} are both there. Keep one.")
    if not given:
        return None
    value = said[given[0]]
    by_dimension = isinstance(value, Mapping) and all(isinstance(column, str) for column in value.values())
    if not (isinstance(value, str) or by_dimension):
        problems.append(
            f"$.{given[0]} is `{value}`. Valid: a column, or for multi partitions a map from dimension to column."
        )
        return None
    return dict(value) if isinstance(value, Mapping) else value


def _read_columns(said: Any, problems: list[str]) -> dict[str, Column]:
    if not isinstance(said, Mapping):
        problems.append(f"$.{COLUMNS} is `{said}`. Valid: a map from column name to its properties.")
        return {}
    valid = {entry.name for entry in fields(Column)}
    found = {}
    for name, value in said.items():
        properties = {"description": value} if isinstance(value, str) else value
        if not isinstance(properties, Mapping):
            problems.append(f"$.{COLUMNS}.{name} is `{value}`. Valid: a description, or a map of {listing(valid)}.")
            continue
        unknown = [key for key in properties if key not in valid]
        problems += [
            f"$.{COLUMNS}.{name}.{key} is no property of a column. {did_you_mean(key, valid)}" for key in unknown
        ]
        if not unknown:
            found[name] = Column(**{**properties, "tags": tuple(properties.get("tags", ()))})
    return found


def _read_lineage(said: Any, problems: list[str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for column, sources in said.items() if isinstance(said, Mapping) else ():
        pairs = [tuple(source) for source in sources if not isinstance(source, str)]
        if len(pairs) != len(sources) or not all(len(pair) == 2 for pair in pairs):
            problems.append(
                f"$.{LINEAGE}.{column} is `{sources}`. Valid: a list of pairs of an asset key and a column."
            )
            continue
        found[column] = [(str(asset), str(name)) for asset, name in pairs]
    if not isinstance(said, Mapping):
        problems.append(f"$.{LINEAGE} is `{said}`. Valid: a map from column to pairs of asset key and column.")
    return found


def _options(mode: WriteMode) -> Iterator[tuple[str, Any, Any]]:
    for entry in fields(mode):
        if entry.name not in _PER_WRITE:
            yield entry.name, getattr(mode, entry.name), entry.default


def _shown(column: Column) -> dict[str, Any]:
    properties = {entry.name: getattr(column, entry.name) for entry in fields(column)}
    return {name: list(value) if name == "tags" else value for name, value in properties.items() if value}


assert set(get_args(WriteMode)) == set(_MODES.values()), "every write mode has a word"
