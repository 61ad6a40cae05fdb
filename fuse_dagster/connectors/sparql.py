"""An endpoint that answers SPARQL: knowledge graphs, registers, and what the web calls linked data."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import urlencode

from pydantic import Field

from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.http.connection import HTTPConnection
from fuse_dagster.connectors.http.failures import says
from fuse_dagster.connectors.http.messages import Answer, Request
from fuse_dagster.connectors.object_store import looked_up
from fuse_dagster.core.errors import ConfigError, InputError, NotThereError, StoreError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.rdf.answers import Answers
    from fuse_dagster.connectors.rdf.questions import Question

_JSON = "application/sparql-results+json"
_IN_MEMORY = 8 * 2**20
_MOST = 64 * 2**30
_PARTIAL = ("x-sql-state", "x-sql-message")
_MOST_ROWS = "x-sparql-maxrows"


class SPARQL(HTTPConnection):
    """An endpoint that answers questions in SPARQL 1.1: SELECT with typed columns, and ASK.

    Parameters are written as RDF terms in the place of variables. An answer is kept on disk until all of it is there:
    rows never come of a part.

    Examples:
        >>> SPARQL(base_url="https://example.org/sparql").place
        'https://example.org/sparql'
    """

    type: Literal["sparql"] = "sparql"
    queries: dict[str, str] = Field(
        default_factory=dict, description="Name -> SELECT: what can be read by a name, as a table is."
    )
    send_as: Literal["form", "direct", "get"] = Field(
        default="form",
        description="How a question travels: in a form by POST, as the body of a POST, or in the address by GET, which "
        "caches may answer but long questions don't fit into.",
    )
    default_graphs: list[str] = Field(default_factory=list, description="IRIs of graphs to ask, together.")
    named_graphs: list[str] = Field(default_factory=list, description="IRIs of graphs that GRAPH may name.")
    page_size: int = Field(
        default=0,
        description="Rows to ask for at a time, by LIMIT and OFFSET, where the endpoint limits its answers. Every "
        "question needs an ORDER BY that leaves no ties then. 0 asks for all at once.",
    )
    max_rows: int = Field(
        default=0,
        description="Rows at which the endpoint cuts its answers without a word (DBpedia: 10000): an answer of so many "
        "is refused rather than taken for all. 0 for no such limit.",
    )
    with_terms: bool = Field(
        default=False, description="Add the columns `NAME_datatype` and `NAME_language`, where they matter."
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Pages that the endpoint can give, questions that are some, graphs that have names."""
        from fuse_dagster.connectors.rdf.questions import question
        from fuse_dagster.connectors.rdf.terms import IRI, written

        found = super().problems(given)
        for name in ("page_size", "max_rows"):
            if isinstance(given[name], int) and given[name] < 0:
                found.append(Problem(name, f"`{given[name]}` is below 0. Valid: 0 and above."))
        for name in ("default_graphs", "named_graphs"):
            for graph in given[name] if isinstance(given[name], list) else ():
                try:
                    written(IRI(graph))
                except InputError as error:
                    found.append(Problem(name, str(error)))
        for name, text in given["queries"].items() if isinstance(given["queries"], Mapping) else ():
            try:
                question(text)
            except InputError as error:
                found.append(Problem("queries", f"`{name}`: {error}"))
        return found

    def answer(self) -> str:
        """Ask whether there is anything at all.

        Returns:
            What the server calls itself, and that it answers.
        """
        from fuse_dagster.connectors.rdf.questions import question

        with ExitStack() as stack:
            page = _file(stack)
            said = self._asked(question("ASK {}").text, page)
            self._answers().truth(page)
        server = said.headers.get("server", "").strip()
        return f"SPARQL by {server}" if server else "SPARQL"

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of `queries`, sorted."""
        yield from sorted(name for name in self.queries if fnmatchcase(name, pattern))

    @contextmanager
    def rows(
        self, name: str, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read the answer to one of `queries`, in batches.

        Args:
            name: Of the question.
            columns: The columns to read, in this order; None for all.
            limit: Rows at the most; None for all.

        Raises:
            NotThereError: There is no question of that name.
            ConfigError: It has no such column.
        """
        if name not in self.queries:
            msg = f"`{self.place}` has no `queries` with the name `{name}`. {did_you_mean(name, self.queries)}"
            raise NotThereError(msg)
        with self._opened(self.queries[name], None, columns=columns, limit=limit) as reader:
            yield reader

    @contextmanager
    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> "Iterator[pa.RecordBatchReader]":
        """Ask, and read the answer in batches.

        Args:
            text: A SELECT or an ASK in SPARQL 1.1.
            parameters: Name of a variable, without its `?` -> value that stands in its place: text, numbers, dates,
                `rdf.terms.IRI` and `rdf.terms.Literal`.

        Yields:
            The columns in the order of the question; of an ASK one row with the column `answer`.

        Raises:
            InputError: The endpoint doesn't understand the question, or a parameter can't be one.
            StoreError: The endpoint refuses, cuts its answer, or answers with something else.
            StoreUnavailableError: It can't be reached, or breaks off.
        """
        with self._opened(text, parameters) as reader:
            yield reader

    @contextmanager
    def _opened(
        self,
        text: str,
        parameters: Mapping[str, Any] | None,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> "Iterator[pa.RecordBatchReader]":
        import pyarrow as pa

        from fuse_dagster.connectors.rdf.questions import question

        asked, answers = question(text, parameters), self._answers()
        with ExitStack() as stack:
            if asked.form == "ASK":
                page = _file(stack)
                self._asked(asked.text, page)
                truth = answers.truth(page)
                batches, schema = iter([truth]), truth.schema
            else:
                self._fetch(asked, answers, stack, limit)
                schema = answers.schema()
                batches = answers.batches(schema)
            wanted = list(schema.names if columns is None else columns)
            unknown = [name for name in wanted if name not in schema.names]
            if unknown:
                raise ConfigError(f"There is no column `{unknown[0]}`. {did_you_mean(unknown[0], schema.names)}")
            chosen = pa.schema([schema.field(name) for name in wanted])
            narrowed = (batch.select(wanted) for batch in batches)
            yield pa.RecordBatchReader.from_batches(chosen, _first(narrowed, limit))

    def _fetch(self, asked: "Question", answers: "Answers", stack: ExitStack, limit: int | None) -> None:
        """Bring all rows of a SELECT to this machine, or as many as are wanted."""
        if not self.page_size:
            text = asked.text if limit is None or asked.limited else asked.page(limit, 0)
            page = _file(stack)
            self._refuse_cut(self._asked(text, page), answers.add(page))
            return
        if asked.limited:
            raise InputError(
                "A question that is asked by pages can't have a LIMIT, an OFFSET or VALUES of its own at its end. Take "
                "them away, or leave `page_size` out."
            )
        if not asked.ordered:
            raise InputError(
                "A question that is asked by pages needs an ORDER BY that leaves no ties: without one the pages may "
                "overlap, and rows be lost. Add it, or leave `page_size` out."
            )
        start = 0
        while limit is None or start < limit:
            page = _file(stack)
            self._refuse_partial(self._asked(asked.page(self.page_size, start), page))
            height = answers.add(page)
            start += height
            # An endpoint may give less than it is asked for: only a page without rows is the last one.
            if height == 0:
                return
            if height > self.page_size:
                raise StoreError(f"`{self.place}` answers with more rows than LIMIT allows. Leave `page_size` out.")

    def _asked(self, text: str, page: BinaryIO) -> Answer:
        """Send a question, and put what is answered into a file."""
        fields = [("query", text)]
        graphs = [("default-graph-uri", one) for one in self.default_graphs]
        graphs += [("named-graph-uri", one) for one in self.named_graphs]
        base, headers = looked_up(self.base_url), {"accept": f"{_JSON}, application/json;q=0.5"}
        if self.send_as == "form":
            headers["content-type"] = "application/x-www-form-urlencoded"
            request = Request(url=base, method="POST", headers=headers, body=urlencode(fields + graphs).encode())
        elif self.send_as == "direct":
            headers["content-type"] = "application/sparql-query"
            url = _with(base, graphs)
            request = Request(url=url, method="POST", headers=headers, body=text.encode())
        else:
            request = Request(url=_with(base, fields + graphs), headers=headers)
        client = self.client()
        answer = client.send(_into(request, page))
        if answer.status in {400, 414, 431}:
            said = says(answer)
            why = "is too long for an address: take another `send_as`" if answer.status != 400 else "is not understood"
            told = f" It says: `{said}`." if said else ""
            raise InputError(f"The question {why} by `{self.place}` (status {answer.status}).{told}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.endswith("json"):
            raise StoreError(
                f"`{self.place}` answers with `{kind or 'nothing said'}`, and not with results in JSON. Check that "
                "`base_url` is the endpoint for questions, and no page for people."
            )
        return answer

    def _refuse_partial(self, answer: Answer) -> None:
        if any(name in answer.headers for name in _PARTIAL):
            raise StoreError(
                f"`{self.place}` says that its answer is only a part, as its time was up. Nothing of it was used. Ask "
                "for less, or by `page_size`."
            )

    def _refuse_cut(self, answer: Answer, height: int) -> None:
        """Refuse an answer that has as many rows as the endpoint gives at the most."""
        self._refuse_partial(answer)
        said = answer.headers.get(_MOST_ROWS, "")
        for most in (self.max_rows, int(said) if said.isascii() and said.isdigit() else 0):
            if most and height >= most:
                raise StoreError(
                    f"`{self.place}` answers with {height:,} rows, which is the most that it gives: there may be more. "
                    f"Nothing of it was used. Ask by pages: set `page_size` to {most} or less, and add an ORDER BY."
                )

    def _answers(self) -> "Answers":
        from fuse_dagster.connectors.rdf.answers import Answers

        return Answers(self.place, with_terms=self.with_terms)


def _file(stack: ExitStack) -> BinaryIO:
    """A file for one answer, which goes with its reader."""
    return stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="fuse_"))  # type: ignore[return-value]  # a file


def _into(request: Request, page: BinaryIO) -> Request:
    from dataclasses import replace

    return replace(request, into=page, most=_MOST, accept=frozenset({400, 414, 431}))


def _with(base: str, fields: Sequence[tuple[str, str]]) -> str:
    if not fields:
        return base
    return f"{base}{'&' if '?' in base else '?'}{urlencode(fields)}"


def _first(batches: "Iterator[pa.RecordBatch]", limit: int | None) -> "Iterator[pa.RecordBatch]":
    left = limit
    for batch in batches:
        part = batch if left is None else batch.slice(0, left)
        yield part
        if left is not None:
            left -= part.num_rows
            if left <= 0:
                return
