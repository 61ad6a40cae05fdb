"""A fake of BigQuery for tests: the REST API that Google's client speaks, before SQL that DuckDB runs.

Written from the shape of the public API (https://cloud.google.com/bigquery/docs/reference/rest): datasets, tables,
jobs that query and load, results in pages. Rights, prices, the Storage API and the types beyond DuckDB's are not in it.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from fuse_dagster_tests.servers.serving import served

PROJECT, DATASET = "acme", "shop"
_OLD = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_ARROW = {"int64": "INTEGER", "double": "FLOAT", "bool": "BOOLEAN", "date32[day]": "DATE", "time64[us]": "TIME",
          "timestamp[us]": "DATETIME", "binary": "BYTES"}  # fmt: skip
_STATUS = {"notFound": 404, "duplicate": 409, "accessDenied": 403, "invalidQuery": 400, "backendError": 503,
           "bytesBilledLimitExceeded": 400, "quotaExceeded": 403, "authError": 401}  # fmt: skip


class RefusedError(Exception):
    """What the server says no to, by its reason."""


@dataclass
class FakeBigQuery:
    """The server as a test sees it.

    Attributes:
        folder: Where uploads lie.
        port: Where it listens on 127.0.0.1.
        asked: The texts of the queries, as they came.
        jobs: Id -> the job, as the API says it.
        refuse: The reason that the next query which holds this text is refused with.
        lose: Parts of texts whose job is run, and its answer lost.
        bytes: What each query is said to read.
        short: Rows that a load leaves out.
        breaks: The kind of statement, as `insert`, that fails for good after those before it in its job.
        silent: The path, `jobs` or `queries`, by which nobody may ask how jobs that write ended; they run as before.
        sticky: Whether tables can't be dropped.
    """

    folder: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: dict[str, str] = field(default_factory=dict)
    lose: list[str] = field(default_factory=list)
    bytes: int = 1000
    short: int = 0
    breaks: str = ""
    silent: str = ""
    sticky: bool = False

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.engine = duckdb.connect(":memory:")
        self.reset()

    def reset(self) -> None:
        """Be empty, with one dataset."""
        self.close()
        self.engine = duckdb.connect(":memory:")
        self.engine.execute(
            f'ATTACH \':memory:\' AS "{PROJECT}"; USE "{PROJECT}"; CREATE SCHEMA "{DATASET}"; SET TimeZone = \'UTC\';'
            f'USE "{PROJECT}"."{DATASET}"'
        )
        self.schemas: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.answers: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {}
        self.asked, self.jobs, self.refuse, self.lose, self.bytes, self.short = [], {}, {}, [], 1000, 0
        self.breaks, self.silent, self.sticky = "", "", False

    def close(self) -> None:
        """Let go of what it holds."""
        self.engine.close()

    def run(self, *texts: str) -> None:
        """Run statements of BigQuery as somebody else would."""
        for text in texts:
            self.answered(text, [])

    def tables(self) -> list[str]:
        """The tables that there are."""
        found = self.engine.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [PROJECT])
        return sorted(name for (name,) in found.fetchall())

    def answered(self, text: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        """Run a text of one or several statements; the statistics of its job, and what it answers."""
        try:
            trees = [tree for tree in sqlglot.parse(text, read="bigquery") if tree is not None]
        except SqlglotError as error:
            raise RefusedError("invalidQuery", f"Syntax error: {str(error).splitlines()[0]}") from None
        values = {one["name"]: _value(one["parameterType"], one["parameterValue"]) for one in parameters}
        found: dict[str, Any] = {}
        try:
            for tree in trees:
                found = self._one(tree, values)
        except (duckdb.Error, RefusedError) as error:
            with contextlib.suppress(duckdb.Error):
                self.engine.execute("ROLLBACK")
            if isinstance(error, RefusedError):
                raise
            said = str(error).splitlines()[0]
            if isinstance(error, duckdb.CatalogException) and "Table" in said:
                raise RefusedError("notFound", f"Not found: Table {said}") from None
            raise RefusedError("invalidQuery", f"Unrecognized name: {said}" if "column" in said else said) from None
        return found

    def _one(self, tree: exp.Expr, values: dict[str, Any]) -> dict[str, Any]:
        if isinstance(tree, exp.Command | exp.Column | exp.Alias):
            raise RefusedError("invalidQuery", "Syntax error: Unexpected identifier")
        if isinstance(tree, exp.Create) and tree.kind == "TABLE" and tree.find(exp.ColumnDef):
            self._remember(tree)
        if tree.key == self.breaks:
            self.breaks = ""
            raise RefusedError("backendError", "it broke")
        said = _duck(tree)
        if isinstance(tree, exp.Transaction | exp.Commit | exp.Rollback):
            self.engine.execute(said.removesuffix(" TRANSACTION"))
            return {}
        used = {name: value for name, value in values.items() if f"${name}" in said}
        if isinstance(tree, exp.Query):
            table = self.engine.sql(said, params=used or None).to_arrow_table()
            return {"answer": _answer(table), "kind": "SELECT"}
        counts = [0, 0]
        if isinstance(tree, exp.Merge):
            both = _duck(tree.args["on"])
            source, target = _duck(tree.args["using"]), _duck(tree.this)
            text = f"SELECT COUNT(*) FROM {source} WHERE EXISTS (SELECT 1 FROM {target} WHERE {both})"
            counts[1] = self.engine.execute(text).fetchall()[0][0]
        rows = self.engine.execute(said, used or None).fetchall()
        changed = rows[0][0] if rows and isinstance(rows[0][0], int) else 0
        return {
            "changed": changed,
            "inserted": changed - counts[1],
            "updated": counts[1],
            "kind": type(tree).__name__.upper(),
        }

    def _remember(self, tree: exp.Create) -> None:
        table = next(tree.find_all(exp.Table))
        fields = []
        for column in tree.this.expressions:
            if not isinstance(column, exp.ColumnDef):
                continue
            assert column.kind is not None
            found = _field(column.name, column.kind)
            if any(isinstance(one.kind, exp.NotNullColumnConstraint) for one in column.constraints):
                found["mode"] = "REQUIRED"
            fields.append(found)
        self.schemas.setdefault((table.db or DATASET, table.name), fields)

    def create(self, dataset: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make a table of what the API says of it."""
        name = body["tableReference"]["tableId"]
        fields = body.get("schema", {}).get("fields", [])
        columns = ", ".join(f"`{one['name']}` {_word(one)}" for one in fields)
        self.run(f"CREATE TABLE `{dataset}`.`{name}` ({columns})")
        self.schemas[dataset, name] = fields
        return body

    def described(self, dataset: str, name: str) -> dict[str, Any]:
        """A table or view, as the API says it."""
        found = self.engine.execute(
            "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [PROJECT, dataset, name],
        ).fetchall()
        if not found:
            raise RefusedError("notFound", f"Not found: Table {PROJECT}:{dataset}.{name}")
        fields = self.schemas.get((dataset, name))
        if fields is None:
            text = f'SELECT * FROM "{dataset}"."{name}" LIMIT 0'
            fields = _answer(self.engine.sql(text).to_arrow_table())[0]
        reference = {"projectId": PROJECT, "datasetId": dataset, "tableId": name}
        return {
            "kind": "bigquery#table",
            "id": name,
            "tableReference": reference,
            "type": "TABLE",
            "schema": {"fields": fields},
        }

    def job(self, body: dict[str, Any], upload: Path | None = None) -> dict[str, Any]:
        """Run a job to its end, and keep it."""
        reference = {"projectId": PROJECT, "location": "europe-west3"} | body["jobReference"]
        job_id, config = reference["jobId"], body["configuration"]
        if job_id in self.jobs:
            raise RefusedError("duplicate", f"Already Exists: Job {PROJECT}:US.{job_id}")
        kept: dict[str, Any] = {"kind": "bigquery#job", "id": f"{PROJECT}:US.{job_id}", "jobReference": reference,
                                "configuration": config, "status": {"state": "DONE"}, "statistics": {}}  # fmt: skip
        if not config.get("dryRun"):
            self.jobs[job_id] = kept
        try:
            kept["statistics"] = self._load(config["load"], upload) if upload else self._query(config, job_id)
        except RefusedError as error:
            reason, message = error.args
            problem = {"reason": reason, "message": message}
            if reason == "invalidQuery" or config.get("dryRun"):
                self.jobs.pop(job_id, None)
                raise
            kept["status"] |= {"errorResult": problem, "errors": [problem]}
        return kept if config.get("dryRun") else kept | {"status": {"state": "RUNNING"}, "statistics": {}}

    def _query(self, config: dict[str, Any], job_id: str) -> dict[str, Any]:
        query = config["query"]
        text, parameters = query["query"], query.get("queryParameters", [])
        most = int(query.get("maximumBytesBilled", 0))
        said = {"totalBytesProcessed": str(self.bytes)}
        if config.get("dryRun"):
            return said | {"query": said | {"statementType": "SELECT"}}
        self.asked.append(text)
        for part, reason in list(self.refuse.items()):
            if part in text:
                del self.refuse[part]
                raise RefusedError(reason, "it is refused")
        if most and self.bytes > most:
            raise RefusedError(
                "bytesBilledLimitExceeded", f"Query exceeded limit for bytes billed: {most}. {self.bytes} or higher"
            )
        found = self.answered(text, parameters)
        self.answers[job_id] = found.get("answer", ([], []))
        counts = {"numDmlAffectedRows": str(found.get("changed", 0)), "statementType": found.get("kind", "SCRIPT"),
                  "dmlStats": {"insertedRowCount": str(found.get("inserted", 0)),
                               "updatedRowCount": str(found.get("updated", 0))}}  # fmt: skip
        return said | {"query": said | counts}

    def _load(self, load: dict[str, Any], upload: Path | None) -> dict[str, Any]:
        target = load["destinationTable"]
        fields = load["schema"]["fields"]
        names = ", ".join(f'"{one["name"].replace(chr(34), chr(34) * 2)}"' for one in fields)
        path = f'"{target["datasetId"]}"."{target["tableId"]}"'
        text = f"INSERT INTO {path} ({names}) SELECT {names} FROM read_parquet(?)"
        count = self.engine.execute(text, [str(upload)]).fetchall()[0][0] - self.short
        return {"load": {"outputRows": str(count), "inputFiles": "1", "outputBytes": "1", "inputFileBytes": "1"}}

    def page(self, job_id: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """Part of the answer to a query."""
        fields, rows = self.answers[job_id]
        start = int(query.get("pageToken", ["0"])[0])
        most = int(query.get("maxResults", ["100000"])[0])
        end = start + most
        reference = {"projectId": PROJECT, "jobId": job_id, "location": "europe-west3"}
        found = {"kind": "bigquery#getQueryResultsResponse", "jobReference": reference, "schema": {"fields": fields},
                 "totalRows": str(len(rows)), "jobComplete": True, "rows": rows[start:end]}  # fmt: skip
        return found | ({"pageToken": str(end)} if end < len(rows) else {})


def _duck(tree: exp.Expr) -> str:
    """As DuckDB says it."""
    tree = tree.copy()
    for kind in list(tree.find_all(exp.DataType)):
        if kind.this == exp.DType.DECIMAL and not kind.expressions:
            kind.replace(exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))
    for one in list(tree.find_all(exp.Parameter)):
        one.replace(exp.Var(this=f"${one.name}"))
    return tree.sql("duckdb", identify=True)


