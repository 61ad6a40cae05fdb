from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal
from urllib.parse import quote

import pytest
from dagster import EnvVar
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from fuse_dagster import Lake, secrets
from fuse_dagster.core.errors import ConfigError, MissingExtraError, SecretError
from fuse_dagster.core.registry import Registry
from fuse_dagster.secrets.env import Env
from fuse_dagster.secrets.masking import Known
from fuse_dagster.secrets.reference import Reference, parse
from fuse_dagster.secrets.resolving import Resolver, apart
from fuse_dagster.secrets.store import Store


class Counting(Store):
    """A store that counts what it is asked."""

    example: ClassVar[str] = "env://anything"
    asked: ClassVar[list[str]] = []
    answer: ClassVar[Callable[[], object]] = staticmethod(lambda: f"value {len(Counting.asked)}")

    def fetch(self, reference: Reference) -> str:
        self.asked.append(str(reference))
        return Counting.answer()  # type: ignore[return-value]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """A resolver whose only store counts; its values live 300 seconds."""
    Counting.asked.clear()
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: f"value {len(Counting.asked)}"))
    line = {"env": f"{__name__}:Counting"}
    registry: Registry[Store] = Registry("fuse_dagster.secrets", Store, line)  # type: ignore[type-abstract]
    return Resolver(registry, clock)


def test_a_value_is_asked_for_once_until_it_expires(resolver: Resolver, clock: Clock) -> None:
    assert [resolver.resolve("env://A") for _ in range(3)] == ["value 1"] * 3
    clock.now = 299.0
    assert resolver.resolve("env://A") == "value 1"
    clock.now = 300.0
    assert resolver.resolve("env://A") == "value 2"


def test_a_reference_says_its_own_expiry(resolver: Resolver, clock: Clock) -> None:
    assert resolver.resolve("env://A?ttl=5") == "value 1"
    clock.now = 5.0
    assert resolver.resolve("env://A?ttl=5") == "value 2"
    assert resolver.resolve("env://A?ttl=0") == "value 3"
    assert resolver.resolve("env://A?ttl=0") == "value 4"


def test_a_store_says_the_expiry_of_its_references(resolver: Resolver, clock: Clock) -> None:
    resolver.resolve("env://A")
    resolver.use(Counting(ttl=10))
    assert resolver.resolve("env://A") == "value 2"  # other settings: what they gave before is gone
    clock.now = 10.0
    assert resolver.resolve("env://A") == "value 3"


def test_the_same_settings_once_more_change_nothing(resolver: Resolver) -> None:
    resolver.use(Counting(ttl=10))
    resolver.resolve("env://A")
    resolver.use(Counting(ttl=10))
    assert resolver.resolve("env://A") == "value 1"


def test_a_store_can_be_used_where_the_client_of_another_is_missing() -> None:
    lines = {"another": "fuse_dagster_no_such:X", "env": f"{__name__}:Counting"}
    resolver = Resolver(Registry("fuse_dagster.secrets", Store, lines))  # type: ignore[type-abstract]
    resolver.use(Counting(ttl=7))
    assert resolver.store("env").ttl == 7


def test_a_forgotten_value_is_asked_for_again(resolver: Resolver) -> None:
    resolver.resolve("env://A")
    resolver.forget("env://A")
    resolver.forget("env://never asked for")
    assert resolver.resolve("env://A") == "value 2"


def test_an_answer_on_its_way_does_not_undo_forgetting(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        assert go_on.wait(10)
        return "old"

    monkeypatch.setattr(Counting, "answer", staticmethod(slow))
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(resolver.resolve, "env://A")
        assert started.wait(10)
        resolver.forget("env://A")
        go_on.set()
        assert early.result(10) == "old"
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: "new"))
    assert resolver.resolve("env://A") == "new"


def test_threads_that_want_one_secret_share_one_answer(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(8)

    def ask(number: int) -> str:
        together.wait(10)
        return resolver.resolve("env://A" if number % 2 else "env://B")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len(Counting.asked) == 2
    assert len(set(answers)) <= 2


def test_a_failed_answer_is_not_kept(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: ""))
    with pytest.raises(SecretError, match=r"`env://A` can't be resolved: its value is empty"):
        resolver.resolve("env://A")
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: "there now"))
    assert resolver.resolve("env://A") == "there now"


