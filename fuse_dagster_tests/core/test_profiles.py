from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.profiles import Chosen, Origin, ProfileError, choose, find, names
from fuse_dagster.core.profiles.variables import expand

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment as it was: a `.env` puts its variables there."""
    monkeypatch.delenv("FUSE_PROFILE", raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        file = tmp_path / "fuse.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return put


INHERITED = """\
default: dev
profiles:
  base:
    connections:
      lake: {type: local, root: lake}
      drop: {type: local, root: drop}
  dev:
    extends: base
  staging:
    extends: base
    connections:
      lake: {root: staged}
  prod:
    extends: staging
    connections:
      drop: {type: s3, bucket: drop}
      new: {type: local}
"""


def _values(chosen: Chosen) -> dict[str, dict[str, object]]:
    origins: dict[str, Origin] = {}
    return {
        name: {field: expand(node, chosen.problems, origins, field) for field, node in fields.items()}
        for name, fields in chosen.connections.items()
    }


def test_the_file_of_the_nearest_folder_above_is_found(write: Write, tmp_path: Path) -> None:
    file = write(INHERITED)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find(inner) == file
    assert find(file) == file
    (tmp_path / "a" / "fuse.yaml").write_text("")
    assert find(inner) == tmp_path / "a" / "fuse.yaml"


def test_no_file_is_answered_with_one_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no `fuse.yaml` in .* or above\. Write one there") as caught:
        find(tmp_path)
    example = str(caught.value).partition("as in:\n")[2]
    (tmp_path / "fuse.yaml").write_text(example)
    assert choose(tmp_path / "fuse.yaml").name == "dev"


def test_a_profile_inherits_fields_and_connections(write: Write) -> None:
    file = write(INHERITED)
    base = {"lake": {"type": "local", "root": "lake"}, "drop": {"type": "local", "root": "drop"}}
    assert _values(choose(file, "dev")) == base
    assert _values(choose(file, "staging")) == base | {"lake": {"type": "local", "root": "staged"}}
    assert names(file) == ("base", "dev", "staging", "prod")


def test_a_connection_of_another_type_inherits_no_fields(write: Write) -> None:
    found = _values(choose(write(INHERITED), "prod"))
    assert found["drop"] == {"type": "s3", "bucket": "drop"}
    assert found["lake"] == {"type": "local", "root": "staged"}
    assert found["new"] == {"type": "local"}


def test_an_argument_goes_before_the_variable_before_the_default(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(INHERITED)
    assert (choose(file).name, str(choose(file).by)) == ("dev", "fuse.yaml:1")
    monkeypatch.setenv("FUSE_PROFILE", "staging")
    assert (choose(file).name, str(choose(file).by)) == ("staging", "environment variable `FUSE_PROFILE`")
    assert (choose(file, "prod").name, str(choose(file, "prod").by)) == ("prod", "argument")


def test_the_env_file_may_choose(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FUSE_PROFILE=staging\n")
    chosen = choose(write(INHERITED))
    assert (chosen.name, str(chosen.by)) == ("staging", "`.env`: `FUSE_PROFILE`")


def test_production_is_a_mark_that_is_inherited(write: Write) -> None:
    file = write("profiles:\n  real: {production: true}\n  mine: {extends: real}\n  other: {production: false}\n")
    assert {name: choose(file, name).production for name in names(file)} == {"real": True, "mine": True, "other": False}


@pytest.mark.parametrize("name", ["prod", "production"])
def test_production_is_a_name_too(write: Write, name: str) -> None:
    assert choose(write(f"profiles: {{{name}: {{production: false}}}}"), name).production


def _first(write: Write, value: str) -> tuple[object, str]:
    chosen = choose(write(f"profiles:\n  dev:\n    connections:\n      a:\n        x: {value}\n"), "dev")
    origins: dict[str, Origin] = {}
    found = expand(chosen.connections["a"]["x"], chosen.problems, origins, "x")
    chosen.problems.raise_any()
    return found, ", ".join(str(origin) for origin in origins.values())


@pytest.mark.parametrize(
    ("value", "found", "origin"),
    [
        ("plain", "plain", "fuse.yaml:5"),
        ("0123", "0123", "fuse.yaml:5"),
        ("no", "no", "fuse.yaml:5"),
        ("2024-01-01", "2024-01-01", "fuse.yaml:5"),
        ("~", None, "fuse.yaml:5"),
        ("", None, "fuse.yaml:5"),
        ('""', "", "fuse.yaml:5"),
        ("${TAPE}", "from the environment", "environment variable `TAPE` (fuse.yaml:5)"),
        ("${CASSETTE}", "from the file", "`.env`: `CASSETTE` (fuse.yaml:5)"),
        ("${ABSENT:a default}", "a default", "default of `ABSENT` (fuse.yaml:5)"),
        ("${ABSENT:}", "", "default of `ABSENT` (fuse.yaml:5)"),
        ("${ABSENT:http://x:1}", "http://x:1", "default of `ABSENT` (fuse.yaml:5)"),
        ("a/${ABSENT:b}/${TAPE}", "a/b/from the environment", "environment variable `ABSENT, TAPE` (fuse.yaml:5)"),
        ("$${TAPE} $TAPE", "${TAPE} $TAPE", "fuse.yaml:5"),
        ("[a, '${ABSENT:b}']", ["a", "b"], "fuse.yaml:5, fuse.yaml:5, default of `ABSENT` (fuse.yaml:5)"),
        ("{b: {c: d}}", {"b": {"c": "d"}}, "fuse.yaml:5"),
    ],
)
def test_values_know_where_they_come_from(write: Write, tmp_path: Path, value: str, found: object, origin: str) -> None:
    os.environ["TAPE"] = "from the environment"
    (tmp_path / ".env").write_text("# settings\nTAPE='from the file'\nexport CASSETTE=\"from the file\"\n")
    assert _first(write, value) == (found, origin)


def test_a_changed_env_file_is_read_anew(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAPE_A=1\nTAPE_B=1\n")
    assert _first(write, "${TAPE_A}${TAPE_B}")[0] == "11"
    os.environ["TAPE_B"] = "changed since"
    (tmp_path / ".env").write_text("TAPE_B=2\n")
    assert _first(write, "${TAPE_A:gone} ${TAPE_B}") == (
        "gone changed since",
        "environment variable `TAPE_A, TAPE_B` (fuse.yaml:5)",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["1: `$`: There are no `profiles`"]),
        ("profils: {}", ["1: `$`: There are no `profiles`", "1: `$.profils`: There is no such key here. Did you mean"]),
        ("default: dve\nprofiles: {dev: {}}", ["1: `$.default`: There is no profile `dve`. Did you mean `dev`"]),
        ("profiles: {dev: {}, prod: {}}", ["1: `$.default`: No profile is chosen. Set `FUSE_PROFILE`"]),
        ("profiles: dev", ["1: `$.profiles`: There must be names with values here"]),
        (
            "default: a\nprofiles:\n  a:\n    extends: b\n  b:\n    extends: a\n  c:\n    extends: d",
            [
                "4: `$.profiles.a.extends`: `b` extends itself: b -> a -> b.",
                "6: `$.profiles.b.extends`: `a` extends itself: a -> b -> a.",
                "8: `$.profiles.c.extends`: There is no profile `d`. Valid: `a`, `b`, `c`.",
            ],
        ),
        (
            "default: a\nprofiles:\n  a:\n    extends: [b]\n    conections: {}\n",
            [
                "4: `$.profiles.a.extends`: It is no name of a profile.",
                "5: `$.profiles.a.conections`: There is no such key here. Did you mean `connections`",
            ],
        ),
        ("profiles:\n  a: {}\n  b: {}\n  a: {}", ["4: `$.profiles.a`: It is there already, in line 2."]),
        ("profiles: &a\n  a: *a", ["1: `$.profiles.a`: This alias leads into itself."]),
        ("profiles:\n  a: *swordfish", ["2: `$`: From here on there is an alias"]),
        ("profiles:\n  a: @swordfish", ["2: `$`: From here on there is a sign where YAML allows none"]),
        ("profiles:\n  a: [swordfish\n", ["3: `$`: From here on the structure does not close"]),
        ("profiles:\n\ta: swordfish\n", ["2: `$`: From here on there is a sign where YAML allows none"]),
        (
            "profiles: {}\n---\nswordfish: 1",
            ["2: `$`: From here on there is an alias (`*name`)"],
        ),
        ("a: \x07swordfish", ["1: `$`: The file holds a sign that YAML does not allow"]),
    ],
)
def test_all_that_is_wrong_is_said_with_path_and_line(write: Write, text: str, said: list[str]) -> None:
    with pytest.raises(ProfileError) as caught:
        choose(write(text))
    lines = str(caught.value).splitlines()[1:]
    for expected in said:
        assert any(line.startswith(f"fuse.yaml:{expected}") for line in lines), lines
    assert len(lines) == len(caught.value.problems) >= len(said)
    assert "swordfish" not in str(caught.value)
    assert caught.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_variables_that_are_not_set_are_said_together(write: Write) -> None:
    with pytest.raises(ProfileError) as caught:
        _first(write, "${TAPE_ONE}${TAPE_TWO}${")
    assert [problem.text.partition(".")[0] for problem in caught.value.problems] == [
        "The environment variable `TAPE_ONE` is not set",
        "The environment variable `TAPE_TWO` is not set",
        "It has a `${` that begins no variable",
    ]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fuse.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="no text in UTF-8"):
        choose(tmp_path / "fuse.yaml")


def test_keys_of_yaml_are_merged_and_keep_their_lines(write: Write) -> None:
    file = write(
        "profiles:\n  dev:\n    connections:\n      a: &a {type: s3, bucket: a}\n      b: &b {region: x, bucket: y}\n"
        "      c:\n        <<: [*a, *b]\n        prefix: c\n      d: {<<: *a, bucket: d}\n      e: {<<: text}\n"
    )
    with pytest.raises(ProfileError, match=r"10: `\$\.profiles\.dev\.connections\.e\.<<`: `<<` takes over names"):
        choose(file)
    chosen = choose(write(file.read_text().replace("{<<: text}", "{type: s3}")))
    c, d = chosen.connections["c"], chosen.connections["d"]
    assert {name: (node.text, node.line) for name, node in c.items()} == {
        "type": ("s3", 4),
        "bucket": ("a", 4),
        "region": ("x", 5),
        "prefix": ("c", 8),
    }
    assert {name: (node.text, node.line) for name, node in d.items()} == {"type": ("s3", 4), "bucket": ("d", 9)}


def test_the_only_profile_needs_no_choice(write: Write) -> None:
    chosen = choose(write("profiles:\n  here:\n    connections: {lake: {type: local}}\n"))
    assert (chosen.name, str(chosen.by)) == ("here", "fuse.yaml")
