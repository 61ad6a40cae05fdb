from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field

from fuse_dagster import Connector, Lake, Local, secrets
from fuse_dagster.connectors import BUILTIN, profile_schema, profiles
from fuse_dagster.connectors.profiles import LiteralSecretWarning, Profile, load_profile
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.profiles import ProfileError
from fuse_dagster.core.registry import Registry

Write = Callable[[str], Path]


class Tape(Lake):
    """A cabinet of tapes."""

    type: Literal["tape"] = "tape"
    shelf: int = Field(description="Which shelf.")
    locked: bool = Field(default=True, description="Whether it needs the key.")
    speed: float | None = Field(default=None, description="Inches per second.")
    kind: Literal["reel", "cassette"] = Field(default="reel", description="What lies in it.")
    labels: dict[str, str] = Field(default_factory=dict, description="What is written on it.")
    key: str = secrets.secret_field(description="The key of the cabinet.")

    def uri(self, *parts: str) -> str:
        return "tape://" + "/".join(parts)


@pytest.fixture(autouse=True)
def _tapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    lines = BUILTIN | {"tape": f"{__name__}:Tape", "far": "fuse_dagster_no_such:X"}
    registry: Registry[Connector] = Registry("fuse_dagster.connectors", Connector, lines)  # type: ignore[type-abstract]
    for module in (profiles, profile_schema):
        monkeypatch.setattr(module, "connectors", registry)
    monkeypatch.delenv("FUSE_PROFILE", raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        (tmp_path / "fuse.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return put


GOOD = """\
default: dev
profiles:
  dev:
    connections:
      lake: {type: local, root: "${LAKE:lake}"}
      tapes:
        type: tape
        shelf: 7
        locked: false
        speed: ${SPEED:7.5}
        labels: {artist: "${ARTIST:nobody}"}
        key: env://TAPE_KEY
  prod:
    extends: dev
    connections:
      tapes: {shelf: 9, key: vault://secret/tapes#key}
"""


def test_a_connection_is_what_its_constructor_makes(write: Write) -> None:
    found = load_profile(start=write(GOOD))
    tapes = Tape(shelf=7, locked=False, speed=7.5, labels={"artist": "nobody"}, key="env://TAPE_KEY")
    assert found.name == "dev"
    assert found.connections == {"lake": Local(root="lake"), "tapes": tapes}
    assert not found.production
    assert not found.warnings


def test_each_field_says_where_it_came_from(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE", "/data/lake")
    folder = write(GOOD)
    (folder / ".env").write_text("SPEED=15\n")
    found = load_profile("prod", start=folder)
    assert {row.name: (row.value, str(row.origin)) for row in found.rows()} == {
        "connections.lake.type": ("local", "fuse.yaml:5"),
        "connections.lake.schema_folder": ("", "default"),
        "connections.lake.root": ("/data/lake", "environment variable `LAKE` (fuse.yaml:5)"),
        "connections.tapes.type": ("tape", "fuse.yaml:7"),
        "connections.tapes.schema_folder": ("", "default"),
        "connections.tapes.shelf": ("9", "fuse.yaml:16"),
        "connections.tapes.locked": ("False", "fuse.yaml:9"),
        "connections.tapes.speed": ("15.0", "`.env`: `SPEED` (fuse.yaml:10)"),
        "connections.tapes.kind": ("reel", "default"),
        "connections.tapes.labels": ("{'artist': 'nobody'}", "default"),
        "connections.tapes.key": ("vault://secret/tapes#key", "fuse.yaml:16"),
    }
    assert str(found.origins["connections.tapes.labels.artist"]) == "default of `ARTIST` (fuse.yaml:11)"
    assert str(found.origins["profile"]) == "argument"


def test_all_that_is_wrong_is_said_at_once_with_path_and_line(write: Write) -> None:
    folder = write("""\
profiles:
  dev:
    connections:
      lake:
        type: local
        rooot: lake
      tapes:
        type: tape
        kind: casette
        locked: ${LOCKED}
        key: vualt://secret/tapes#key
        speed: canary-of-a-speed
      more: {type: tape, shelf: 1, key: vault://secret}
      lost: {type: tpae}
      none: {root: lake}
      far: {type: far}
""")
    with pytest.raises(ProfileError) as caught:
        load_profile("dev", start=folder)
    said = {problem.path.removeprefix("$.profiles.dev.connections."): problem for problem in caught.value.problems}
    assert {path: problem.line for path, problem in said.items()} == {
        "lake.rooot": 6,
        "tapes.shelf": 7,
        "tapes.kind": 9,
        "tapes.locked": 10,
        "tapes.key": 11,
        "tapes.speed": 12,
        "more.key": 13,
        "lost.type": 14,
        "none.type": 15,
        "far.type": 16,
    }
    assert "Did you mean `root`" in said["lake.rooot"].text
    assert "'reel' or 'cassette'" in said["tapes.kind"].text
    assert "`LOCKED` is not set" in said["tapes.locked"].text
    assert "Did you mean `vault`" in said["tapes.key"].text
    assert "Valid: `vault://secret/lake#access_key`" in said["more.key"].text
    assert "Did you mean `tape`" in said["lost.type"].text
    assert "It has no type" in said["none.type"].text
    assert 'pip install "fuse-dagster[far]"' in said["far.type"].text
    assert "canary" not in "".join(traceback.format_exception(caught.value))


LITERAL = """\
profiles:
  dev:
    connections:
      tapes: {type: tape, shelf: 1, key: swordfish}
  prod:
    extends: dev
"""


def test_a_literal_secret_warns(write: Write) -> None:
    with pytest.warns(LiteralSecretWarning, match=r"fuse.yaml:4: .*tapes\.key`: It holds a secret itself") as caught:
        found = load_profile("dev", start=write(LITERAL))
    assert found.warnings == (str(caught[0].message),)
    assert "swordfish" not in f"{found!r} {found.warnings} {list(found.rows())}"
    assert secrets.resolve(found.connections["tapes"].key) == "swordfish"  # type: ignore[attr-defined]


def test_a_literal_secret_is_refused_in_production(write: Write) -> None:
    for text in (LITERAL, LITERAL.replace("prod:", "real:\n    production: true")):
        with pytest.raises(ProfileError, match=r"In production that is refused. .*`env://NAME`") as caught:
            load_profile("prod" if text == LITERAL else "real", start=write(text))
        assert "swordfish" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_that_a_variable_brings_early_is_literal_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "swordfish")
    folder = write(LITERAL.replace("swordfish", "'${TAPE_KEY}'"))
    with pytest.warns(LiteralSecretWarning, match="from environment while .*Write `env://TAPE_KEY`"):
        load_profile("dev", start=folder)
    monkeypatch.setenv("TAPE_KEY", "vault://secret/tapes#key")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_profile("prod", start=folder).connections["tapes"].key == "vault://secret/tapes#key"  # type: ignore[attr-defined]


def test_no_secret_is_fetched_while_a_profile_is_loaded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    assert isinstance(load_profile("prod", start=write(GOOD)), Profile)


STORES = """\
profiles:
  dev:
    secrets:
      env: {ttl: "${TTL:60}"}
      vault: {address: "https://dev.test", token: file:///run/secrets/token}
  prod:
    extends: dev
    secrets:
      vault: {address: "https://prod.test"}
  wrong:
    secrets:
      valt: {}
      vault: {adress: x, token: vault://secret/a#token, secret_id: swordfish}
      env: {ttl: -1}
"""


def test_a_profile_states_the_settings_of_stores(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[secrets.Store] = []
    monkeypatch.setattr(secrets, "use", used.append)
    found = load_profile("prod", start=write(STORES))
    assert used == list(found.stores.values())
    assert {
        row.name: (row.value, str(row.origin)) for row in found.rows() if row.name != "secrets.vault.approle_path"
    } == {
        "secrets.env.ttl": ("60.0", "default of `TTL` (fuse.yaml:4)"),
        "secrets.vault.ttl": ("300.0", "default"),
        "secrets.vault.address": ("https://prod.test", "fuse.yaml:9"),
        "secrets.vault.namespace": ("", "default"),
        "secrets.vault.token": ("file:///run/secrets/token", "fuse.yaml:5"),
        "secrets.vault.role_id": ("", "default"),
        "secrets.vault.secret_id": ("", "default"),
    }


def test_wrong_settings_of_stores_are_said_and_not_used(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[secrets.Store] = []
    monkeypatch.setattr(secrets, "use", used.append)
    with pytest.raises(ProfileError) as caught:
        load_profile("wrong", start=write(STORES + "    production: true\n"))
    said = {problem.path.removeprefix("$.profiles.wrong.secrets."): problem.text for problem in caught.value.problems}
    assert list(said) == ["valt", "vault.adress", "vault.secret_id", "vault.token", "env.ttl"]
    assert "Did you mean `vault`" in said["valt"]
    assert "Did you mean `address`" in said["vault.adress"]
    assert "can't lie in a store that needs opening" in said["vault.token"]
    assert "greater than or equal to 0" in said["env.ttl"]
    assert not used
    assert "swordfish" not in "".join(traceback.format_exception(caught.value))


def test_connections_are_resources_of_dagster(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_KEY", "swordfish")
    found = load_profile(start=write(GOOD))
    seen: list[str] = []

    @dg.asset(required_resource_keys={"tapes"})
    def look(context) -> None:  # type: ignore[no-untyped-def]  # Dagster would read a string annotation
        seen.extend([context.resources.tapes.key, secrets.resolve(context.resources.tapes.key)])

    assert dg.materialize([look], resources=dict(found.connections)).success
    assert seen == ["env://TAPE_KEY", "swordfish"]


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no `fuse.yaml`"):
        load_profile(start=tmp_path)


def _complaints(text: str) -> list[str]:
    validator = Draft202012Validator(profile_schema.profile_schema())
    validator.check_schema(validator.schema)
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(yaml.safe_load(text))]


def test_the_schema_for_editors_takes_what_is_right() -> None:
    assert _complaints(GOOD) == []
    assert _complaints(LITERAL) == []
    assert _complaints(STORES.partition("  wrong:")[0]) == []
    assert _complaints(STORES)


@pytest.mark.parametrize(
    ("right", "wrong", "path"),
    [
        ("default: dev", "defualt: dev", ""),
        ("extends: dev", "extend: dev", "profiles.prod"),
        ("shelf: 7", "shelf: seven", "profiles.dev.connections.tapes"),
        ("shelf: 7", "shelff: 7", "profiles.dev.connections.tapes"),
        ("type: local", "type: locl", "profiles.dev.connections.lake"),
        ("{shelf: 9", "{shelff: 9", "profiles.prod.connections.tapes"),
    ],
)
def test_the_schema_for_editors_finds_what_is_wrong(right: str, wrong: str, path: str) -> None:
    assert right in GOOD
    assert _complaints(GOOD.replace(right, wrong)) == [path]


def test_the_schema_describes_every_field() -> None:
    schema: dict[str, Any] = profile_schema.profile_schema()
    connection = schema["properties"]["profiles"]["additionalProperties"]["properties"]["connections"]
    [tape] = [kind for kind in connection["additionalProperties"]["anyOf"] if kind.get("title") == "Tape"]
    assert tape["description"] == "A cabinet of tapes."
    assert tape["properties"]["shelf"]["description"] == "Which shelf."
    assert tape["properties"]["key"]["secret"] is True


LAKE = "profiles:\n  dev:\n    connections:\n      lake: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", {"$": "There are no `profiles`"}),
        ("profiles:\n  - dev\n", {"$.profiles": "There must be names with values here"}),
        ("profiles: {dev: {connections: [lake]}}", {"$.profiles.dev.connections": "There must be names with values"}),
        (LAKE + "local\n", {"lake": "There must be names with values here"}),
        (LAKE + "{type: S3, bucket: b}\n", {"lake.type": "Did you mean `s3`?"}),
        (LAKE + "{type: s3, bucket: }\n", {"lake.bucket": "It is no text. Give one value, or take the line out."}),
        (LAKE + "{type: s3, bucket: [b]}\n", {"lake.bucket": "It is no text."}),
        (
            LAKE + "{type: s3, bucket: b, timeout: fast}\n",
            {"lake.timeout": "It is no number. Valid: one such as `30`."},
        ),
        (LAKE + "{type: s3, bucket: b, path_style: yep}\n", {"lake.path_style": "It is neither `true` nor `false`."}),
        (
            LAKE + "{type: adls, account: a, container: c, login: clii}\n",
            {"lake.login": "Valid: 'default', 'managed_identity' or 'cli'."},
        ),
        (
            LAKE + "{type: s3, bucket: env://BUCKET, prefix: '${NOT_SET}'}\n",
            {"lake.bucket": "It is a reference to a secret, and this field holds none.", "lake.prefix": "is not set"},
        ),
        (
            "profiles:\n  dev:\n    secrets:\n      vault: {ttl: soon, adress: x}\n",
            {
                "$.profiles.dev.secrets.vault.ttl": "It is no number.",
                "$.profiles.dev.secrets.vault.adress": "`address`",
            },
        ),
    ],
)
def test_each_mistake_is_said_once_in_plain_words(write: Write, text: str, said: dict[str, str]) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(start=write(text))
    found = {one.path.removeprefix("$.profiles.dev.connections."): one for one in caught.value.problems}
    assert found.keys() == said.keys()
    assert all(words in found[path].text for path, words in said.items()), found
    assert all(one.line > 0 for one in found.values())


TAPES = "connections: {tapes: {type: tape, shelf: 1, key: swordfish}}"


@pytest.mark.parametrize(
    ("profiles", "refused"),
    [
        (f"  prod: {{{TAPES}}}\n  live: {{extends: prod}}\n", True),
        (f"  prod: {{production: false, {TAPES}}}\n", True),
        (f"  prod: {{{TAPES}}}\n  live: {{extends: prod, production: false}}\n", False),
    ],
)
def test_what_extends_production_is_in_production_unless_it_says_no(write: Write, profiles: str, refused: bool) -> None:
    folder, name = write(f"profiles:\n{profiles}"), "live" if "live" in profiles else "prod"
    if refused:
        with pytest.raises(ProfileError, match="In production that is refused"):
            load_profile(name, start=folder)
    else:
        with pytest.warns(LiteralSecretWarning):
            assert not load_profile(name, start=folder).production
