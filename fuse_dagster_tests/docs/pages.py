"""The documentation as its tests see it: pages, their blocks of code, and the output that they promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: First word after the fence.
        title: What `title="..."` says; `output` marks what the block before it prints.
        text: Its lines, without the indent of the fence.
        line: Line of the page where the text begins, from 1.
    """

    language: str
    title: str
    text: str
    line: int


def written() -> list[Path]:
    """All pages with prose: the documentation and the files at the top that people read first."""
    return [*sorted(PAGES.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        info = match["info"].strip()
        title = re.search(r'title="([^"]*)"', info)
        indent = match["indent"]
        body = "\n".join(line.removeprefix(indent) for line in match["body"].split("\n"))
        found.append(
            Block(
                language=info.split()[0] if info else "",
                title=title[1] if title else "",
                text=body,
                line=text.count("\n", 0, match.start("body")) + 1,
            )
        )
    return found
