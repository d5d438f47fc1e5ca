"""What a person sees while a job runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from fpj_core import formatting
from fpj_core.progress import Progress
from fpj_core.sources.keys import display_key

STAGES = {
    "Index": "Listing images",
    "Check": "Checking what is there already",
    "Plan": "Planning",
    "Process": "Making images",
    "Finish": "Finishing",
}
_PLAIN_SECONDS = 5.0
_WAIT_SECONDS = 60.0
_LEAST_BAR, _MOST_BAR = 6, 32


class Display(Protocol):
    """An observer of a run that is opened and closed around it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def stage(self, name: str) -> None:
        """See `fpj_worker.local.Observer`."""

    def listed(self, images: int) -> None:
        """See `fpj_worker.local.Observer`."""

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """See `fpj_worker.local.Observer`."""

    def waiting(self, why: str, left: float) -> None:
        """See `fpj_worker.local.Observer`."""


def choose_display(console: Console, *, quiet: bool) -> Display:
    """The live display on a terminal, lines in a log, nothing when asked for quiet."""
    if quiet:
        return QuietDisplay()
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class QuietDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def stage(self, name: str) -> None:
        """Show nothing."""

    def listed(self, images: int) -> None:
        """Show nothing."""

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """Show nothing."""

    def waiting(self, why: str, left: float) -> None:
        """Show nothing."""


class PlainDisplay(QuietDisplay):
    """A line per stage, and one every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._why = ""

    @override
    def stage(self, name: str) -> None:
        """Name the stage."""
        self._why = ""
        self._console.print(f"{STAGES[name]} …", highlight=False)

    @override
    def listed(self, images: int) -> None:
        """Say how many images are listed, now and then."""
        if self._due():
            self._console.print(f"  {formatting.count(images)} images listed", highlight=False)

    @override
    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """Say how far the job is, now and then."""
        if self._due():
            self._console.print(
                f"  {_line(progress)}{_errors(errors)}", highlight=False, soft_wrap=True
            )

    @override
    def waiting(self, why: str, left: float) -> None:
        """Say what is waited for: at once, when that changes, and now and then."""
        if why != self._why or time.monotonic() - self._last >= _WAIT_SECONDS:
            self._why, self._last = why, time.monotonic()
            self._console.print(
                f"  {_waiting(why, left)}", markup=False, highlight=False, soft_wrap=True
            )

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _PLAIN_SECONDS:
            return False
        self._last = now
        return True


class LiveDisplay:
    """Stage, bar, rate, time left and failures by type, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._spinner = Spinner("dots")
        self._stage = "Index"
        self._listed = 0
        self._progress: Progress | None = None
        self._errors: Mapping[str, int] = {}
        self._waits = ""
        # Last: it asks for the first picture at once.
        self._live = Live(
            console=console, refresh_per_second=8, transient=True, get_renderable=self._render
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def stage(self, name: str) -> None:
        """Show the stage."""
        self._stage = name
        self._waits = ""

    def listed(self, images: int) -> None:
        """Show how many images are listed."""
        self._listed = images
        self._waits = ""

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """Move the bar."""
        self._progress = progress
        self._errors = errors

    def waiting(self, why: str, left: float) -> None:
        """Show what is waited for."""
        self._waits = _waiting(why, left)

    def _render(self) -> RenderableType:
        head = Table.grid(padding=(0, 1))
        if self._waits:
            head.add_row(self._spinner, Text(self._waits, style="yellow"))
            return head
        progress = self._progress
        if self._stage != "Process" or progress is None:
            note = f"{formatting.count(self._listed)} images" if self._listed else ""
            head.add_row(
                self._spinner, Text(STAGES[self._stage], style="bold"), Text(note, style="dim")
            )
            return head
        line = _line(progress)
        title, width = _shares(self._live.console.width, len(STAGES[self._stage]), len(line))
        done = progress.completed + progress.skipped + progress.failed
        cells: list[RenderableType] = [self._spinner]
        cells += [Text(STAGES[self._stage], style="bold")] if title else []
        cells += (
            [ProgressBar(total=max(progress.total, 1), completed=done, width=width)]
            if width
            else []
        )
        head.add_row(*cells, Text(line, no_wrap=True, overflow="ellipsis"))
        if not self._errors:
            return head
        return Group(head, Text(f"  failed:{_errors(self._errors)}", style="red"))


def _shares(width: int, title: int, line: int) -> tuple[bool, int]:
    """Whether the title fits beside the figures, and how wide the bar may be:
    the figures come first.
    """
    left = width - 2 - line
    bar = left - title - 2
    if bar >= _LEAST_BAR:
        return True, min(bar, _MOST_BAR)
    return False, left - 1 if left - 1 >= _LEAST_BAR else 0


def _line(progress: Progress) -> str:
    done = progress.completed + progress.skipped + progress.failed
    return (
        f"{progress.percent}%  {formatting.count(done)}/{formatting.count(progress.total)} "
        f" {formatting.rate(progress.images_per_second)} "
        f" {formatting.duration(progress.eta_seconds)} left"
    )


def _waiting(why: str, left: float) -> str:
    return f"Waiting, {formatting.duration(left)} more at most: {display_key(why)}"


def _errors(errors: Mapping[str, int]) -> str:
    return "".join(f"  {name} {formatting.count(count)}" for name, count in sorted(errors.items()))
