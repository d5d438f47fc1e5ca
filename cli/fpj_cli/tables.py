"""How tables look, and the words in their cells."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fpj_core import formatting
from fpj_core.model import Phase
from fpj_core.resource import JobResource

COLOURS = {
    Phase.COMPLETED.value: "green",
    Phase.COMPLETED_WITH_ERRORS.value: "yellow",
    Phase.FAILED.value: "red",
}
_GAP = 3
_MEASURED = 1_000


class Rows:
    """Text in columns, with the look of kubectl: no borders, upper-case heads, and nothing after the last word.

    What is too long for a terminal is wrapped by it; a pipe gets whole lines.
    """

    def __init__(self, *heads: str) -> None:
        self._rows: list[tuple[str, ...]] = [heads]

    def add(self, *cells: str) -> None:
        """A row; as many cells as heads."""
        self._rows.append(cells)

    def __str__(self) -> str:
        widths = [max(map(cell_len, column)) for column in zip(*self._rows, strict=True)]
        return "\n".join(_line(row, widths) for row in self._rows)


def stream(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Print a table of any length while its rows come; how many there were. Nothing is printed where there is none.

    The first thousand rows say how wide the columns are; later ones may stand out.
    """
    source = iter(rows)
    first = list(islice(source, _MEASURED))
    if not first:
        return 0
    widths = [max(map(cell_len, column)) for column in zip(heads, *first, strict=True)]
    number = 0
    for number, row in enumerate(chain([heads], first, source)):  # noqa: B007 - the last one is what is returned
        sys.stdout.write(_line(row, widths) + "\n")
    return number


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [set_cell_size(cell, max(width, cell_len(cell)) + _GAP) for cell, width in zip(row, widths, strict=True)]
    return "".join(cells).rstrip()


def fields(values: Mapping[str, str]) -> Text:
    """``Name:  value``, a line for each, aligned."""
    width = max(map(len, values)) + 3
    lines = [Text.assemble((f"{name}:".ljust(width), "bold"), value) for name, value in values.items()]
    return Text("\n").join(lines)


def percent(job: JobResource) -> str:
    """``73%``; ``-`` while nothing is listed."""
    return f"{job.progress['percent']}%" if job.progress["total"] else "-"


def rate(job: JobResource) -> str:
    """``41.3/s``; ``-`` while nothing is known."""
    return formatting.rate(job.progress["imagesPerSecond"])


def left(job: JobResource) -> str:
    """``2m10s``; ``-`` for a job at rest, or of which nothing is known."""
    return "-" if job.finished or job.phase == Phase.SUSPENDED else formatting.duration(job.progress["etaSeconds"])


def age(seconds: float | None) -> str:
    """How long ago; ``-`` for never."""
    if not seconds:
        return "-"
    past = max(time.time() - seconds, 0.0)
    return f"{past:.0f}s" if past < 10 else formatting.duration(past)


def errors(numbers: Mapping[str, int]) -> str:
    """``CorruptImage 2, TooLarge 1,200``."""
    return ", ".join(f"{name} {formatting.count(number)}" for name, number in sorted(numbers.items())) or "none"
