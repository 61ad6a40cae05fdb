from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from fuse_dagster import SFTP
from fuse_dagster.connectors.ssh import keeping
from fuse_dagster.core.errors import ConfigError, CredentialsError, StoreError, StoreUnavailableError
from fuse_dagster.ingest.landing import LandingFiles
from fuse_dagster.testing.connectors import ConnectorContract, ListContract, ReadContract, WriteContract, content
from fuse_dagster_tests.ingest.landing.folders import Table
from fuse_dagster_tests.servers.ssh import SSHServer, missing, openssh_server, small_server
from fuse_dagster_tests.servers.wire import Wire, wire_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HASTY = {"connect_timeout": 1.0, "timeout": 1.0, "retry_timeout": 0.5}
PATIENT = {"timeout": 120.0, "retry_timeout": 120.0}
"""So long that no time runs out, however busy the machine is: what is told then is what broke."""
TRIES = 4
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    if reason := missing():
        pytest.skip(reason)
    with openssh_server(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture(scope="module")
def wire(server: SSHServer) -> Iterator[Wire]:
    with wire_before(server.port) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "root"
    found.mkdir()
    return found


@pytest.fixture
def other(server: SSHServer, folder: Path) -> Callable[..., SFTP]:
    """Makes connectors to one empty folder, with some fields changed."""
    fields: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": server.username,
        "root": str(folder),
        "private_key": server.private_key,
        "fingerprint": server.fingerprint,
        "known_hosts": "",
    }
    return lambda **changed: SFTP(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., SFTP]) -> SFTP:
    return other()


@pytest.fixture
def through(other: Callable[..., SFTP], wire: Wire) -> Iterator[Callable[..., SFTP]]:
    """Makes connectors to the same folder by way of the wire, each with a connection of its own."""
    wire.calm()
    # Another time to connect is another login.
    yield lambda connect_timeout=120.0, **fields: other(
        port=wire.port, connect_timeout=connect_timeout + next(NUMBERS) / 1000, **fields
    )
    wire.calm()


class TestSFTP(ConnectorContract, ListContract, ReadContract, WriteContract):
    @pytest.fixture
    def put(self, folder: Path) -> Callable[[str, bytes], None]:
        def write_by_others(path: str, data: bytes) -> None:
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write_by_others


def test_it_answers_with_what_the_server_calls_itself(connector: SFTP) -> None:
    assert connector.answer().startswith("OpenSSH_")


def test_a_file_is_moved_in_one_step_over_another_and_never_out_of_the_root(
    connector: SFTP, folder: Path, tmp_path: Path
) -> None:
    connector.write("a", b"new")
    connector.write("in/b", b"old")
    connector.move("a", "in/b")
    connector.move("in/b", "other/folder/c d;`ls`'\"")
    assert {entry.path: entry.size for entry in connector.list()} == {"other/folder/c d;`ls`'\"": 3}
    with pytest.raises(FileNotFoundError):
        connector.move("a", "b")
    (tmp_path / "outside").mkdir()
    (folder / "leads").symlink_to(tmp_path / "outside")
    connector.write("a", b"1")
    for path, to, says in (
        ("other", "x", "is a folder"),
        ("a", "other", "is a folder"),
        ("a", "leads/x", "out of the"),
    ):
        with pytest.raises(StoreError, match=says):
            connector.move(path, to)
    with pytest.raises(ConfigError):
        connector.move("a", "../x")
    assert content(connector, "a") == b"1"
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("after", ["move", "delete"])
def test_files_land_from_a_server_once_and_are_put_away(connector: SFTP, folder: Path, after: Any) -> None:
    (folder / "in").mkdir()
    (folder / "in/a.json").write_text('{"id": 1}')
    (folder / "in/b.json").write_text('{"id": ')
    table, source = Table(), LandingFiles(connector=connector, folder="in", settle=0, after=after)
    taken = table.load(source)
    assert taken.rows.to_dicts() == [{"id": 1}]
    assert taken.rejected["_file_path"].to_list() == ["in/b.json"]
    (folder / "in/again.json").write_text('{"id": 1}')
    assert table.load(source).rows.is_empty()
    left = ["in/_done/a.json", "in/_done/again.json", "in/_failed/b.json"] if after == "move" else ["in/b.json"]
    assert [entry.path for entry in connector.list()] == left


