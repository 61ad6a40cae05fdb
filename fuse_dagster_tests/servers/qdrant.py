"""A fake of a Qdrant server, which can't be installed from any registry here: the HTTP routes that the connector asks.

Written from Qdrant's public REST API. Behind the routes works the local mode of Qdrant's own client, so points,
payloads, filters, searches and aliases are its; quantization, indexes and snapshots are only kept and said again. It
asks for a key, refuses large requests, can be busy, and lets upserts after the first few fail. How a server schedules,
persists and optimizes, and its gRPC, is not here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

from fuse_dagster_tests.servers.certificate import showing

KEY = "key-of-the-vectors-canary"


@dataclass
class QdrantServer:
    """The fake as the test sees it.

    Attributes:
        url: Where it listens.
        port: Of that.
        client: What works behind the routes.
        keys: The keys that it takes.
        largest: Bytes of a request, at the most; Qdrant's own limit is 32 MB.
        busy: How many requests it still answers with 429.
        retry_after: Seconds to wait, which it says then.
        upserts: How many upserts still go well, before all fail with 500; None for all.
        status: What it says of an upsert that it took.
        asked: Every request so far, as `METHOD path`.
        settings: Of each collection, what the local mode doesn't keep.
    """

    client: QdrantClient
    url: str = ""
    port: int = 0
    keys: set[str] = field(default_factory=lambda: {KEY})
    largest: int = 32 * 1024 * 1024
    busy: int = 0
    retry_after: int = 0
    upserts: int | None = None
    status: str = "completed"
    asked: list[str] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget everything, and be well."""
        for one in self.client.get_collections().collections:
            self.client.delete_collection(one.name)
        self.keys, self.largest, self.busy, self.retry_after, self.upserts = {KEY}, 32 * 1024 * 1024, 0, 0, None
        self.status = "completed"
        self.asked.clear()
        self.settings.clear()


class RefusedError(Exception):
    """An answer that says no."""

    def __init__(self, status: int, words: str, **headers: str) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers


@contextlib.contextmanager
def qdrant_server(tls: Path | None = None) -> Iterator[QdrantServer]:
    """Start the fake, and end it afterwards.

    Args:
        tls: The certificate that it shows; without one it talks plain HTTP.
    """
    fake = QdrantServer(QdrantClient(":memory:"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    fake.port = server.server_port
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{fake.port}"
    if tls:
        server.socket = showing(tls).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        fake.client.close()


class _Handler(BaseHTTPRequestHandler):
    fake: QdrantServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names of the library

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/") if part]
        self.fake.asked.append(f"{self.command} {unquote(url.path)}")
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        if len(data) < size:  # whoever asked has gone
            self.close_connection = True
            return
        self.query = parse_qs(url.query)
        try:
            if not parts:
                self._send(200, {"title": "qdrant - vector search engine", "version": "1.17.0"})
                return
            self._admit(len(data))
            with self.fake.lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                result = self._routed(parts, json.loads(data or b"{}"))
            self._send(200, {"result": _plain(result), "status": "ok", "time": 0.0})
        except RefusedError as no:
            self._send(no.status, {"status": {"error": no.words}, "time": 0.0}, **no.headers)
        except (ValidationError, ValueError) as error:
            said = str(error)
            status = 404 if said.endswith("not found") else 409 if said.endswith("already exists") else 400
            self._send(status, {"status": {"error": f"Wrong input: {said}"}, "time": 0.0})

    def _admit(self, size: int) -> None:
        if self.headers.get("api-key") not in self.fake.keys:
            raise RefusedError(401, "Must provide an API key or an Authorization bearer token")
        if self.fake.busy:
            self.fake.busy -= 1
            raise RefusedError(429, "Too many requests", **{"Retry-After": str(self.fake.retry_after)})
        if size > self.fake.largest:
            raise RefusedError(413, "Payload too large")

    def _routed(self, parts: list[str], body: Any) -> Any:
        if parts == ["collections"]:
            return self.fake.client.get_collections()
        if parts == ["aliases"]:
            return self.fake.client.get_aliases()
        if parts == ["collections", "aliases"]:
            return self.fake.client.update_collection_aliases(
                TypeAdapter(models.ChangeAliasesOperation).validate_python(body).actions
            )
        assert parts[0] == "collections", parts
        name, rest = parts[1], parts[2:]
        act = _ROUTES.get((self.command, "/".join(rest[:2])))
        if act is None and rest and rest[0] in {"index", "vectors"}:
            act = _ROUTES.get((self.command, f"{rest[0]}/*"))
        if act is None:
            raise RefusedError(404, "Not found")
        return act(self.fake, name, body, rest)

    def _send(self, status: int, said: dict[str, Any], **headers: str) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _plain(result: Any) -> Any:
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", exclude_none=True)
    return [_plain(one) for one in result] if isinstance(result, list) else result


def _target(fake: QdrantServer, name: str) -> str:
    return {one.alias_name: one.collection_name for one in fake.client.get_aliases().aliases}.get(name, name)


def _info(fake: QdrantServer, name: str, _: Any, __: list[str]) -> Any:
    said = _plain(fake.client.get_collection(name))
    kept = fake.settings.get(_target(fake, name), {})
    said["config"]["quantization_config"] = kept.get("quantization_config")
    said["config"]["params"]["on_disk_payload"] = kept.get("on_disk_payload", True)
    for each, on_disk in kept.get("moved", {}).items():
        said["config"]["params"]["vectors"][each]["on_disk"] = on_disk
    said["payload_schema"] = kept.get("indexes", {})
    return said


def _create(fake: QdrantServer, name: str, body: Any, _: list[str]) -> bool:
    asked = models.CreateCollection(**body)
    made = fake.client.create_collection(
        name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
    )
    fake.settings[name] = {
        "quantization_config": body.get("quantization_config"),
        "on_disk_payload": body.get("on_disk_payload", True),
        "indexes": {},
        "moved": {},
    }
    return made


def _update(fake: QdrantServer, name: str, body: Any, _: list[str]) -> bool:
    asked, kept = models.UpdateCollection(**body), fake.settings[_target(fake, name)]
    fake.client.update_collection(name, metadata=asked.metadata, vectors_config=asked.vectors)
    if asked.quantization_config is not None:
        off = body["quantization_config"] == "Disabled"
        kept["quantization_config"] = None if off else body["quantization_config"]
    if asked.params is not None and asked.params.on_disk_payload is not None:
        kept["on_disk_payload"] = asked.params.on_disk_payload
    for each, diff in (asked.vectors or {}).items():
        kept["moved"][each] = diff.on_disk
    return True


def _upsert(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    if fake.upserts is not None:
        if not fake.upserts:
            raise RefusedError(500, "Service internal error: disk canary")
        fake.upserts -= 1
    done = fake.client.upsert(name, points=models.PointsList(**body).points)
    return _plain(done) | {"status": fake.status}


def _scroll(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    asked = models.ScrollRequest(**body)
    points, after = fake.client.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit or 10,
        offset=asked.offset,
        with_payload=asked.with_payload if asked.with_payload is not None else True,
        with_vectors=asked.with_vector or False,
    )
    return {"points": _plain(points), "next_page_offset": after}


def _retrieve(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    asked = models.PointRequest(**body)
    return fake.client.retrieve(
        name, asked.ids, with_payload=asked.with_payload or False, with_vectors=asked.with_vector or False
    )


def _delete_points(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    return fake.client.delete(name, TypeAdapter(models.PointsSelector).validate_python(body))


def _index(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    found = {"data_type": body["field_schema"], "points": 0}
    fake.settings[_target(fake, name)]["indexes"][body["field_name"]] = found
    return {"operation_id": 0, "status": "completed"}


def _unindex(fake: QdrantServer, name: str, _: Any, rest: list[str]) -> Any:
    fake.settings[_target(fake, name)]["indexes"].pop(rest[1], None)
    return {"operation_id": 0, "status": "completed"}


def _new_vector(fake: QdrantServer, name: str, body: Any, rest: list[str]) -> Any:
    return fake.client.create_vector_name(name, rest[1], TypeAdapter(models.VectorNameConfig).validate_python(body))


def _snapshot(fake: QdrantServer, name: str, _: Any, __: list[str]) -> Any:
    fake.client.get_collection(name)
    kept = fake.settings[_target(fake, name)].setdefault("snapshots", [])
    kept.append({"name": f"{name}-{len(kept)}.snapshot", "creation_time": "2024-01-01T00:00:00", "size": 1})
    return kept[-1]


def _snapshots(fake: QdrantServer, name: str, _: Any, __: list[str]) -> Any:
    fake.client.get_collection(name)
    return fake.settings[_target(fake, name)].get("snapshots", [])


def _count(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    return fake.client.count(name, models.CountRequest(**body).filter)


def _query(fake: QdrantServer, name: str, body: Any, _: list[str]) -> Any:
    return fake.client.query_batch_points(name, models.QueryRequestBatch(**body).searches)


def _drop(fake: QdrantServer, name: str, _: Any, __: list[str]) -> bool:
    fake.settings.pop(name, None)
    return fake.client.delete_collection(name)


_ROUTES: dict[tuple[str, str], Callable[[QdrantServer, str, Any, list[str]], Any]] = {
    ("GET", ""): _info,
    ("PUT", ""): _create,
    ("PATCH", ""): _update,
    ("DELETE", ""): _drop,
    ("PUT", "points"): _upsert,
    ("POST", "points"): _retrieve,
    ("POST", "points/scroll"): _scroll,
    ("POST", "points/count"): _count,
    ("POST", "points/delete"): _delete_points,
    ("POST", "points/query"): _query,
    ("PUT", "index"): _index,
    ("DELETE", "index/*"): _unindex,
    ("PUT", "vectors/*"): _new_vector,
    ("POST", "snapshots"): _snapshot,
    ("GET", "snapshots"): _snapshots,
}