def _word(one: dict[str, Any]) -> str:
    word = {old: new for new, old in _OLD.items()}.get(one["type"], one["type"])
    return f"{word}({one['precision']}, {one.get('scale', 0)})" if one.get("precision") else word


def _field(name: str, kind: exp.DataType) -> dict[str, Any]:
    """A column as the API says it, from its type in SQL."""
    word = kind.sql("bigquery")
    found: dict[str, Any] = {"name": name, "mode": "NULLABLE"}
    if kind.this == exp.DType.ARRAY:
        return found | _field(name, kind.expressions[0]) | {"mode": "REPEATED"}
    if kind.this == exp.DType.STRUCT:
        return found | {"type": "RECORD", "fields": [_field(one.name, one.kind) for one in kind.expressions]}
    base, _, size = word.partition("(")
    found["type"] = _OLD.get(base, base)
    numbers = size.rstrip(")").replace(" ", "").split(",") if size else []
    if numbers and base in {"NUMERIC", "BIGNUMERIC"}:
        found |= {"precision": numbers[0], "scale": numbers[1] if len(numbers) > 1 else "0"}
    elif numbers:
        found["maxLength"] = numbers[0]
    return found


def _answer(table: pa.Table) -> tuple[list[dict[str, Any]], list[Any]]:
    """The columns and rows of an answer, as JSON has them."""
    fields = [_said(one) for one in table.schema]
    columns = [
        [_cell(value, one) for value in column.to_pylist()] for one, column in zip(fields, table.columns, strict=True)
    ]
    return fields, [{"f": [{"v": value} for value in row]} for row in zip(*columns, strict=True)]


