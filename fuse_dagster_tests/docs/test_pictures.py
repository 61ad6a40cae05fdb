"""The pictures show what the code does today."""

from __future__ import annotations

import pytest

from fuse_dagster_tests.docs.pages import PAGES
from fuse_dagster_tests.docs.pictures import PICTURES, draw


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_what_the_code_does(name: str) -> None:
    drawn = (PAGES / "images" / name).read_text(encoding="utf-8")
    assert drawn == draw(name), "run `python -m fuse_dagster_tests.docs`, and look at the picture"
