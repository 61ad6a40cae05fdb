"""A fake of a Databricks workspace, which can't run here: its Files API and its DBFS API, with its logins.

Written from the public documentation of both APIs and of OAuth for service principals; Databricks' own SDK talks to it
over HTTP. It keeps files on disk, handles of DBFS' uploads, and who may come in; it lists few entries a page, and can
be busy, or lose an answer. What a workspace decides about rights, and how fast it is, is not here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

VOLUME = "main.raw.landing"
TOKEN, CLIENT, SECRET = "token-of-the-workspace", "principal", "secret-of-the-principal"
BLOCK = 1024 * 1024


@dataclass
class Workspace:
    """The fake as the test sees it.

    Attributes:
        folder: What the workspace holds: `Volumes/...` and whatever lies in DBFS.
        address: URL of the workspace.
        tokens: The tokens that it takes, and until when, in seconds of the epoch.
        forbidden: Whether it refuses who is logged in.
        lifetime: Seconds that a token of OAuth holds.
        busy: How many requests it still answers with 429.
        lost: How many blocks of DBFS' uploads it still keeps without answering.
        page: Entries in one page of a listing.
        asked: Every request so far, as `METHOD path`.
    """

    folder: Path
    address: str = ""
    tokens: dict[str, float] = field(default_factory=lambda: {TOKEN: float("inf")})
    forbidden: bool = False
    lifetime: int = 3600
    busy: int = 0
    lost: int = 0
    page: int = 2
    asked: list[str] = field(default_factory=list)
    handles: dict[int, Path] = field(default_factory=dict)

    def place(self, path: str) -> Path:
        """Where a file of the workspace lies on the disk."""
        return self.folder / path.strip("/")


class RefusedError(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str, words: str = "canary", **headers: str) -> None:
        super().__init__(words)
        self.status, self.code, self.words, self.headers = status, code, words, headers


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    """Start the fake with one volume, and end it afterwards.

    Args:
        folder: An empty one, for its files.
    """
    fake = Workspace(folder)
    fake.place("/Volumes/" + VOLUME.replace(".", "/")).mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    fake.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: Workspace
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), {name: values[0] for name, values in parse_qs(url.query).items()}
        self.fake.asked.append(f"{self.command} {path}")
        self.body = self._spooled()
        try:
            if path == "/.well-known/databricks-config":
                self._send(200, {"oidc_endpoint": f"{self.fake.address}/oidc", "workspace_id": "1234"})
            elif path.startswith("/oidc/"):
                self._log_in(path)
            elif path.startswith("/api/"):
                self._check()
                self._api(path)
            else:
                raise RefusedError(404, "NOT_FOUND")
        except RefusedError as no:
            self._send(no.status, {"error_code": no.code, "message": no.words}, **no.headers)
        finally:
            self.body.unlink()

    def _spooled(self) -> Path:
        """What was sent, on the disk: a file may be large."""
        place = self.fake.folder.parent / f"sent-{uuid.uuid4().hex}"
        with place.open("wb") as file:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    file.write(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
            else:
                left = int(self.headers.get("Content-Length") or 0)
                while left:
                    part = self.rfile.read(min(left, BLOCK))
                    file.write(part)
                    left -= len(part)
        return place

    def _check(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.fake.tokens.get(token, 0) < time.time():
            raise RefusedError(401, "UNAUTHENTICATED")
        if self.fake.busy:
            self.fake.busy -= 1
            raise RefusedError(429, "REQUEST_LIMIT_EXCEEDED", **{"Retry-After": "1"})
        if self.fake.forbidden:
            raise RefusedError(403, "PERMISSION_DENIED")

    def _log_in(self, path: str) -> None:
        if path.endswith("/.well-known/oauth-authorization-server"):
            base = f"{self.fake.address}/oidc"
            self._send(200, {"token_endpoint": f"{base}/v1/token", "authorization_endpoint": f"{base}/v1/authorize"})
            return
        who = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if who != f"{CLIENT}:{SECRET}":
            self._send(401, {"error": "invalid_client", "error_description": "Client authentication failed canary"})
            return
        token = f"token-{uuid.uuid4().hex}"
        self.fake.tokens[token] = time.time() + self.fake.lifetime
        self._send(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.fake.lifetime})

    def _api(self, path: str) -> None:
        for prefix, act in {
            "/api/2.0/fs/files": self._file,
            "/api/2.0/fs/directories": self._directory,
            "/api/2.0/dbfs/": self._dbfs,
        }.items():
            if path.startswith(prefix):
                act(path.removeprefix(prefix))
                return
        raise RefusedError(404, "ENDPOINT_NOT_FOUND")

    def _in_volume(self, path: str) -> Path:
        parts = path.strip("/").split("/")
        if parts[0] != "Volumes" or len(parts) < 4:
            raise RefusedError(400, "INVALID_PARAMETER_VALUE")
        if not self.fake.place("/".join(parts[:4])).is_dir():
            raise RefusedError(404, "NOT_FOUND", "Volume does not exist canary")
        return self.fake.place(path)

    def _file(self, path: str) -> None:
        place = self._in_volume(path)
        if self.command == "PUT":
            if place.exists() and self.query.get("overwrite") != "true":
                raise RefusedError(409, "ALREADY_EXISTS")
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.fake.folder.parent / f"put-{uuid.uuid4().hex}"
            shutil.copyfile(self.body, unfinished)
            unfinished.replace(place)
            self._send(204)
        elif not place.is_file():
            raise RefusedError(404, "NOT_FOUND")
        elif self.command == "DELETE":
            place.unlink()
            self._send(204)
        else:
            self._contents(place)

    def _contents(self, place: Path) -> None:
        size, changed = place.stat().st_size, formatdate(int(place.stat().st_mtime), usegmt=True)
        if self.headers.get("If-Unmodified-Since", changed) != changed:
            raise RefusedError(412, "PRECONDITION_FAILED")
        start, end, extra = 0, size, {}
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(size, int(last) + 1)
            extra = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        self.send_response(206 if extra else 200)
        facts = {
            "Content-Length": str(end - start),
            "Last-Modified": changed,
            "Content-Type": "application/octet-stream",
        }
        for name, value in (facts | extra).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            with place.open("rb") as file:
                file.seek(start)
                while start < end and (part := file.read(min(BLOCK, end - start))):
                    self.wfile.write(part)
                    start += len(part)

    def _directory(self, path: str) -> None:
        place = self._in_volume(path)
        if self.command == "PUT":
            place.mkdir(parents=True, exist_ok=True)
            self._send(204)
        elif not place.is_dir():
            raise RefusedError(404, "NOT_FOUND")
        elif self.command == "GET":
            every = sorted(place.iterdir())
            start = int(self.query.get("page_token", "0"))
            said: dict[str, object] = {
                "contents": [self._entry(each) for each in every[start : start + self.fake.page]]
            }
            if start + self.fake.page < len(every):
                said["next_page_token"] = str(start + self.fake.page)
            self._send(200, said)
        else:
            self._send(200)

    def _entry(self, place: Path) -> dict[str, object]:
        facts = place.stat()
        said = {"path": self._name(place), "name": place.name, "is_directory": place.is_dir()}
        return said | {"file_size": facts.st_size, "last_modified": int(facts.st_mtime * 1000)}

    def _name(self, place: Path) -> str:
        return f"/{place.relative_to(self.fake.folder).as_posix()}"

    def _dbfs(self, verb: str) -> None:
        said = self.query if self.command == "GET" else json.loads(self.body.read_text() or "{}")
        acts = {
            "get-status": self._status,
            "list": self._list,
            "read": self._read,
            "mkdirs": self._mkdirs,
            "create": self._create,
            "add-block": self._add_block,
            "close": self._close,
            "move": self._move,
            "delete": self._delete,
        }
        if verb not in acts:
            raise RefusedError(404, "ENDPOINT_NOT_FOUND")
        answer = acts[verb](said)
        if answer is not None:
            self._send(200, answer)

    def _there(self, said: dict[str, str], name: str = "path") -> Path:
        place = self.fake.place(said[name])
        if not place.exists():
            raise RefusedError(404, "RESOURCE_DOES_NOT_EXIST")
        return place

    def _status(self, said: dict[str, str]) -> dict[str, object]:
        return self._info(self._there(said))

    def _info(self, place: Path) -> dict[str, object]:
        facts, folder = place.stat(), place.is_dir()
        size = 0 if folder else facts.st_size
        return {"path": self._name(place), "is_dir": folder, "file_size": size} | {
            "modification_time": int(facts.st_mtime * 1000)
        }

    def _list(self, said: dict[str, str]) -> dict[str, object]:
        place = self._there(said)
        return {"files": [self._info(each) for each in (sorted(place.iterdir()) if place.is_dir() else [place])]}

    def _read(self, said: dict[str, str]) -> dict[str, object]:
        place, length = self._there(said), int(said.get("length", BLOCK // 2))
        if length > BLOCK:
            raise RefusedError(400, "MAX_READ_SIZE_EXCEEDED")
        with place.open("rb") as file:
            file.seek(int(said.get("offset", 0)))
            data = file.read(length)
        return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}

    def _mkdirs(self, said: dict[str, str]) -> dict[str, object]:
        self.fake.place(said["path"]).mkdir(parents=True, exist_ok=True)
        return {}

    def _create(self, said: dict[str, str]) -> dict[str, object]:
        place = self.fake.place(said["path"])
        if place.exists() and not said.get("overwrite"):
            raise RefusedError(400, "RESOURCE_ALREADY_EXISTS")
        if not place.parent.is_dir():
            raise RefusedError(404, "RESOURCE_DOES_NOT_EXIST")
        place.write_bytes(b"")
        handle = time.time_ns()
        self.fake.handles[handle] = place
        return {"handle": handle}

    def _add_block(self, said: dict[str, str]) -> dict[str, object] | None:
        data = base64.b64decode(said["data"])
        if len(data) > BLOCK:
            raise RefusedError(400, "MAX_BLOCK_SIZE_EXCEEDED")
        if int(said["handle"]) not in self.fake.handles:
            raise RefusedError(404, "RESOURCE_DOES_NOT_EXIST")
        with self.fake.handles[int(said["handle"])].open("ab") as file:
            file.write(data)
        if self.fake.lost:
            self.fake.lost -= 1
            self.close_connection = True
            self.connection.shutdown(2)
            return None
        return {}

    def _close(self, said: dict[str, str]) -> dict[str, object]:
        if self.fake.handles.pop(int(said["handle"]), None) is None:
            raise RefusedError(404, "RESOURCE_DOES_NOT_EXIST")
        return {}

    def _move(self, said: dict[str, str]) -> dict[str, object]:
        source, target = self._there(said, "source_path"), self.fake.place(said["destination_path"])
        if target.exists():
            raise RefusedError(400, "RESOURCE_ALREADY_EXISTS")
        source.rename(target)
        return {}

    def _delete(self, said: dict[str, str]) -> dict[str, object]:
        place = self._there(said)
        if place.is_dir():
            raise RefusedError(400, "IO_ERROR")
        place.unlink()
        return {}

    def _send(self, status: int, said: dict[str, object] | None = None, **headers: str) -> None:
        body = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
