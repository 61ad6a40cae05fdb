"""Charts for the metadata of an asset: a PNG inside Markdown, which the Dagster UI renders."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANGES = {
    "appeared": "#2a9d8f",
    "gone": "#c1494b",
    "moved": "#e9a13b",
    "renamed": "#3d6fb6",
    "time zone": "#7a5195",
}


def changes_chart(changes: pl.DataFrame, moments: Sequence[datetime]) -> str:
    """Draw how many airports appeared, went, moved, were renamed or changed time zone, per period.

    Args:
        changes: Rows of `gold/airport_changes`.
        moments: The ends of the periods, in order; one without a change still has its place.

    Returns:
        Markdown with the picture in it.
    """
    counts = changes.group_by("as_of", "change").len()
    figure, axes = _canvas()
    width = 0.8 / len(CHANGES)
    for place, (change, colour) in enumerate(CHANGES.items()):
        found = dict(counts.filter(pl.col("change") == change).select("as_of", "len").iter_rows())
        heights = [found.get(moment, 0) for moment in moments]
        bars = axes.bar(
            [x + (place - (len(CHANGES) - 1) / 2) * width for x in range(len(moments))],
            heights,
            width * 0.92,
            label=change,
            color=colour,
        )
        axes.bar_label(bars, labels=[f"{height:,}" if height else "" for height in heights], fontsize=8, padding=2)
    axes.set_xticks(range(len(moments)), [f"to {moment.day} {moment:%b %Y}" for moment in moments])
    axes.set_title("What became of the world's airports, from one year end to the next", loc="left", fontsize=12)
    axes.legend(frameon=False, ncols=len(CHANGES), loc="upper center", bbox_to_anchor=(0.5, -0.08))
    axes.margins(y=0.08)
    axes.set_ylabel("airports")
    return _markdown(figure, alt="Airports that appeared, went, moved, were renamed or changed time zone, per period")


def delays_chart(delays: pl.DataFrame) -> str:
    """Draw the mean departure delay and the share of cancelled flights for each kind of weather.

    Args:
        delays: Rows of `gold/delays_by_weather`.

    Returns:
        Markdown with the picture in it.
    """
    figure, axes = _canvas()
    labels = delays["weather"].to_list()
    minutes: list[float] = delays["mean_dep_delay"].fill_null(0.0).to_list()
    bars = axes.barh(labels, minutes, color="#3d6fb6", height=0.62)
    axes.bar_label(
        bars,
        labels=[
            f"{delay:.0f} min, {row['cancelled_share']:.1%} of {row['flights']:,} cancelled"
            for delay, row in zip(minutes, delays.iter_rows(named=True), strict=True)
        ],
        fontsize=9,
        padding=4,
    )
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, *minutes) * 1.45)
    axes.set_title("Departure delay by the weather at the airport, New York 2013", loc="left", fontsize=12)
    axes.set_xlabel("mean departure delay, minutes")
    return _markdown(figure, alt="Mean departure delay by weather")


def _canvas() -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "the demo's charts need matplotlib; install it with `pip install 'fuse-dagster[demo]'`"
        ) from error
    figure = Figure(figsize=(9.5, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _markdown(figure: Figure, *, alt: str) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return f"![{alt}](data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()})"