def test_what_an_unforeseen_error_says_is_left_out(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("swordfish")

    monkeypatch.setattr(Counting, "answer", staticmethod(fail))
    with pytest.raises(SecretError, match="`RuntimeError`") as caught:
        resolver.resolve("env://A")
    assert "swordfish" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("reference", "value"),
    [("env://J#key", "swordfish"), ("env://J#port", "5432"), ("env://J", '{"key": "swordfish", "port": 5432}')],
)
def test_a_field_of_a_json_object_is_picked(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, reference: str, value: str
) -> None:
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: '{"key": "swordfish", "port": 5432}'))
    assert resolver.resolve(reference) == value


@pytest.mark.parametrize(
    ("answer", "reference", "message"),
    [
        ({"key": "swordfish"}, "env://J", "holds several fields and the reference names none.* Valid: `key`"),
        ({"key": "swordfish"}, "env://J#kex", "no field `kex`. Did you mean `key`"),
        ("swordfish", "env://J#key", "no JSON object, so it has no field `key`"),
        ('["swordfish"]', "env://J#key", "no JSON object"),
    ],
)
def test_a_field_that_is_not_there_is_an_error_without_a_value(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, answer: object, reference: str, message: str
) -> None:
    monkeypatch.setattr(Counting, "answer", staticmethod(lambda: answer))
    with pytest.raises(SecretError, match=message) as caught:
        resolver.resolve(reference)
    assert "swordfish" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_a_store_that_is_not_registered_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`Counting` is no registered store. Valid: .*`env`, `file`"):
        secrets.use(Counting())


@pytest.mark.parametrize("text", ["", "swordfish", "s3://bucket/a", "https://x.test?sig=1", "a#b?c", "://x"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert not secrets.is_reference(text)
    assert secrets.resolve(text) == text
    secrets.check(text)


@pytest.mark.parametrize(("text", "meant"), [("envs://A", "env"), ("ENV://A", "env"), ("fiel:///a", "file")])
def test_a_misspelt_scheme_is_no_password(text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"scheme of no store of secrets. Did you mean `{meant}`"):
        secrets.resolve(text)
    with pytest.raises(ConfigError):
        secrets.check(text)
    assert secrets.mask(text) == "***"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env://", "has no path"),
        ("env://?ttl=1", "has no path"),
        ("env://A?ttl", "option without a name or a value"),
        ("env://A?ttl=soon", "`ttl` that is no number"),
        ("env://A?tll=1", "does not know. Did you mean `ttl`"),
        ("env://A=swordfish", "Valid: `env://S3_SECRET_KEY`"),
        ("file://a/b", "Valid: `file:///run/secrets/s3_key`"),
    ],
)
def test_a_reference_of_a_wrong_form_is_refused_before_the_store_is_asked(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        secrets.check(text)
    with pytest.raises(ConfigError, match=message):
        secrets.resolve(text)


def test_a_reference_comes_apart_into_its_parts() -> None:
    found = parse("vault://secret/a%20b/c?version=3&ttl=60#key%23")
    assert (found.scheme, found.path, found.field) == ("vault", "secret/a b/c", "key#")
    assert found.options == {"version": "3", "ttl": "60"}


def test_an_env_var_of_dagster_is_resolved_where_dagster_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "swordfish")
    monkeypatch.setenv("TAPE_REFERENCE", "env://TAPE_KEY")
    assert secrets.resolve(EnvVar("TAPE_KEY")) == "swordfish"
    assert secrets.resolve(EnvVar("TAPE_REFERENCE")) == "swordfish"  # as when Dagster puts its value into the field
    assert secrets.mask(EnvVar("TAPE_KEY")) == "env://TAPE_KEY"
    secrets.check(EnvVar("TAPE_KEY"))


class Tape(BaseModel):
    key: str = secrets.secret_field(description="The key of the cabinet.")
    other: str = Field(default="", json_schema_extra={"secret": True})
    label: str = ""


def test_fields_with_secrets_are_told_by_their_schema() -> None:
    assert secrets.secret_fields(Tape) == {"key", "other"}


