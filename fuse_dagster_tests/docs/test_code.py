"""Every block of Python in the documentation runs, and prints what the page says that it prints.

A page is one program: its blocks run from top to bottom in one namespace and one empty folder. A block
titled "output" holds what the block before it prints, exactly. `python -m fuse_dagster_tests.docs` writes
the outputs anew, for a person to read before they are committed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster.core.errors import MissingExtraError
from fuse_dagster_tests.docs.pages import PAGES, ROOT, blocks, written
from fuse_dagster_tests.docs.running import outputs, plain

WITH_CODE = [page for page in written() if any(block.language == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "spark" in "".join(block.text for block in blocks(page) if block.language == "python").lower():
        request.getfixturevalue("spark")  # the one session of this process, with the drivers that other tests need
    try:
        for promised, printed in outputs(page, tmp_path):
            assert printed == plain(promised.text), f"{page.name}:{promised.line} promises something else"
    except MissingExtraError as error:  # Java, for the page on Spark
        pytest.skip(str(error))


def test_pages_with_code_are_found() -> None:
    assert PAGES / "history.md" in WITH_CODE
    assert ROOT / "README.md" in WITH_CODE
