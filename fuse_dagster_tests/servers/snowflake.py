"""A fake of Snowflake for tests: the wire protocol that its driver speaks, before SQL that DuckDB runs.

Written from the shape of the public drivers' requests and answers. What is Snowflake's own (rights, warehouses, locks,
the types beyond DuckDB's) is not in it; two names that differ in upper and lower case only are one here.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import uuid
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from fuse_dagster_tests.servers.serving import served

CHUNK = 10_000
_CODES = {"CatalogException": (2003, "42S02"), "BinderException": (904, "42000"),
          "ConversionException": (100038, "22018"),
          "ParserException": (1003, "42000"), "ConstraintException": (100072, "22000"),
          "TransactionException": (625, "57014")}  # fmt: skip
_DML = {exp.Insert: (0x3100, "inserted"), exp.Update: (0x3200, "updated"), exp.Delete: (0x3300, "deleted"),
        exp.Merge: (0x3400, "inserted")}  # fmt: skip
_WORDS = {"INT": "NUMBER(38,0)", "BIGINT": "NUMBER(38,0)", "TEXT": "VARCHAR(16777216)", "VARCHAR": "VARCHAR(16777216)",
          "TIMESTAMP_NTZ": "TIMESTAMP_NTZ(9)", "TIMESTAMPTZ": "TIMESTAMP_TZ(9)", "TIMESTAMP_TZ": "TIMESTAMP_TZ(9)",
          "DOUBLE": "FLOAT", "BINARY": "BINARY(8388608)", "VARBINARY": "BINARY(8388608)", "TIME": "TIME(9)",
          "TIMESTAMP": "TIMESTAMP_NTZ(9)"}  # fmt: skip


class RefusedError(Exception):
    """What the server says no to, by its number and SQLSTATE."""


@dataclass
class FakeSnowflake:
    """The server as a test sees it.

    Attributes:
        root: Where stages keep their files.
        port: Where it listens on 127.0.0.1.
        password: What it lets in.
        key: The public key of who logs in by one.
        asked: The statements, as they came.
        logins: What was sent to log in, without the secrets.
        refuse: The number that the next statement which holds this text is refused with.
        short: Rows that COPY leaves out.
        lose: Whether the next COMMIT is done, and what stands between answers with 403.
    """

    root: Path
    port: int = 0
    password: str = "let-me-in"
    key: rsa.RSAPublicKey | None = None
    asked: list[str] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    short: int = 0
    lose: bool = False

    def __post_init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.engine = duckdb.connect(":memory:")
        self.reset()

    def reset(self) -> None:
        """Be empty."""
        self.close()
        self.engine = duckdb.connect(":memory:")
        self.engine.execute('ATTACH \':memory:\' AS "SHOP"; CREATE SCHEMA "SHOP"."PUBLIC"; SET TimeZone = \'UTC\'')
        self.sessions = {}
        self.words: dict[tuple[str, str], str] = {}
        self.chunks: dict[str, bytes] = {}
        self.asked, self.logins, self.refuse, self.short, self.lose = [], [], {}, 0, False

    def close(self) -> None:
        """Let go of what it holds."""
        for session in self.sessions.values():
            session.engine.close()
        self.engine.close()

    def run(self, *texts: str) -> None:
        """Run statements of Snowflake as somebody else would."""
        session = Session(self)
        for text in texts:
            session.answer(text, {})
            session.answer("COMMIT", {})


class Session:
    """One login."""

    def __init__(self, server: FakeSnowflake) -> None:
        self.server, self.open = server, False
        self.engine = server.engine.cursor()
        self.engine.execute('USE "SHOP"."PUBLIC"')

    def end(self) -> None:
        """Give up what is not committed."""
        self.answer("ROLLBACK", {})
        self.engine.close()

    def answer(self, text: str, bindings: dict[str, Any]) -> dict[str, Any]:
        """The `data` of the answer to a statement."""
        self.server.asked.append(text)
        for part, number in list(self.server.refuse.items()):
            if part in text:
                del self.server.refuse[part]
                raise RefusedError(number, "22000" if number >= 100_000 else "42501", "it is refused")
        word = text.split(maxsplit=1)[0].upper().rstrip(";")
        if word in {"COMMIT", "ROLLBACK"}:
            if self.open:
                self.engine.execute(word)
            self.open = False
            return _status()
        if word == "PUT":
            return self._put(text)
        if word == "COPY":
            return self._copy(text)
        if text.startswith("CREATE TEMPORARY STAGE"):
            return _status()
        if word == "DESCRIBE":
            return self._described(text.split(None, 2)[2])
        if text.startswith("SHOW PRIMARY KEYS"):
            return self._keys(text.split(None, 5)[5])
        return self._asked(text, bindings)

    def _asked(self, text: str, bindings: dict[str, Any]) -> dict[str, Any]:
        try:
            trees = [tree for tree in sqlglot.parse(text, read="snowflake") if tree is not None]
        except SqlglotError as error:
            raise RefusedError(1003, "42000", str(error).splitlines()[0]) from None
        if len(trees) != 1:
            raise RefusedError(
                8, "0A000", f"Actual statement count {len(trees)} did not match the desired statement count 1."
            )
        tree = trees[0]
        if isinstance(tree, exp.Command | exp.Column | exp.Alias):
            raise RefusedError(1003, "42000", "SQL compilation error: syntax error")
        self._remember(tree)
        said = _duck(normalize_identifiers(tree, dialect="snowflake")).replace("VERSION()", "'9.20.1'")
        kind = next((found for of, found in _DML.items() if isinstance(tree, of)), None)
        changes = isinstance(tree, exp.Create | exp.Drop | exp.Alter)
        if changes:  # as Snowflake does: it commits what is open
            self.answer("COMMIT", {})
        elif kind and not self.open:
            self.engine.execute("BEGIN")
            self.open = True
        values = [_value(bindings[str(number)]) for number in range(1, len(bindings) + 1)]
        try:
            if not kind and not changes:
                return self._selected(self.engine.sql(said, params=values or None).to_arrow_table())
            found = self.engine.execute(said, values).fetchall()
            return _rows({f"number of rows {kind[1]}": [found[0][0]]}, kind[0]) if kind else _status()
        except duckdb.Error as error:
            name = type(error).__name__
            if name == "TransactionException":
                self.open = False
            raise RefusedError(*_CODES.get(name, (100000, "22000")), str(error).splitlines()[0]) from None

    def _remember(self, tree: exp.Expr) -> None:
        """Keep the words of the types that columns are made with."""
        if not isinstance(tree, exp.Create) or tree.kind != "TABLE":
            return
        table = next(tree.find_all(exp.Table)).name
        for column in tree.find_all(exp.ColumnDef):
            word = column.kind.sql("snowflake").replace(", ", ",") if column.kind else "VARCHAR"
            word = (
                word.replace("DECIMAL", "NUMBER")
                .replace("TIMESTAMPNTZ", "TIMESTAMP_NTZ")
                .replace("TIMESTAMPTZ", "TIMESTAMP_TZ")
            )
            self.server.words[table.upper(), column.name.upper()] = _WORDS.get(word, word)

    def _selected(self, table: pa.Table) -> dict[str, Any]:
        columns = [_encoded(name, column) for name, column in zip(table.schema.names, table.columns, strict=True)]
        schema = pa.schema([one[0] for one in columns])
        whole = pa.Table.from_arrays([one[1] for one in columns], schema=schema)
        parts = [whole.slice(start, CHUNK) for start in range(0, max(1, whole.num_rows), CHUNK)]
        names = []
        for part in parts[1:]:
            names.append(uuid.uuid4().hex)
            self.server.chunks[names[-1]] = _ipc(part)
        chunks = [
            {"url": f"http://127.0.0.1:{self.server.port}/chunks/{name}", "rowCount": part.num_rows,
             "uncompressedSize": part.nbytes, "compressedSize": part.nbytes}
            for name, part in zip(names, parts[1:], strict=True)
        ]  # fmt: skip
        return {
            "rowtype": [one[2] for one in columns], "rowsetBase64": b64encode(_ipc(parts[0])).decode(),
            "queryResultFormat": "arrow", "total": whole.num_rows, "returned": whole.num_rows,
            "statementTypeId": 0x1000, "chunks": chunks, "chunkHeaders": {},
        }  # fmt: skip

    def _described(self, path: str) -> dict[str, Any]:
        table = sqlglot.exp.to_table(path, dialect="snowflake")
        schema = table.db or "PUBLIC"
        found = self.engine.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE database_name = 'SHOP' "
            "AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [schema, table.name],
        ).fetchall()
        if not found:
            raise RefusedError(2003, "42S02", f"Table '{path}' does not exist or not authorized.")
        keys = self._key_columns(table)
        words = [self.server.words.get((table.name.upper(), name.upper()), kind) for name, kind, _ in found]
        return _rows({
            "name": [one[0] for one in found], "type": words, "kind": ["COLUMN"] * len(found),
            "null?": ["Y" if one[2] else "N" for one in found],
            "primary key": ["Y" if one[0] in keys else "N" for one in found],
        })  # fmt: skip

    def _keys(self, path: str) -> dict[str, Any]:
        keys = self._key_columns(sqlglot.exp.to_table(path, dialect="snowflake"))
        return _rows({"column_name": keys, "key_sequence": list(range(1, len(keys) + 1))})

    def _key_columns(self, table: exp.Table) -> list[str]:
        found = self.engine.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = 'SHOP' "
            "AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
            [table.name],
        ).fetchall()
        return list(found[0][0]) if found else []

    def _put(self, text: str) -> dict[str, Any]:
        found = re.fullmatch(r"""PUT 'file://(?P<file>[^']+)' @"?(?P<stage>[^"/]+)"?/(?P<folder>\w+).*""", text)
        assert found, text
        name = Path(found["file"]).name
        place = f"stages/{found['stage']}/{found['folder']}/{name}"
        return {
            "command": "UPLOAD", "src_locations": [found["file"]], "parallel": 1, "threshold": 0, "overwrite": True,
            "autoCompress": False, "sourceCompression": "none", "clientShowEncryptionParameter": False,
            "stageInfo": {"locationType": "GCS", "location": f"{found['stage']}/", "creds": {}, "region": "",
                          "path": "", "storageAccount": None, "endPoint": None, "isClientSideEncrypted": False,
                          "presignedUrl": f"http://127.0.0.1:{self.server.port}/{place}"},
        }  # fmt: skip

    def _copy(self, text: str) -> dict[str, Any]:
        found = re.fullmatch(
            r"""COPY INTO (?P<table>.+?) \((?P<names>.+)\) FROM \(SELECT (?P<values>.+) """
            r"""FROM @"?(?P<stage>[^"/]+)"?/(?P<folder>\w+)\) FILE_FORMAT = .+""",
            text,
        )
        assert found, text
        place = self.server.root / "stages" / found["stage"] / found["folder"]
        tree = sqlglot.parse_one(f"SELECT {found['values']}", read="snowflake")
        tree = tree.transform(
            lambda one: exp.column(one.expression.expressions[-1].this) if isinstance(one, exp.JSONExtract) else one
        )
        values = _duck(tree).removeprefix("SELECT ")
        if not self.open:
            self.engine.execute("BEGIN")
            self.open = True
        files = sorted(str(file) for file in place.iterdir())
        try:
            loaded = self.engine.execute(
                f"INSERT INTO {found['table']} ({found['names']}) SELECT {values} FROM read_parquet(?)", [files]
            ).fetchall()[0][0]
        except duckdb.Error as error:
            raise RefusedError(100069, "22000", str(error).splitlines()[0]) from None
        shutil.rmtree(place)
        loaded -= self.server.short
        return _rows({"file": ["all"], "status": ["LOADED"], "rows_parsed": [loaded], "rows_loaded": [loaded]}, 0x3600)