class Cabinet(Lake):
    type: Literal["cabinet"] = "cabinet"
    key: str = secrets.secret_field(description="The key of the cabinet.")

    def uri(self, *parts: str) -> str:
        return "/".join(parts)


def test_the_repr_of_a_connector_hides_values_and_shows_references() -> None:
    assert repr(Cabinet(key="swordfish")) == "Cabinet(type='cabinet', schema_folder='', key='***')"
    assert str(Cabinet(key="env://TAPE_KEY")) == "type='cabinet' schema_folder='' key='env://TAPE_KEY'"
    assert repr(Cabinet(key=EnvVar("TAPE_KEY"))) == "Cabinet(type='cabinet', schema_folder='', key='env://TAPE_KEY')"


def test_masking_shows_references_and_hides_the_rest() -> None:
    assert secrets.mask("file:///run/secrets/a") == "file:///run/secrets/a"
    assert secrets.mask("swordfish") == "***"
    assert secrets.mask("") == ""
    assert secrets.mask("file://user:swordfish@host/a") == "***"


def test_values_are_scrubbed_from_what_others_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "sword/fish+1=")
    secrets.resolve("env://TAPE_KEY")
    secrets.resolve("literal-secret")
    said = "GET https://x.test/?sig=sword%2Ffish%2B1%3D failed for sword/fish+1= and literal-secret"
    assert secrets.scrub(said) == "GET https://x.test/?sig=*** failed for *** and ***"


@given(value=st.text(st.characters(exclude_characters="*", codec="utf-8"), min_size=6), around=st.text())
def test_no_value_is_left_wherever_it_stands(value: str, around: str) -> None:
    known = Known()
    known.add(value)
    said = f"{around}{value}{around}{quote(value, safe='')}{value}{around}"
    assert value not in known.scrub(said)
    assert quote(value, safe="") not in known.scrub(said)


def test_values_that_are_not_used_for_long_are_no_longer_looked_for() -> None:
    known = Known(limit=9)
    for number in range(10):
        known.add(f"value {number}")  # in two forms: as it is, and as in a URL, by either convention
    assert known.scrub("value 0 value 9") == "value 0 ***"


@given(path=st.text(min_size=1), field=st.text(), value=st.text(min_size=1))
def test_any_path_and_field_can_be_written(path: str, field: str, value: str) -> None:
    written = f"vault://{quote(path, safe='')}?version={quote(value, safe='')}#{quote(field, safe='')}"
    found = parse(written)
    assert (found.path, found.field, found.options) == (path, field, {"version": value})


def test_no_value_is_in_a_copy_or_a_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "swordfish")
    tape = Tape(key="env://TAPE_KEY")
    assert secrets.resolve(tape.key) == "swordfish"
    assert b"swordfish" not in pickle.dumps(tape)
    assert copy.deepcopy(tape) == tape
    assert "swordfish" not in tape.model_dump_json()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_starts_without_the_values_of_its_parent() -> None:
    program = """
import os, sys
from fuse_dagster import secrets
secrets.resolve("swordfish")
child = os.fork()
if not child:
    sys.exit(secrets.scrub("swordfish") != "swordfish")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_built_in_store_says_how_its_references_look() -> None:
    for name in secrets.BUILTIN:
        store = secrets.stores.load(name)
        assert store.example.startswith(f"{name}://")
        secrets.check(store.example)
        assert all(field.description for field in store.model_fields.values())


def test_a_missing_client_is_answered_with_the_install_line() -> None:
    from fuse_dagster.secrets.store import missing_extra

    error = missing_extra(parse("env://A"), Env(), ModuleNotFoundError(name="tape_sdk"))
    assert isinstance(error, MissingExtraError)
    assert str(error) == '`env://A` needs the package `tape_sdk`. Install it with: pip install "tape_sdk"'


def test_what_was_a_secret_apart_is_none_afterwards() -> None:
    secrets.resolve("known-before")
    with apart():
        secrets.resolve("known-apart")
        assert secrets.scrub("known-before known-apart") == "*** ***"
    assert secrets.scrub("known-before known-apart") == "*** known-apart"