def test_a_root_that_is_not_there_is_an_error_and_no_empty_listing(other: Callable[..., SFTP], folder: Path) -> None:
    (folder / "file").write_bytes(b"1")
    for root, words in ((folder / "absent", "is not there"), (folder / "file", "is no folder")):
        lost = other(root=str(root))
        for act in (lost.answer, lambda lost=lost: list(lost.list()), lambda lost=lost: lost.write("a", b"1")):
            with pytest.raises(StoreError, match=words):
                act()


def test_a_host_that_is_not_known_is_never_logged_in_to(other: Callable[..., SFTP], server: SSHServer) -> None:
    with pytest.raises(StoreError, match="is not known: it shows a key of kind `ssh-ed25519`") as caught:
        other(fingerprint="").answer()
    assert f"`{server.fingerprint}`" in str(caught.value)
    assert "ssh-keyscan" in str(caught.value)


def test_another_host_key_than_the_known_one_is_refused_with_both(
    other: Callable[..., SFTP], server: SSHServer
) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    line = f"[127.0.0.1]:{server.port} {stranger.export_public_key().decode()}"
    for fields in ({"known_hosts": line, "fingerprint": ""}, {"fingerprint": stranger.get_fingerprint()}):
        with pytest.raises(StoreError, match="is another machine, or was set up anew") as caught:
            other(**fields).answer()
        assert server.fingerprint in str(caught.value)
        assert stranger.get_fingerprint() in str(caught.value)


def test_known_hosts_are_a_file_or_lines_and_a_revoked_key_is_refused(
    other: Callable[..., SFTP], server: SSHServer, tmp_path: Path
) -> None:
    line = f"[127.0.0.1]:{server.port} {server.known_host}\n"
    file = tmp_path / "known_hosts"
    file.write_text(f"# by hand\n{line}")
    for known in (line, str(file)):
        assert other(known_hosts=known, fingerprint="").answer()
    with pytest.raises(StoreError, match="is revoked"):
        other(known_hosts=f"{line}@revoked * {server.known_host}\n", fingerprint="").answer()
    with pytest.raises(StoreError, match="is not known"):
        other(known_hosts=str(tmp_path / "absent"), fingerprint="").answer()


