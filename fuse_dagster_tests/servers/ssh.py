"""SSH servers for tests: OpenSSH's own, as a child process, and a small one of asyncssh for what it needs root for."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from fuse_dagster.connectors.ssh import keeping

_SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")


@dataclass(frozen=True)
class SSHServer:
    """A running server that lets one account in.

    Attributes:
        port: Where it listens on 127.0.0.1.
        username: The account: whoever runs the tests.
        private_key: Text of the key that it takes.
        fingerprint: Of its host key.
        known_host: Its line in `known_hosts`, without the address.
    """

    port: int
    username: str
    private_key: str
    fingerprint: str
    known_host: str


def missing() -> str:
    """Why OpenSSH's server can't start here; "" where it can."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not any(Path(one).exists() for one in _SFTP):
        return "OpenSSH's server is not installed (Debian: openssh-server)"
    return ""


@contextlib.contextmanager
def openssh_server(folder: Path) -> Iterator[SSHServer]:
    """Start OpenSSH's server as whoever runs the tests, and end it afterwards."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    host, ours = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(folder / "host")
    (folder / "host").chmod(0o600)
    (folder / "authorized").write_bytes(ours.export_public_key())
    port = _free()
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": "100",
        "Subsystem": f"sftp {next(one for one in _SFTP if Path(one).exists())}",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it wants to go when it gives its rights up
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(port, process, folder / "log.txt")
        yield SSHServer(
            port,
            pwd.getpwuid(os.getuid()).pw_name,
            ours.export_private_key().decode(),
            host.get_fingerprint(),
            host.export_public_key().decode().strip(),
        )
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class SmallServer:
    """A server of asyncssh, for logins by password and for what other servers lack.

    Attributes:
        port: Where it listens on 127.0.0.1.
        fingerprint: Of its host key.
    """

    port: int
    fingerprint: str


@contextlib.contextmanager
def small_server(
    folder: Path,
    *,
    password: str = "",
    key: str = "",
    lacks_replacing: bool = False,
    read_only: bool = False,
    gives_sftp: bool = True,
) -> Iterator[SmallServer]:
    """Start a server in a thread, which asks for all that is given: a password, a key, or one after the other.

    Args:
        folder: Where its files lie, which clients see as `/`.
        password: Of the account `ada`.
        key: Text of the private key of the account.
        lacks_replacing: Whether it can't replace a file by renaming, as servers that are not OpenSSH.
        read_only: Whether it refuses to take files.
        gives_sftp: Whether it has the subsystem.
    """
    public = asyncssh.import_private_key(key).export_public_key().decode() if key else ""

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return bool(password)

        def validate_password(self, username: str, given: str) -> bool:
            return (username, given) == ("ada", password)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel) -> None:
            super().__init__(channel, chroot=str(folder))

        def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
            if read_only and pflags & asyncssh.FXF_WRITE:
                raise asyncssh.SFTPPermissionDenied("only for readers")
            return super().open(path, pflags, attrs)

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            if lacks_replacing:
                raise asyncssh.SFTPOpUnsupported("no such extension")
            super().posix_rename(oldpath, newpath)

    host = asyncssh.generate_private_key("ssh-ed25519")
    port = _free()
    authorized = asyncssh.import_authorized_keys(public) if public else None

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            Login,
            "127.0.0.1",
            port,
            server_host_keys=[host],
            authorized_client_keys=authorized,
            sftp_factory=Files if gives_sftp else None,
            public_key_auth=bool(public),
        )

    async def stop(server: asyncssh.SSHAcceptor) -> None:
        server.close()

    server = keeping.run(start())
    try:
        yield SmallServer(port, host.get_fingerprint())
    finally:
        keeping.run(stop(server))


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    patience = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            lost = process.poll() is not None or time.monotonic() > patience
            assert not lost, log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)
        else:
            return
