"""Which files of a table are worth writing anew, by their rows and the bounds that the log states.

Files that lie beside each other in key order, without overlap, make a run: whoever looks for a key opens one file of
it. A group of files is a few runs over each other, the heaviest below. Small batches put light runs on top, and these
are merged downwards only once they weigh enough beside what they would have to be merged with. So a row is written
anew a few times in its life, as in a log-structured merge tree, and not at each compaction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

_SMALLEST_SHARE = 4
_HEAVIER = 4
_TOO_FULL = 2
_MOST_RUNS = 16


@dataclass(frozen=True, slots=True)
class File:
    """A data file as the log describes it.

    Attributes:
        path: As the log names it.
        rows: Rows that it has of its group.
        low: Least value of the first clustered column; None where it is not known exactly.
        high: Its greatest value.
        mixed: Whether it has rows of another group too, and must be taken apart.
    """

    path: str
    rows: int
    low: Any = None
    high: Any = None
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """Files whose rows are put in order together.

    Attributes:
        files: Files of one group.
    """

    files: tuple[File, ...]

    @property
    def rows(self) -> int:
        """Rows of all of them."""
        return sum(file.rows for file in self.files)

    @property
    def low(self) -> Any:
        """Least value of the first clustered column."""
        return min(file.low for file in self.files)

    def is_worth_it(self, full: int) -> bool:
        """Whether its files are not what they would be if they were written now.

        Args:
            full: Rows of a full file.
        """
        return len(self.files) > 1 or self.files[0].mixed or self.rows > _TOO_FULL * full

    def files_after(self, full: int) -> int:
        """How many files it becomes.

        Args:
            full: Rows of a full file.
        """
        return ceil(self.rows / full)


def worth_rewriting(files: Iterable[File], *, full: int) -> list[Unit]:
    """Choose what to write anew.

    Args:
        files: All files of a group.
        full: Rows of a full file. One with less than a quarter of them is small.

    Returns:
        Units that share no file. Planned again on what they become, hardly anything is worth it any more.
    """
    small = full // _SMALLEST_SHARE
    every = list(files)
    runs = _runs([file for file in every if file.low is not None])
    heaps, base = _pressed_down(runs, small)
    chosen = {file.path for heap in heaps for file in heap}
    rows = [[Unit((file,)) for file in run if file.path not in chosen] for run in runs]
    if heaps:
        # Nothing of this run lies under them any more: they fill the gaps that its chosen files leave.
        rows[base] += [Unit(tuple(heap)) for heap in heaps]
    ordered = [sorted(row, key=lambda unit: unit.low) for row in rows]
    ordered.append([Unit((file,)) for file in every if file.low is None])
    units = [unit for row in ordered for unit in _with_small_neighbours(row, small, full)]
    return [unit for unit in units if unit.is_worth_it(full)]


def _runs(files: Sequence[File]) -> list[list[File]]:
    """Files as runs, the heaviest first; the last holds what is left when there are too many, overlaps and all."""
    left = sorted(files, key=lambda file: (file.high, file.low))
    runs: list[list[File]] = []
    while left and len(runs) < _MOST_RUNS:
        run = _heaviest_run(left)
        taken = {file.path for file in run}
        left = [file for file in left if file.path not in taken]
        runs.append(run)
    return [*runs, left] if left else runs


def _heaviest_run(files: Sequence[File]) -> list[File]:
    """Files without overlap that have the most rows together: weighted interval scheduling.

    Args:
        files: By greatest value, then least.
    """
    highs = [file.high for file in files]
    before = [bisect_right(highs, file.low, 0, number) for number, file in enumerate(files)]
    most = [0]
    for number, file in enumerate(files):
        most.append(max(most[-1], most[before[number]] + file.rows))
    run: list[File] = []
    number = len(files)
    while number:
        if most[number] == most[number - 1]:
            number -= 1
        else:
            run.append(files[number - 1])
            number = before[number - 1]
    return run


def _pressed_down(runs: Sequence[list[File]], small: int) -> tuple[list[list[File]], int]:
    """Light runs, merged with the heaviest one below them that is worth it, and the number of that one."""
    for number, run in enumerate(runs):
        above = [file for lighter in runs[number + 1 :] for file in lighter]
        over = {file.path for file in above}
        heaps = [heap for heap in _heaps([*run, *above]) if any(file.path in over for file in heap)]
        below = sum(file.rows for heap in heaps for file in heap if file.path not in over)
        if heaps and below <= max(_HEAVIER * sum(file.rows for file in above), small):
            return heaps, number
    return [], 0


def _heaps(files: Iterable[File]) -> list[list[File]]:
    """Files that overlap, directly or through others, together."""
    heaps: list[list[File]] = []
    end: Any = None
    for file in sorted(files, key=lambda file: (file.low, file.high)):
        if heaps and file.low < end:
            heaps[-1].append(file)
            end = max(end, file.high)
        else:
            heaps.append([file])
            end = file.high
    return heaps


def _with_small_neighbours(row: Sequence[Unit], small: int, full: int) -> list[Unit]:
    """Units in their order, small neighbours as one."""
    joined: list[Unit] = []
    for unit in row:
        last = joined[-1] if joined else None
        # What grows out of small ones grows on until it is full; else three small ones would be left as two.
        grows = last is not None and (last.rows < small or (len(last.files) > 1 and last.files[-1].rows < small))
        if last is not None and grows and unit.rows < small and last.rows + unit.rows <= full:
            joined[-1] = Unit((*last.files, *unit.files))
        else:
            joined.append(unit)
    return joined
