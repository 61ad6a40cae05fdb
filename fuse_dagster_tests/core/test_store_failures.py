from __future__ import annotations

import pytest

from fuse_dagster.core.errors import FuseError, StoreError, StoreUnavailableError
from fuse_dagster.core.store_failures import store_error

SIGNED = "https://lake.blob.core.windows.net/lake/a?sv=1&sig=planted-canary"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("<Error><Code>NoSuchBucket</Code></Error>", StoreError, "not there (the store says `NoSuchBucket`)"),
        ("status code: 403 Forbidden", StoreError, "refused to these credentials (the store says `403`)"),
        ("<Code>SlowDown</Code>", StoreUnavailableError, "slow down"),
        ("status code: 503 Service Unavailable", StoreUnavailableError, "slow down"),
        ("dns error: failed to lookup address information", StoreUnavailableError, "can't be reached"),
        ("error sending request: operation timed out", StoreUnavailableError, "does not answer in time"),
        (
            "status code\n \x1b[31m↳\x1b[0m 503 Service Unavailable",
            StoreUnavailableError,
            "until the retries ran out (the store says `503`)",
        ),
        ("Error performing token request: status code: 401", StoreError, "refused to these credentials"),
        ("Error performing token request: status code: 429", StoreUnavailableError, "slow down"),
        ("URL scheme is not allowed", StoreError, "wrong one of `http` and `https`"),
    ],
)
def test_what_libraries_say_becomes_what_to_check(said: str, kind: type[FuseError], words: str) -> None:
    found = store_error(OSError(f"Error performing GET {SIGNED} - {said}"), "s3://lake/a")
    assert isinstance(found, kind)
    assert words in str(found)
    assert "Check " in str(found) or "Run this again" in str(found)
    assert "canary" not in str(found)


@pytest.mark.parametrize("name", ["certificates", "timeouts", "unauthorized_403", "access_denied", "unreachable"])
def test_a_name_alone_is_no_failure(name: str) -> None:
    assert store_error(OSError(f"Invalid JSON in file s3://lake/{name}/_delta_log/0.json"), f"s3://lake/{name}") is None


def test_a_disk_is_no_store() -> None:
    assert store_error(OSError("Connection refused"), "/data/lake") is None
