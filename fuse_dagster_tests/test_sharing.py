from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.docs.pages import ROOT, blocks, written
from fuse_dagster_tests.sharing import FIRST, OF_KAFKA, group_of, ranks

FOLDER = Path(__file__).parent
SHARED = {"spark and tables", "spark", "kafka"}


def test_what_begins_first_is_there() -> None:
    assert [name for name in FIRST if name not in SHARED and not (FOLDER / name).is_file()] == []
    assert set(FIRST) >= SHARED
    assert [name for name in OF_KAFKA if not (FOLDER / name).is_file()] == []


@pytest.mark.parametrize(
    ("test", "group"),
    [
        ("core/test_registry.py::test_it", "core/test_registry.py"),
        ("connectors/test_s3.py::TestS3::test_it", "connectors/test_s3.py"),
        ("connectors/test_s3.py::TestSparkOnS3::test_it", "spark"),
        ("docs/test_code.py::test_it[docs/pages/spark.md]", "spark"),
        ("contract/test_every_engine.py::test_it[local first]", "spark and tables"),
        ("ingest/test_topics.py::test_it", "kafka"),
    ],
)
def test_a_file_is_a_group_and_what_needs_a_jvm_is_in_few(test: str, group: str) -> None:
    assert group_of(f"fuse_dagster_tests/{test}") == group


def test_what_asks_for_a_jvm_is_in_its_groups(request: pytest.FixtureRequest) -> None:
    asked = {
        group_of(item.nodeid)
        for item in request.session.items
        if {"spark", "kafka"} & {*getattr(item, "fixturenames", ())}
    }
    assert asked <= SHARED


def test_so_is_a_page_whose_code_needs_one() -> None:
    pages = [f"fuse_dagster_tests/docs/test_code.py::test_it[{page.relative_to(ROOT)}]" for page in written()]
    needs = [test for test, page in zip(pages, written(), strict=True) if "spark" in code(page)]
    assert needs
    assert {group_of(test) for test in needs} == {"spark"}


def code(page: Path) -> str:
    return "".join(block.text for block in blocks(page) if block.language == "python").lower()


def test_the_longest_begin_then_the_slow() -> None:
    groups = ["many", "slow", "many", "ui/test_ui.py", "many", "spark"]
    rank = ranks(groups, [group == "slow" for group in groups])
    assert sorted(rank, key=lambda name: rank[name]) == ["spark", "ui/test_ui.py", "slow", "many"]
