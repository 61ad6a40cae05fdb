"""SPARQL's results in JSON as Arrow, read from a file twice: for the types of the columns, and for their values.

Format: https://www.w3.org/TR/sparql11-results-json/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from fuse_dagster.connectors.rdf.types import Column, array
from fuse_dagster.core.errors import InputError, MissingExtraError, StoreError, StoreUnavailableError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 10_000
_KINDS = {"uri", "literal", "typed-literal", "bnode"}
_EXTRA = {"datatype": "datatype", "language": "xml:lang"}


class Answers:
    """What a server answered, page by page, each a whole document in a file of its own.

    Args:
        place: Where it came from, for people.
        with_terms: Whether each column is followed by those of its datatypes and languages.
    """

    def __init__(self, place: str, *, with_terms: bool) -> None:
        self._place, self._with_terms = place, with_terms
        self._pages: list[BinaryIO] = []
        self._names: list[str] | None = None
        self._columns: dict[str, Column] = {}

    def add(self, page: BinaryIO) -> int:
        """Look through a page, and keep it; how many rows it has.

        Raises:
            StoreUnavailableError: It is cut off.
            StoreError: It is no result in JSON.
        """
        names = self._head(page)
        if self._names is None:
            self._names = names
            self._columns = {name: Column() for name in names}
        elif names != self._names:
            raise StoreError(f"`{self._place}` answers with other columns from page to page. Ask without pages.")
        height = 0
        for row in self._rows(page):
            height += 1
            for name, term in row.items():
                if name not in self._columns:
                    raise StoreError(f"`{self._place}` binds `{name}`, which is none of its columns {listing(names)}.")
                self._columns[name].see(term)
        if not height:
            self._look_for_bindings(page)
        self._pages.append(page)
        return height

    def truth(self, page: BinaryIO) -> pa.RecordBatch:
        """The answer to an ASK, as a row with the column `answer`.

        Raises:
            StoreError: It is none.
        """
        import pyarrow as pa

        with self._whole(page) as ijson:
            found = list(islice(ijson.items(page, "boolean"), 2))
        if len(found) != 1 or not isinstance(found[0], bool):
            raise StoreError(f"`{self._place}` answers neither `true` nor `false`. Check `base_url`.")
        return pa.record_batch({"answer": pa.array(found, pa.bool_())})

    def schema(self) -> pa.Schema:
        """Columns in the order of the question, with their types."""
        import pyarrow as pa

        fields = []
        for name, column in self._columns.items():
            fields.append(pa.field(name, column.type()))
            fields += [pa.field(f"{name}_{extra}", pa.string()) for extra in _EXTRA if self._with_terms]
        names = [each.name for each in fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise InputError(f"Columns {listing(doubled)} are there twice. Name the variables otherwise.")
        return pa.schema(fields)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of all pages."""
        import pyarrow as pa

        for page in self._pages:
            rows = self._rows(page)
            while part := list(islice(rows, BATCH)):
                yield pa.RecordBatch.from_arrays(list(self._arrays(part, schema)), schema=schema)

    def _arrays(self, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Array]:
        import pyarrow as pa

        for name in self._columns:
            terms = [row.get(name) for row in rows]
            yield array(terms, schema.field(name).type)
            for key in _EXTRA.values() if self._with_terms else ():
                yield pa.array([None if term is None else term.get(key) for term in terms], pa.string())

    def _head(self, page: BinaryIO) -> list[str]:
        with self._whole(page) as ijson:
            head = next(iter(ijson.items(page, "head")), None)
        names = head.get("vars") if isinstance(head, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise StoreError(f"`{self._place}` answers with JSON that is no result of SPARQL. Check `base_url`.")
        return names

    def _rows(self, page: BinaryIO) -> Iterator[dict[str, Any]]:
        with self._whole(page) as ijson:
            for row in ijson.items(page, "results.bindings.item"):
                if not isinstance(row, dict) or not all(_is_term(term) for term in row.values()):
                    raise StoreError(f"`{self._place}` answers with a row without terms of RDF. Check `base_url`.")
                yield row

    def _look_for_bindings(self, page: BinaryIO) -> None:
        with self._whole(page) as ijson:
            if not any(isinstance(found, list) for found in ijson.items(page, "results.bindings")):
                raise StoreError(f"`{self._place}` answers without `bindings`: that is no result. Check `base_url`.")

    @contextmanager
    def _whole(self, page: BinaryIO) -> Iterator[Any]:
        ijson = _ijson()
        page.seek(0)
        try:
            yield ijson
        except (ijson.JSONError, UnicodeDecodeError):
            msg = (
                f"`{self._place}` broke off in the middle of its answer, or put something else behind it, as those do "
                "whose time for a question is up. Nothing of it was used. Ask for less, or by `page_size`."
            )
            raise StoreUnavailableError(msg) from None


def _is_term(term: object) -> bool:
    """Whether a binding has a kind that RDF knows, and texts only."""
    return (
        isinstance(term, dict)
        and term.get("type") in _KINDS
        and isinstance(term.get("value"), str)
        and all(isinstance(term.get(key, ""), str) for key in _EXTRA.values())
    )


def _ijson() -> Any:
    try:
        import ijson
    except ModuleNotFoundError as error:
        msg = f'SPARQL needs the package `{error.name}`. Install it with: pip install "fuse-dagster[sparql]"'
        raise MissingExtraError(msg) from error
    return ijson
