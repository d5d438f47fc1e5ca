"""What `fpj watch` shows: bars that are redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fpj_cli.tables import COLOURS, errors, left, percent, rate
from fpj_core import formatting
from fpj_core.kube.jobresource import STALE, JobResource
from fpj_core.model import Phase

_PLAIN_SECONDS = 5.0
_MOST_WIDTH = 120
_PHASE, _LEAST_BAR = 10, 6


class Screen(Protocol):
    """Opened and closed around a watch."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def show(self, jobs: Sequence[JobResource]) -> None:
        """Show the active jobs."""

    def ended(self, job: JobResource) -> int:
        """This one has ended; the exit code that it means."""

    def gone(self, job: JobResource) -> int:
        """This one was deleted; the exit code that it means."""


def choose_screen(console: Console, title: Callable[[JobResource], str]) -> Screen:
    """Bars on a terminal, lines in a log. ``title`` says what a job is called."""
    return LiveScreen(console, title) if console.is_terminal else LineScreen(console, title)


def in_short(job: JobResource) -> str:
    """How a job stands, in a few words: ``980 made, 15 up to date, 5 failed in 2m10s``."""
    progress = job.progress
    if job.phase in (Phase.SUSPENDED, STALE):
        return f"{percent(job)} done" if progress["total"] else "not started"
    if job.finished:
        numbers = (
            f"{formatting.count(progress['completed'])} made,"
            f" {formatting.count(progress['skipped'])} up to date"
        )
        failed = f", {formatting.count(progress['failed'])} failed" if progress["failed"] else ""
        spent = job.finished_at - job.started_at if job.finished_at and job.started_at else None
        took = f" in {formatting.duration(spent)}" if spent else ""
        why = f": {job.why[1]}" if job.phase == Phase.FAILED and job.why[1] else ""
        return job.why[1] if why and not progress["total"] else f"{numbers}{failed}{took}{why}"
    if not progress["total"]:
        return job.why[1] or "no operator has picked it up yet"
    failed = f"  failed: {errors(job.errors)}" if job.errors else ""
    return f"{percent(job)}  {_done(job)}  {rate(job)}  {left(job)} left{failed}"


def shown_phase(job: JobResource) -> str:
    """Its phase; for a job that was just resumed, not the earlier one."""
    return "Resuming" if job.resuming and job.phase in COLOURS else job.phase


def _done(job: JobResource) -> str:
    return f"{formatting.count(job.done)}/{formatting.count(job.progress['total'])}"


def _code(job: JobResource) -> int:
    return 0 if job.phase == Phase.COMPLETED else 1


class LineScreen:
    """A line for a job when its phase changes, and every few seconds while it moves."""

    def __init__(self, console: Console, title: Callable[[JobResource], str]) -> None:
        self._console = console
        self._title = title
        self._said: dict[str, tuple[float, str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def show(self, jobs: Sequence[JobResource]) -> None:
        """Say how far they are, now and then."""
        for job in jobs:
            line, now = self._line(job), time.monotonic()
            at, phase, before = self._said.get(job.uid, (-_PLAIN_SECONDS, "", ""))
            if line != before and (phase != shown_phase(job) or now - at >= _PLAIN_SECONDS):
                self._said[job.uid] = (now, shown_phase(job), line)
                self._console.print(line, markup=False, soft_wrap=True)

    def ended(self, job: JobResource) -> int:
        """Say so."""
        self._console.print(self._line(job), markup=False, soft_wrap=True)
        return _code(job)

    def gone(self, job: JobResource) -> int:
        """Say so."""
        self._console.print(f"{self._title(job)}  deleted", markup=False, soft_wrap=True)
        return 1

    def _line(self, job: JobResource) -> str:
        return f"{self._title(job)}  {shown_phase(job)}  {in_short(job)}"


class LiveScreen:
    """A bar for each job; a line stays for each that has ended."""

    def __init__(self, console: Console, title: Callable[[JobResource], str]) -> None:
        self._console = console
        self._title = title
        self._spinner = Spinner("dots")
        self._jobs: Sequence[JobResource] = ()
        # Last: it asks for the first picture at once.
        self._live = Live(
            console=console, refresh_per_second=8, transient=True, get_renderable=self._render
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def show(self, jobs: Sequence[JobResource]) -> None:
        """Move their bars."""
        self._jobs = jobs

    def ended(self, job: JobResource) -> int:
        """Leave a line."""
        self._jobs = [each for each in self._jobs if each.uid != job.uid]
        phase = (job.phase, f"bold {COLOURS.get(job.phase, 'yellow')}")
        line = Text.assemble((self._title(job), "bold"), "  ", phase, "  ", in_short(job))
        self._console.print(line, soft_wrap=True)
        return _code(job)

    def gone(self, job: JobResource) -> int:
        """Leave a line."""
        self._jobs = [each for each in self._jobs if each.uid != job.uid]
        self._console.print(Text.assemble((self._title(job), "bold"), "  deleted"))
        return 1

    def _render(self) -> RenderableType:
        if not self._jobs:
            return Text("")
        width = min(self._console.width, _MOST_WIDTH)
        most = max((self._console.height - 2) // 2, 1)
        lines: list[RenderableType] = []
        names = min(max(len(self._title(job)) for job in self._jobs[:most]), max(width // 4, 12))
        numbers = {job.uid: _numbers(job) for job in self._jobs[:most]}
        longest = max(map(len, numbers.values()))
        # So that the bars have one length.
        numbers = {uid: text.ljust(longest) for uid, text in numbers.items()}
        for job in self._jobs[:most]:
            lines.append(self._bar(job, numbers[job.uid], names, width))
            if note := _note(job):
                note.truncate(width, overflow="ellipsis")
                lines.append(note)
        if len(self._jobs) > most:
            lines.append(Text(f"  … and {len(self._jobs) - most} more", style="dim"))
        return Group(*lines)

    def _bar(self, job: JobResource, numbers: str, names: int, width: int) -> Table:
        row = Table.grid(padding=(0, 1))
        row.width = width
        row.add_column(width=1)
        row.add_column(width=names, no_wrap=True, overflow="ellipsis")
        cells: list[RenderableType] = [self._spinner if job.phase != Phase.SUSPENDED else Text("-")]
        cells.append(Text(self._title(job), style="bold"))
        # The figures come first, then the phase, then the bar.
        rest = width - 3 - names - len(numbers)
        if rest > _PHASE:
            row.add_column(width=_PHASE, no_wrap=True, overflow="ellipsis")
            cells.append(Text(shown_phase(job)))
            rest -= _PHASE + 1
        total = job.progress["total"]
        if rest > _LEAST_BAR:
            row.add_column(ratio=1)
            cells.append(ProgressBar(total=total, completed=job.done) if total else Text(""))
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(*cells, Text(numbers))
        return row


def _numbers(job: JobResource) -> str:
    return (
        f"{percent(job):>4} {_done(job)} {rate(job)} {left(job)} left"
        if job.progress["total"]
        else ""
    )


def _note(job: JobResource) -> Text | None:
    """What a bar cannot say: why nothing moves, and what failed."""
    if job.errors:
        return Text(f"  failed: {errors(job.errors)}", style="red")
    if not job.seen:
        return Text("  no operator has picked it up yet", style="dim")
    if job.phase not in (Phase.RUNNING, Phase.INDEXING) or _is_stuck(job):
        return Text(f"  {job.why[1]}", style="dim") if job.why[1] else None
    return None


def _is_stuck(job: JobResource) -> bool:
    return any(
        each["type"] == "Progressing" and each.get("status") == "False" for each in job.conditions
    )