def _said(one: pa.Field) -> dict[str, Any]:
    kind = one.type
    if pa.types.is_list(kind):
        return _said(pa.field(one.name, kind.value_type)) | {"mode": "REPEATED"}
    found: dict[str, Any] = {"name": one.name, "mode": "NULLABLE"}
    if pa.types.is_struct(kind):
        return found | {"type": "RECORD", "fields": [_said(part) for part in kind]}
    if pa.types.is_decimal(kind):
        return found | {"type": "INTEGER" if kind.scale == 0 and kind.precision == 38 else "NUMERIC"}
    if pa.types.is_integer(kind):
        return found | {"type": "INTEGER"}
    if pa.types.is_timestamp(kind) and kind.tz:
        return found | {"type": "TIMESTAMP"}
    if isinstance(kind, pa.BaseExtensionType):
        return found | {"type": "JSON"}
    return found | {"type": _ARROW.get(str(kind), "STRING")}


def _cell(value: Any, one: dict[str, Any]) -> Any:
    if one["mode"] == "REPEATED":
        return [{"v": _cell(part, one | {"mode": "NULLABLE"})} for part in value or []]
    if value is None:
        return None
    if one["type"] == "RECORD":
        return {"f": [{"v": _cell(value[part["name"]], part)} for part in one["fields"]]}
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.standard_b64encode(value).decode()
    if isinstance(value, dt.datetime) and value.tzinfo:
        return str((value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1))
    return value.isoformat() if isinstance(value, dt.datetime | dt.date | dt.time) else str(value)


