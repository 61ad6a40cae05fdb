"""Results and errors in one form, values as JSON holds them, and no secret in either."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.app.envelope import Kind, accepted, kind_of, refused
from fuse_dagster.app.hiding import hidden
from fuse_dagster.app.values import plain, read
from fuse_dagster.core import errors


def _classes() -> list[type[errors.FuseError]]:
    return [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.FuseError)]


@pytest.mark.parametrize("kind", _classes(), ids=lambda one: one.__name__)
def test_each_error_has_a_kind_that_says_what_to_do(kind: type[errors.FuseError]) -> None:
    found = kind_of(kind("x"))
    assert found.means
    if kind is not errors.FuseError:
        assert found is not Kind.FAILED
        assert (found is Kind.TRANSIENT) == issubclass(kind, errors.Transient)


def test_an_error_is_told_with_its_kind_class_and_message() -> None:
    assert refused(errors.DeleteGuardError("too many"), exit_code=4) == {
        "ok": False,
        "error": {
            "kind": "input",
            "type": "DeleteGuardError",
            "message": "too many",
            "transient": False,
            "exit_code": 4,
        },
    }


def test_an_error_of_somebody_else_names_its_class() -> None:
    assert refused(KeyError("a"))["error"]["message"] == "KeyError: 'a'"  # type: ignore[index]


@dataclass(frozen=True)
class _Report:
    at: dt.datetime
    rows: int | None


def test_every_value_of_a_frame_has_a_place_in_json() -> None:
    frame = pl.DataFrame(
        {
            "when": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
            "day": [dt.date(2024, 1, 1)],
            "time": [dt.time(1, 2)],
            "span": [dt.timedelta(hours=1)],
            "price": [Decimal("1.10")],
            "nan": [float("nan")],
            "raw": [b"\x00\x01"],
            "list": [[1, None]],
            "struct": [{"a": 1.5}],
            "null": [None],
            "yes": [True],
        }
    )
    document = accepted(
        {
            "rows": plain(frame),
            "report": plain(_Report(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None)),
            "p": plain(Path("a")),
        }
    )
    found = json.loads(json.dumps(document, allow_nan=False))["result"]
    assert found["rows"] == [
        {
            "when": "2024-01-01T00:00:00+00:00",
            "day": "2024-01-01",
            "time": "01:02:00",
            "span": "1:00:00",
            "price": "1.10",
            "nan": "nan",
            "raw": "AAE=",
            "list": [1, None],
            "struct": {"a": 1.5},
            "null": None,
            "yes": True,
        }
    ]
    assert found["report"] == {"at": "2024-01-01T00:00:00+00:00", "rows": None}
    assert found["p"] == "a"


def test_a_cell_holds_nothing_that_a_terminal_obeys() -> None:
    assert read("a\x1b[2J\nb\u202e") == "a\\x1b[2J\\nb\\u202e"
    assert read("Größe 日本") == "Größe 日本"


@pytest.mark.parametrize(
    "text",
    [
        "abfss://user:CANARY@host/path",
        "https://x.blob.core.windows.net/c?sv=1&sig=CANARY&se=2",
        "account_key=CANARY",
        "AWS_SECRET_ACCESS_KEY=CANARY",
        "aws_session_token = CANARY",
        "client_secret=CANARY;x=1",
        "Password='CANARY'",
        "Authorization: Bearer CANARYCANARY",
        "X-Amz-Signature=CANARY",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert "CANARY" not in hidden(text)


def test_what_is_no_secret_stays() -> None:
    text = "no column `token_count`; keys=['icao'] at s3://lake/silver/a@b (key `EDDB`)"
    assert hidden(text) == text


def test_a_secret_that_was_resolved_is_hidden_wherever_it_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    from fuse_dagster.secrets import resolve

    monkeypatch.setenv("STORE_KEY", "swordfish-7f3a")
    assert resolve("env://STORE_KEY") == "swordfish-7f3a"
    assert "swordfish" not in hidden("the server quotes swordfish-7f3a and ?k=swordfish-7f3a")