def test_refused_logins_are_credentials_errors_without_the_secret(
    other: Callable[..., SFTP], server: SSHServer
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    wrong = {"a key": {"private_key": key}, "a password": {"private_key": "", "password": "swordfish-of-none"}}
    for fields in (*wrong.values(), {"username": "nobody-of-that-name"}):
        with pytest.raises(CredentialsError, match=r"refuses this login\. Check `username`") as caught:
            other(**fields).answer()
        assert "swordfish" not in str(caught.value)
        assert key not in str(caught.value)


def test_a_private_key_may_be_encrypted_and_what_is_none_is_said(other: Callable[..., SFTP], server: SSHServer) -> None:
    locked = asyncssh.import_private_key(server.private_key).export_private_key(passphrase="open sesame").decode()
    assert other(private_key=locked, passphrase="open sesame").answer()
    cases = {
        "is encrypted. Give its `passphrase`": {"private_key": locked},
        "does not open `private_key`": {"private_key": locked, "passphrase": "open barley"},
        "is no private key": {"private_key": "swordfish-is-no-key"},
    }
    for words, fields in cases.items():
        with pytest.raises(ConfigError, match=words) as caught:
            other(**fields).answer()
        assert "sesame" not in str(caught.value)
        assert "swordfish" not in str(caught.value)


def test_a_secret_that_has_changed_is_asked_for_anew(
    other: Callable[..., SFTP], server: SSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    one = other(private_key=f"file://{file}?ttl=300")
    with pytest.raises(CredentialsError):
        one.answer()
    file.write_text(server.private_key)
    assert one.answer()


def test_passwords_and_both_of_them(folder: Path, tmp_path: Path, server: SSHServer) -> None:
    with small_server(folder, password="a word for ada") as small:
        fields: dict[str, Any] = {"host": "127.0.0.1", "port": small.port, "fingerprint": small.fingerprint}
        fields |= {"username": "ada", "known_hosts": ""}
        right = SFTP(**fields, password="a word for ada")
        right.write("in/a.csv", b"1")
        assert (folder / "in" / "a.csv").read_bytes() == b"1"
        with pytest.raises(CredentialsError):
            SFTP(**fields, password="another word").answer()
        assert SFTP(**fields, password="a word for ada", private_key=server.private_key).answer()


def test_a_server_that_cannot_replace_writes_new_files_and_refuses_the_others(folder: Path) -> None:
    with small_server(folder, password="a word for ada", lacks_replacing=True) as small:
        one = SFTP(
            host="127.0.0.1",
            port=small.port,
            fingerprint=small.fingerprint,
            username="ada",
            password="a word for ada",
        )
        one.write("a", b"1")
        with pytest.raises(StoreError, match="can't replace a file in one step"):
            one.write("a", b"2")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"1"}


def test_a_server_without_sftp_is_said_to_be_one(folder: Path) -> None:
    with small_server(folder, password="a word for ada", gives_sftp=False) as small:
        fields = {"port": small.port, "fingerprint": small.fingerprint, "username": "ada", "password": "a word for ada"}
        with pytest.raises(StoreError, match="gives no SFTP"):
            SFTP(host="127.0.0.1", **fields).answer()


def test_links_are_followed_below_the_root_and_refused_beyond(connector: SFTP, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"of others")
    (folder / "in").mkdir()
    (folder / "in" / "a").write_bytes(b"1")
    (folder / "same").symlink_to("in/a")
    (folder / "loop").symlink_to(".")
    (folder / "gone").symlink_to("nowhere")
    (folder / "out").symlink_to(outside)
    (folder / "leak").symlink_to(outside / "secret")
    (folder / "twin-of-root").symlink_to(tmp_path / "root-beside")
    assert [(entry.path, entry.size) for entry in connector.list()] == [("in/a", 1), ("same", 1)]
    assert content(connector, "same") == b"1"
    for path in ("leak", "out/secret", "out"):
        for act in (connector.open, connector.exists, connector.list):
            with pytest.raises(StoreError, match="leads out of the root"):
                list(act(path)) if act == connector.list else act(path)
    for act in (lambda: connector.write("out/new", b"1"), lambda: connector.delete("out/secret")):
        with pytest.raises(StoreError, match="leads out of the root"):
            act()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    connector.delete("leak")
    connector.write("same", b"2")
    assert (outside / "secret").read_bytes() == b"of others", "a link goes, not what it leads to"
    assert (folder / "in" / "a").read_bytes() == b"1"
    assert content(connector, "same") == b"2"


def test_a_relative_root_starts_where_the_login_does(other: Callable[..., SFTP], folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    home = Path.home().resolve()
    if os.geteuid() == 0 or folder.is_relative_to(home):
        near = other(root=os.path.relpath(folder, home)) if folder.is_relative_to(home) else other(root="")
        assert near.answer()
    assert other(root="").place.endswith("/~")
    assert other(root="in/x/").place.endswith("/~/in/x")


def test_rights_that_lack_are_said(folder: Path) -> None:
    with small_server(folder, password="a word for ada", read_only=True) as small:
        fields = {"port": small.port, "fingerprint": small.fingerprint, "username": "ada", "password": "a word for ada"}
        with pytest.raises(
            CredentialsError, match=r"a` is refused to this account\. Have `username` be given the right"
        ):
            SFTP(host="127.0.0.1", **fields).write("a", b"1")
    assert list(folder.iterdir()) == []


def test_pipes_and_folders_are_no_files(connector: SFTP, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "sub").mkdir()
    with pytest.raises(StoreError, match="is no plain file"):
        connector.open("pipe")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        connector.open("sub")
    for act in (lambda: connector.write("sub", b"1"), lambda: connector.delete("sub")):
        with pytest.raises(StoreError, match="is a folder"):
            act()
    assert list(connector.list()) == []


def test_a_name_that_is_not_utf8_is_an_error_rather_than_left_out(connector: SFTP, folder: Path) -> None:
    (folder / "in").mkdir()
    (Path(os.fsdecode(os.fsencode(folder / "in") + b"/caf\xe9"))).write_bytes(b"1")
    with pytest.raises(StoreError, match=r"in/caf\\udce9` has a name that is not UTF-8"):
        list(connector.list("in"))


def test_a_file_that_is_written_to_while_it_is_read_is_an_error(connector: SFTP, folder: Path) -> None:
    data = os.urandom(10_000_000)
    (folder / "grows").write_bytes(data)
    with connector.open("grows") as file:
        assert file.read(1000) == data[:1000]
        with (folder / "grows").open("ab") as theirs:
            theirs.write(b"more")
        with pytest.raises(StoreUnavailableError, match="was written to while it was read"):
            file.read()
    (folder / "shrinks").write_bytes(data)
    with connector.open("shrinks") as file:
        (folder / "shrinks").write_bytes(b"")
        with pytest.raises(StoreUnavailableError, match="was written to while it was read"):
            file.read()


def test_a_reader_beside_a_writer_sees_the_old_file_or_the_new(connector: SFTP, folder: Path) -> None:
    sizes, seen = [b"a" * 200_000, b"b" * 300_000], set()
    connector.write("one", sizes[0])
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add((folder / "one").read_bytes())

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for number in range(6):
            connector.write("one", sizes[number % 2])
        done.set()
        looking.result()
    assert seen <= set(sizes)
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_one_login_serves_many_questions_and_threads(through: Callable[..., SFTP], wire: Wire) -> None:
    one = through()
    one.write("a", b"1" * 100_000)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: content(one, "a"), range(12))) == {b"1" * 100_000}
    assert wire.opened == 1