def _value(kind: dict[str, Any], value: dict[str, Any]) -> Any:
    if kind["type"] == "ARRAY":
        return [_value(kind["arrayType"], one) for one in value["arrayValues"]]
    text = value.get("value")
    if text is None:
        return None
    made = {"INT64": int, "FLOAT64": float, "BOOL": lambda one: one == "true", "BYTES": base64.standard_b64decode}
    return made.get(kind["type"], str)(text)


@contextlib.contextmanager
def bigquery_server(folder: Path) -> Iterator[FakeBigQuery]:  # noqa: C901 - one server, read from top to bottom
    """Start a server, and end it afterwards."""
    server = FakeBigQuery(folder)
    uploads: dict[str, dict[str, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            url = urlsplit(self.path)
            parts = [unquote(part) for part in url.path.split("/") if part]
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with server.lock:
                try:
                    body = self._made(parts, parse_qs(url.query), raw)
                except RefusedError as error:
                    reason, message = error.args
                    problem = {"code": _STATUS.get(reason, 400), "message": message,
                               "errors": [{"reason": reason, "message": message}]}  # fmt: skip
                    self._send({"error": problem}, problem["code"])
                    return
                except Exception as error:  # noqa: BLE001 - or the client asks again and again
                    self._send({"error": {"code": 400, "message": f"the fake broke: {error!r}", "errors": []}}, 400)
                    return
            if body is not None:
                self._send(body)

        def _made(  # noqa: C901, PLR0912 - the routes, one below the other
            self, parts: list[str], query: dict[str, list[str]], raw: bytes
        ) -> dict[str, Any] | None:
            if parts[0] == "upload":
                return self._uploaded(query, raw)
            rest = parts[4:]  # bigquery, v2, projects, <project>
            writes = rest[1:] and rest[1].startswith("fuse_") and not rest[1].startswith("fuse_load")
            if writes and rest[0] == server.silent and self.command == "GET":
                raise RefusedError("accessDenied", "it is not to be seen")
            match rest, self.command:
                case ["jobs"], "POST":
                    body = json.loads(raw)
                    made = server.job(body)
                    text = body["configuration"]["query"]["query"]
                    for part in [one for one in server.lose if one in text]:
                        server.lose.remove(part)
                        self.close_connection = True
                        self.connection.close()
                        return None
                    return made
                case ["jobs", name], "GET":
                    if name not in server.jobs or query.get("location", ["US"]) != ["europe-west3"]:
                        raise RefusedError("notFound", f"Not found: Job {name}")
                    return server.jobs[name]
                case ["queries", name], "GET":
                    status = server.jobs[name]["status"]
                    if "errorResult" in status:
                        raise RefusedError(status["errorResult"]["reason"], status["errorResult"]["message"])
                    return server.page(name, query)
                case ["datasets"], "GET":
                    return {
                        "datasets": [{"id": DATASET, "datasetReference": {"projectId": PROJECT, "datasetId": DATASET}}]
                    }
                case ["datasets", dataset], "GET":
                    if dataset != DATASET:
                        raise RefusedError("notFound", f"Not found: Dataset {dataset}")
                    reference = {"projectId": PROJECT, "datasetId": dataset}
                    return {"id": dataset, "location": "europe-west3", "datasetReference": reference}
                case ["datasets", dataset, "tables"], "POST":
                    return server.create(dataset, json.loads(raw))
                case ["datasets", dataset, "tables"], "GET":
                    found = server.engine.execute(
                        "SELECT DISTINCT table_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ?",
                        [PROJECT, dataset],
                    ).fetchall()
                    return {"tables": [server.described(dataset, name) for (name,) in found]}
                case ["datasets", dataset, "tables", name], "GET":
                    return server.described(dataset, name)
                case ["datasets", _, "tables", _], "DELETE" if server.sticky:
                    raise RefusedError("accessDenied", "it stays")
                case ["datasets", dataset, "tables", name], "DELETE":
                    server.engine.execute(f'DROP TABLE "{dataset}"."{name}"')
                    server.schemas.pop((dataset, name), None)
                    return {}
                case _:
                    raise RefusedError("notFound", f"no such path: {parts}")

        def _uploaded(self, query: dict[str, list[str]], raw: bytes) -> dict[str, Any] | None:
            if self.command == "POST":
                body = json.loads(raw)
                name = body["jobReference"]["jobId"]
                uploads[name] = body
                (server.folder / name).write_bytes(b"")
                self._send({}, 200, {"Location": f"http://127.0.0.1:{server.port}/upload/x?upload_id={name}"})
                return None
            name = query["upload_id"][0]
            file = server.folder / name
            file.write_bytes(file.read_bytes() + raw)
            total = self.headers["Content-Range"].rpartition("/")[2]
            if total == "*" or file.stat().st_size < int(total):
                self._send({}, 308, {"Range": f"bytes=0-{file.stat().st_size - 1}"})
                return None
            return server.job(uploads[name], file)

        def _send(self, body: dict[str, Any], status: int = 200, fields: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            sent = {"Content-Type": "application/json", "Content-Length": str(len(data))} | (fields or {})
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with contextlib.closing(server), served(Handler) as server.port:
        yield server
