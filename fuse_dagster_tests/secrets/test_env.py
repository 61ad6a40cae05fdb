from __future__ import annotations

import pytest

from fuse_dagster import secrets
from fuse_dagster.core.errors import SecretError


def test_a_variable_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "one")
    assert secrets.resolve("env://TAPE_KEY") == "one"
    monkeypatch.setenv("TAPE_KEY", "two")
    assert secrets.resolve("env://TAPE_KEY") == "two"


def test_an_absent_variable_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_CABINET_KEY", "swordfish")
    with pytest.raises(SecretError, match=r"no environment .*Did you mean `TAPE_CABINET_KEY`"):
        secrets.resolve("env://TAPE_CABINT_KEY")


def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "")
    with pytest.raises(SecretError, match=r"`env://TAPE_KEY` can't be resolved: its value is empty"):
        secrets.resolve("env://TAPE_KEY")
