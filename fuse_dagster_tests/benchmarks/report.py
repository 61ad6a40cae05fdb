"""What was measured, as Markdown and as a plot."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

Measured = dict[str, float]
Case = tuple[int, str, str]
Results = dict[Case, list[Measured]]

START, END = "<!-- measured -->", "<!-- /measured -->"
NAMES = {"ours": "History", "limit": "physical limit", "merge": "MERGE (delta-rs)", "spark": "MERGE (Spark)"}
_COLORS = {"ours": "#4063d8", "limit": "#a0a0a0", "merge": "#cb8133", "spark": "#9558b2"}
_SECOND, _AGAIN, _MANY = "second snapshot", "the same again", "50th snapshot"
_HEAD = "| keys | step | | CPU s | wall s | MB written | files | peak MB |\n|---:|---|---|---:|---:|---:|---:|---:|"


def report(
    found: Mapping[Case, Measured],
    costs: Mapping[str, float],
    rounds: int,
    tables: Sequence[Sequence[Mapping[str, object]]] = (),
) -> str:
    """A table of all figures, and of the ratios that matter.

    Args:
        found: Medians by keys, peer and step.
        costs: Median CPU seconds of an append of a million rows, by way; empty where it was not measured.
        rounds: How often was measured.
        tables: Rows of `maintenance.run`, and of `landing.rows_of`.
    """
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("deltalake", "polars", "pyspark"))
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {packages}"
    lines = [f"Median of {rounds} rounds (of MERGE from a million keys on, one) on {machine}.", "", _HEAD]
    order = sorted(found, key=lambda case: (case[0], list(dict.fromkeys(c[2] for c in found)).index(case[2])))
    for keys, peer, step in order:
        row = found[keys, peer, step]
        numbers = f"{row['cpu']:.2f} | {row['wall']:.2f} | {row['mb']:.1f} | {row['files']:.0f} | {row['peak']:,.0f}"
        lines.append(f"| {keys:,} | {step} | {NAMES[peer]} | {numbers} |")
    lines += ["", *_ratios(found)]
    if costs:
        base = costs["write_deltalake"]
        lines += [
            "",
            "| append of 1,000,000 rows (thrice the rounds) | CPU s | over `write_deltalake` |",
            "|---|---:|---:|",
        ]
        lines += [f"| {way} | {cpu:.2f} | {cpu / base - 1:+.0%} |" for way, cpu in costs.items()]
    for rows in tables:
        lines += ["", f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
        lines += [f"| {' | '.join(map(str, row.values()))} |" for row in rows]
    return "\n".join(lines)


def _ratios(found: Mapping[Case, Measured]) -> list[str]:
    lines = ["| keys | ratio of medians | CPU | bytes |", "|---:|---|---:|---:|"]
    for keys in dict.fromkeys(case[0] for case in found):
        second, pairs = found.get((keys, "ours", _SECOND)), []
        pairs += [(f"second snapshot, over {NAMES[peer]}", second, found.get((keys, peer, _SECOND))) for peer in NAMES]
        pairs.append(("50th snapshot, over the second", found.get((keys, "ours", _MANY)), second))
        pairs.append(("the same again, over the second", found.get((keys, "ours", _AGAIN)), second))
        for name, one, other in pairs:
            if one is not None and other is not None and one is not other:
                both = f"{one['cpu'] / other['cpu']:.3f} | {one['mb'] / other['mb']:.2f}"
                lines.append(f"| {keys:,} | {name} | {both} |")
    return lines


def save(text: str, found: Mapping[Case, Measured], pages: Path) -> None:
    """Put the figures into the page, and the plot beside it.

    Args:
        text: From `report`.
        found: Medians by keys, peer and step.
        pages: The folder with `benchmarks.md` and `images`.
    """
    plot(found, pages / "images" / "benchmarks.svg")
    page = pages / "benchmarks.md"
    block = f"{START}\n{text}\n{END}"
    old = page.read_text(encoding="utf-8")
    page.write_text(re.sub(f"{START}.*?{END}", lambda _: block, old, flags=re.DOTALL), encoding="utf-8")


def plot(found: Mapping[Case, Measured], path: Path) -> None:
    """CPU seconds per step and peer, a panel per number of keys.

    Args:
        found: Medians by keys, peer and step.
        path: An SVG file.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sizes = list(dict.fromkeys(case[0] for case in found))
    steps = list(dict.fromkeys(case[2] for case in found))[::-1]
    with plt.style.context(["seaborn-v0_8-whitegrid", {"svg.hashsalt": "fuse", "font.size": 9}]):
        figure, axes = plt.subplots(
            1, len(sizes), figsize=(4 * len(sizes), 4.6), sharex=True, sharey=True, squeeze=False
        )
        for axis, keys in zip(axes[0], sizes, strict=True):
            for place, (peer, name) in enumerate(NAMES.items()):
                rows = [
                    (n, found[keys, peer, step]["cpu"]) for n, step in enumerate(steps) if (keys, peer, step) in found
                ]
                heights = [n + 0.3 - 0.2 * place for n, _ in rows]
                bars = axis.barh(heights, [cpu for _, cpu in rows], height=0.18, color=_COLORS[peer], label=name)
                axis.bar_label(bars, fmt="%.2g", padding=2, fontsize=7)
            axis.set(xscale="log", title=f"{keys:,} keys", xlabel="CPU seconds (log)")
            axis.margins(x=0.15)
            axis.grid(visible=False, axis="y")
        axes[0][0].set_yticks(range(len(steps)), steps)
        figure.legend(*axes[0][0].get_legend_handles_labels(), ncols=len(NAMES), loc="upper center", frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 0.93))
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