def test_one_connection_serves_reading_while_it_writes(connector: SFTP) -> None:
    connector.write("a", b"1" * 100_000)
    with connector.open("a") as file:
        connector.write("b", file)
    assert content(connector, "b") == b"1" * 100_000


@pytest.mark.parametrize("cuts", [(1_000_000,), (0, 2000, 500_000)])
def test_a_line_that_breaks_is_taken_up_where_it_broke(
    cuts: tuple[int, ...], through: Callable[..., SFTP], wire: Wire, folder: Path
) -> None:
    data = os.urandom(2_500_000)
    (folder / "big").write_bytes(data)
    wire.cut_after(*cuts)
    one = through()
    assert content(one, "big") == data
    assert wire.cuts == len(cuts)
    wire.cut_after(4000)
    again = through()
    again.write("sent", io.BytesIO(data))
    assert (folder / "sent").read_bytes() == data
    assert wire.cuts == len(cuts) + 1
    assert {entry.path for entry in again.list()} == {"big", "sent"}


def test_what_is_left_of_a_write_that_broke_is_no_file(through: Callable[..., SFTP], wire: Wire, folder: Path) -> None:
    one = through()
    one.write("a", b"old")

    class Once(io.RawIOBase):
        """What can be read once, while the line breaks."""

        def read(self, size: int = -1) -> bytes:
            wire.cut_now()
            return b"new"

    with pytest.raises(StoreUnavailableError, match="broke off"):
        one.write("a", Once())  # type: ignore[arg-type]  # as much of a file as it takes
    assert (folder / "a").read_bytes() == b"old"
    assert [path.name.startswith(".fuse-") for path in sorted(folder.iterdir())] == [True, False]
    assert [entry.path for entry in one.list()] == ["a"]