def _duck(tree: exp.Expr) -> str:
    """As DuckDB says it, whose JSON stands for what has no type before."""
    for kind in list(tree.find_all(exp.DataType)):
        if kind.this in {exp.DType.BINARY, exp.DType.VARBINARY, exp.DType.TIME, exp.DType.TIMESTAMPTZ}:
            kind.set("expressions", [])
        if kind.this in {exp.DType.GEOGRAPHY, exp.DType.GEOMETRY}:
            kind.replace(exp.DataType.build("TEXT", dialect="duckdb"))
        if kind.this in {exp.DType.VARIANT, exp.DType.OBJECT, exp.DType.ARRAY}:
            kind.replace(exp.DataType.build("JSON", dialect="duckdb"))
    return tree.sql("duckdb", identify=True)


def _value(binding: dict[str, Any]) -> Any:
    value = binding["value"]
    if value is None:
        return None
    return {"FIXED": lambda: int(value), "REAL": lambda: float(value), "BOOLEAN": lambda: value.lower() == "true"}.get(
        binding["type"], lambda: value
    )()


def _encoded(name: str, column: pa.ChunkedArray) -> tuple[pa.Field, pa.Array, dict[str, Any]]:
    """A column as Snowflake's Arrow has it: numbers beside their scale, times as parts."""
    kind, array = column.type, column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], kind)
    word, precision, scale = "TEXT", 0, 0
    if pa.types.is_integer(kind):
        word, precision, array = "FIXED", 38, array.cast(pa.int64())
    elif pa.types.is_decimal(kind):
        word, precision, scale = "FIXED", kind.precision, kind.scale
        if precision <= 18:  # then it is sent as a whole number
            array = pa.array([None if one is None else int(one.scaleb(scale)) for one in array.to_pylist()], pa.int64())
    elif pa.types.is_floating(kind):
        word, array = "REAL", array.cast(pa.float64())
    elif pa.types.is_timestamp(kind):
        word, scale = "TIMESTAMP_TZ" if kind.tz else "TIMESTAMP_NTZ", 9 if kind.unit == "ns" else 6
        array = _parts(array) if kind.tz or scale == 9 else array.cast(pa.int64())
    elif pa.types.is_time(kind):
        word, scale, array = "TIME", 6, array.cast(pa.time64("us")).cast(pa.int64())
    elif pa.types.is_null(kind):
        array = array.cast(pa.string())
    elif isinstance(kind, pa.BaseExtensionType):
        word, array = "VARIANT", array.storage
    else:
        word = {"bool": "BOOLEAN", "date32[day]": "DATE", "binary": "BINARY"}.get(str(kind), "TEXT")
    said = {"logicalType": word, "precision": str(precision), "scale": str(scale), "charLength": "0"}
    row = {"name": name, "type": word.lower(), "nullable": True, "precision": precision, "scale": scale,
           "length": None, "byteLength": None, "database": "", "schema": "", "table": ""}  # fmt: skip
    return pa.field(name, array.type, metadata=said), array, row


