"""How tables look, and the words in their cells."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from fpj_cli.context import err, out, print_text
from fpj_core import formatting
from fpj_core.kube.jobresource import JobResource
from fpj_core.model import Phase

COLOURS = {
    Phase.COMPLETED.value: "green",
    Phase.COMPLETED_WITH_ERRORS.value: "yellow",
    Phase.FAILED.value: "red",
}
_GAP, _NARROW_GAP = 3, 2
_MEASURED = 1_000
_LEAST_LAST = 24
"""Columns that are worth wrapping a text in."""
_INDENT = "  "
_PIECE = re.compile(r"[^\s/]*(?:/|\s+|$)")
"""A word with what follows it: spaces, or the slash that parts it from the next."""


class Rows:
    """Text in columns, with the look of kubectl: no borders, upper-case heads,
    and nothing after the last word.

    A pipe gets whole lines. On a terminal that is too narrow for them, the last column is wrapped
    between words; where that is not enough, a row becomes a paragraph in which every value follows
    its head.
    """

    def __init__(self, *heads: str) -> None:
        self._rows: list[tuple[str, ...]] = [heads]

    def add(self, *cells: str) -> None:
        """A row; as many cells as heads."""
        self._rows.append(cells)

    @override
    def __str__(self) -> str:
        return self.fitted(None)

    def fitted(self, width: int | None) -> str:
        """The table in lines of at most ``width`` columns; None for whole lines."""
        return "\n".join(_fitted(self._rows[0], self._rows[1:], self._rows, width))


def print_rows(shown: Rows, console: Console = out) -> None:
    """A table on the standard output, or standard error: as wide as the terminal, if it is one."""
    print_text(shown.fitted(terminal_width(console)), console)


def terminal_width(console: Console = out) -> int | None:
    """Columns of the terminal that is written to; None where it is none."""
    stream = sys.stderr if console is err else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def stream(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Print a table of any length while its rows come; how many there were.

    Nothing is printed where there is none.

    The first thousand rows say how wide the columns are; later ones may stand out.
    """
    source = iter(rows)
    first = list(islice(source, _MEASURED))
    if not first:
        return 0
    number = 0

    def counted() -> Iterator[Sequence[str]]:
        nonlocal number
        for row in chain(first, source):
            number += 1
            yield row

    for line in _fitted(heads, counted(), [heads, *first], terminal_width()):
        sys.stdout.write(line + "\n")
    return number


def _fitted(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    measured: Sequence[Sequence[str]],
    width: int | None,
) -> Iterator[str]:
    """The lines of a table; ``measured`` are the rows that say how wide its columns are."""
    widths = [max(map(cell_len, column)) for column in zip(*measured, strict=True)]
    gap = _GAP if width is None or sum(widths) + _GAP * (len(widths) - 1) <= width else _NARROW_GAP
    before = sum(widths[:-1]) + gap * (len(widths) - 1)
    if width is None or before + widths[-1] <= width:
        yield from (_line(row, widths, gap) for row in chain([heads], rows))
    elif width - before >= max(
        _LEAST_LAST, *(cell_len(line) for row in measured for line in _wrapped(row[-1], 1))
    ):
        for row in chain([heads], rows):
            last, *more = _wrapped(row[-1], width - before)
            yield _line([*row[:-1], last], widths, gap)
            yield from (" " * before + each for each in more)
    else:
        for row in rows:
            yield from _paragraph(heads, row, width)


def _paragraph(heads: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """The first value, and below it the others with their heads, as many to a line as fit."""
    if row[0]:
        yield from _wrapped(row[0], width)
    line = ""
    for head, value in zip(heads[1:], row[1:], strict=True):
        if not value:
            continue
        cell = f"{head}: {value}"
        if line and len(_INDENT) + cell_len(line) + 2 + cell_len(cell) > width:
            yield _INDENT + line
            line = ""
        line = f"{line}  {cell}" if line else cell
        if len(_INDENT) + cell_len(line) > width:
            *full, line = _wrapped(line, width - len(_INDENT))
            yield from (_INDENT + each for each in full)
    if line:
        yield _INDENT + line


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; a path is parted after a slash.

    A single word that is too long stays whole.
    """
    lines = [""]
    for piece in filter(None, _PIECE.findall(text)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _line(row: Sequence[str], widths: Sequence[int], gap: int) -> str:
    cells = [
        set_cell_size(cell, max(width, cell_len(cell)) + gap)
        for cell, width in zip(row, widths, strict=True)
    ]
    return "".join(cells).rstrip()


def fields(values: Mapping[str, str], width: int | None = None) -> Text:
    """``Name:  value``, a line for each, aligned.

    With a width, long values are wrapped below themselves.
    """
    indent = max(map(len, values)) + 3
    lines = []
    for name, value in values.items():
        parts = [value] if width is None else _wrapped(value, max(width - indent, _LEAST_LAST))
        lines.append(
            Text.assemble((f"{name}:".ljust(indent), "bold"), f"\n{' ' * indent}".join(parts))
        )
    return Text("\n").join(lines)


def percent(job: JobResource) -> str:
    """``73%``; ``-`` while nothing is listed."""
    return f"{job.progress['percent']}%" if job.progress["total"] else "-"


def rate(job: JobResource) -> str:
    """``41.3/s``; ``-`` while nothing is known."""
    return formatting.rate(job.progress["imagesPerSecond"])


def left(job: JobResource) -> str:
    """``2m10s``; ``-`` for a job at rest, or of which nothing is known."""
    return (
        "-"
        if job.finished or job.phase == Phase.SUSPENDED
        else formatting.duration(job.progress["etaSeconds"])
    )


def age(seconds: float | None) -> str:
    """How long ago; ``-`` for never."""
    if not seconds:
        return "-"
    past = max(time.time() - seconds, 0.0)
    return f"{past:.0f}s" if past < 10 else formatting.duration(past)


def errors(numbers: Mapping[str, int]) -> str:
    """``CorruptImage 2, TooLarge 1,200``."""
    return (
        ", ".join(f"{name} {formatting.count(number)}" for name, number in sorted(numbers.items()))
        or "none"
    )