def test_what_lasts_is_an_error_after_a_few_tries(through: Callable[..., SFTP], wire: Wire, folder: Path) -> None:
    (folder / "a").write_bytes(b"1" * 3_000_000)
    wire.cut_after(*[0] * 100)
    with pytest.raises(StoreUnavailableError, match=r"can't be reached|broke off"):
        through(**PATIENT).answer()
    assert wire.opened == TRIES
    wire.calm()
    wire.cut_after(*[1_000_000] * 100)
    one = through(**PATIENT)
    with pytest.raises(StoreUnavailableError, match="broke off"):
        content(one, "a")
    assert wire.opened == TRIES
    wire.calm()
    assert content(one, "a") == b"1" * 3_000_000


def test_what_is_silent_is_an_error_in_time(through: Callable[..., SFTP], wire: Wire, folder: Path) -> None:
    (folder / "a").write_bytes(b"1" * 3_000_000)
    wire.silence_after(0)
    with pytest.raises(StoreUnavailableError, match="does not answer in time"):
        through(**HASTY | {"timeout": 120.0}).answer()
    assert wire.opened == 1, "there was no time for another try"
    wire.calm()
    wire.silence_after(1_000_000)
    with pytest.raises(StoreUnavailableError, match="does not answer in time"):
        content(through(**HASTY | {"connect_timeout": 120.0}), "a")
    assert wire.opened == 1


def test_a_slow_line_is_waited_for(through: Callable[..., SFTP], wire: Wire, folder: Path) -> None:
    wire.slow(0.05)
    one = through(timeout=10.0)
    one.write("a", b"1" * 10)
    assert content(one, "a") == b"1" * 10


def test_a_host_that_is_not_there_is_unavailable(other: Callable[..., SFTP]) -> None:
    for fields in ({"port": 1}, {"host": "no-such-host.invalid"}):
        with pytest.raises(StoreUnavailableError, match="can't be reached"):
            other(**fields, **HASTY).answer()


def test_what_cannot_be_read_for_sending_is_no_matter_of_the_server(connector: SFTP, folder: Path) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        connector.write("a", Broken())  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


def test_a_fork_begins_without_connections(connector: SFTP, folder: Path) -> None:
    connector.write("a", b"1")
    processes = multiprocessing.get_context("fork")
    found = processes.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python warns of forks beside threads: that is what is tried
        child = processes.Process(target=lambda: found.put(content(connector, "a")))
        child.start()
    child.join(30)
    assert found.get() == b"1"
    assert child.exitcode == 0
    assert content(connector, "a") == b"1"


def test_connections_that_nobody_uses_are_closed(
    through: Callable[..., SFTP], monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setattr(keeping, "IDLE", 0.0)
    one = through()
    one.answer()
    one.answer()
    deadline = time.monotonic() + 5
    while wire.opened < 2 and time.monotonic() < deadline:
        one.answer()
    assert wire.opened >= 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"private_key": "", "password": ""}, "There is no way to log in"),
        ({"private_key": "", "password": "x", "passphrase": "y"}, r"`\$\.passphrase`: It belongs to `private_key`"),
        ({"host": "sftp://there"}, r"`\$\.host`"),
        ({"username": "ada@there"}, r"`\$\.username`"),
        ({"port": 70000}, "is no port"),
        ({"fingerprint": "MD5:aa:bb"}, "`MD5:aa:bb` is none"),
        ({"root": "/in/../out"}, r"`\$\.root`"),
        ({"timeout": 0}, r"`\$\.timeout`"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_declared(
    fields: dict[str, Any], words: str, other: Callable[..., SFTP]
) -> None:
    with pytest.raises(ConfigError, match=words):
        other(**fields)