def _signed(token: str, key: rsa.RSAPublicKey | None) -> str | None:
    """Let in who signed a JWT with the key that belongs to this one."""
    text, _, signature = token.rpartition(".")
    if key is None:
        return None
    try:
        key.verify(urlsafe_b64decode(signature + "=="), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return None
    return FakeSnowflake.password


def _parts(times: pa.Array) -> pa.Array:
    per = {"us": 1_000_000, "ns": 1_000_000_000, "ms": 1000, "s": 1}[times.type.unit]
    whole = times.cast(pa.int64())
    epoch = pa.array([None if one is None else one // per for one in whole.to_pylist()], pa.int64())
    fraction = pc.multiply(pc.subtract(whole, pc.multiply(epoch, per)), 1_000_000_000 // per).cast(pa.int32())
    parts = {"epoch": epoch, "fraction": fraction}
    if times.type.tz:
        parts["timezone"] = pa.array([1440] * len(times), pa.int32())
    return pa.StructArray.from_arrays(list(parts.values()), names=list(parts), mask=whole.is_null())


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _status() -> dict[str, Any]:
    return _rows({"status": ["Statement executed successfully."]}, 0x6000)


def _rows(columns: dict[str, list[Any]], kind: int = 0x4000) -> dict[str, Any]:
    """An answer in JSON, as to what is no SELECT."""
    types = [
        {"name": name, "type": "fixed" if values and isinstance(values[0], int) else "text", "nullable": True,
         "precision": 38, "scale": 0, "length": 100, "byteLength": 100}
        for name, values in columns.items()
    ]  # fmt: skip
    rows = [[str(value) for value in row] for row in zip(*columns.values(), strict=True)]
    return {"rowtype": types, "rowset": rows, "queryResultFormat": "json", "total": len(rows), "returned": len(rows),
            "statementTypeId": kind}  # fmt: skip


@contextlib.contextmanager
def snowflake_server(root: Path) -> Iterator[FakeSnowflake]:  # noqa: C901 - one server, read from top to bottom
    """Start a server, and end it afterwards."""
    server = FakeSnowflake(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
            path, body = urlsplit(self.path).path, json.loads(raw or b"{}")
            if path == "/session/v1/login-request":
                self._send(self._login(body["data"]))
            elif path == "/queries/v1/query-request":
                found = self._query(body)
                if server.lose and body["sqlText"] == "COMMIT":
                    server.lose = False
                    self._bytes(b"", 403)
                else:
                    self._send(found)
            else:
                if path == "/session" and "delete=true" in self.path:
                    server.sessions.pop(self._token()).end()
                self._send({"success": True, "data": None})

        def do_PUT(self) -> None:
            place = server.root / urlsplit(self.path).path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            self._send({})

        def do_GET(self) -> None:
            name = urlsplit(self.path).path.rpartition("/")[2]
            self._bytes(server.chunks[name]) if name in server.chunks else self._bytes(b"", 404)

        def do_HEAD(self) -> None:
            self._bytes(b"", 404)

        def _login(self, data: dict[str, Any]) -> dict[str, Any]:
            server.logins.append({name: value for name, value in data.items() if name not in {"PASSWORD", "TOKEN"}})
            given = data.get("PASSWORD") or data.get("TOKEN")
            known = _signed(given, server.key) if data.get("AUTHENTICATOR") == "SNOWFLAKE_JWT" else given
            if known != server.password:
                message = f"Incorrect username or password was specified. {given}"  # worse than the real one
                return {
                    "success": False,
                    "code": "390100",
                    "message": message,
                    "data": {"authnMethod": "USERNAME_PASSWORD"},
                }
            token = uuid.uuid4().hex
            server.sessions[token] = Session(server)
            return {
                "success": True,
                "data": {"token": token, "masterToken": token, "validityInSeconds": 3600, "serverVersion": "9.20.1",
                         "masterValidityInSeconds": 3600, "sessionId": 1, "parameters": [
                             {"name": "AUTOCOMMIT", "value": False}, {"name": "TIMEZONE", "value": "UTC"}],
                         "sessionInfo": {"databaseName": "SHOP", "schemaName": "PUBLIC"}},
            }  # fmt: skip

        def _token(self) -> str:
            return str(self.headers["Authorization"]).partition('"')[2].rstrip('"')

        def _query(self, body: dict[str, Any]) -> dict[str, Any]:
            session = server.sessions[self._token()]
            query = uuid.uuid4().hex
            try:
                data = session.answer(body["sqlText"], body.get("bindings") or {})
            except RefusedError as error:
                number, state, message = error.args
            except Exception as error:  # noqa: BLE001 - or the driver asks again and again
                number, state, message = 300002, "XX000", f"the fake broke: {error!r}"
            else:
                extra = {"queryId": query, "parameters": [], "finalDatabaseName": "SHOP", "finalSchemaName": "PUBLIC"}
                return {"success": True, "data": data | extra}
            return {"success": False, "code": f"{number:06d}", "message": message,
                    "data": {"queryId": query, "errorCode": f"{number:06d}", "sqlState": state}}  # fmt: skip

        def _send(self, body: dict[str, Any]) -> None:
            self._bytes(json.dumps(body).encode(), kind="application/json")

        def _bytes(self, body: bytes, status: int = 200, kind: str = "application/octet-stream") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with contextlib.closing(server), served(Handler) as server.port:
        yield server
