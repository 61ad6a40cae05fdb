from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from fuse_dagster import secrets
from fuse_dagster.core.errors import SecretError
from fuse_dagster.secrets.file import LARGEST


@pytest.mark.parametrize(
    ("written", "read"), [("swordfish", "swordfish"), ("sword\n", "sword"), ("a\r\n", "a"), (" a\nb\n\n", " a\nb\n")]
)
def test_a_file_is_read_without_its_last_line_end(tmp_path: Path, written: str, read: str) -> None:
    file = tmp_path / "a key%"
    file.write_bytes(written.encode())
    assert secrets.resolve(f"file://{tmp_path}/a%20key%25") == read


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for value in ("one", "two"):
        file.write_text(value)
        assert secrets.resolve(f"file://{file}") == value


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "no such file"), (b"\xff\xfeswordfish", "no text in UTF-8"), (b"a" * (LARGEST + 1), "larger than")],
)
def test_what_is_no_secret_is_an_error_without_its_content(tmp_path: Path, data: bytes | None, message: str) -> None:
    file = tmp_path / "key"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(SecretError, match=message) as caught:
        secrets.resolve(f"file://{file}")
    assert "swordfish" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"can't be read \(`IsADirectoryError`\)"):
        secrets.resolve(f"file://{tmp_path}")
