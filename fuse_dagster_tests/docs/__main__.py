"""Write the outputs and pictures of the documentation anew: `python -m fuse_dagster_tests.docs [PAGE]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fuse_dagster_tests.docs.pages import ROOT, written
from fuse_dagster_tests.docs.pictures import draw_all
from fuse_dagster_tests.docs.running import outputs
from fuse_dagster_tests.docs.test_code import WITH_CODE


def main() -> None:
    wanted = sys.argv[1:] or [page.name for page in written()]
    for page in WITH_CODE:
        if page.name not in wanted:
            continue
        lines = page.read_text(encoding="utf-8").split("\n")
        shift = 0
        with tempfile.TemporaryDirectory() as folder:
            for block, printed in list(outputs(page, Path(folder))):
                start = block.line - 1 + shift
                old = block.text.rstrip("\n").split("\n") if block.text.strip() else []
                indent = lines[start - 1][: len(lines[start - 1]) - len(lines[start - 1].lstrip())]
                new = [indent + line if line else "" for line in printed.split("\n")]
                lines[start : start + len(old)] = new
                shift += len(new) - len(old)
        page.write_text("\n".join(lines), encoding="utf-8")
        print(page.relative_to(ROOT))
    draw_all()


if __name__ == "__main__":
    main()
