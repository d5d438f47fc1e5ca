"""What a run says when it has ended: to people on standard error, to programs as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from fpj_cli.context import say
from fpj_core import formatting
from fpj_core.model import Counts, Job, Phase
from fpj_core.progress import Progress
from fpj_core.sources.filters import Reason, left_out_text
from fpj_core.sources.keys import display_key

_COLOURS = {Phase.COMPLETED: "green", Phase.COMPLETED_WITH_ERRORS: "yellow"}


@dataclass(frozen=True, slots=True)
class Done:
    """A run that has ended.

    ``progress`` and ``counts`` are the job's, over all its runs; ``mine`` are this run's.
    """

    code: int
    job: Job
    progress: Progress
    counts: Counts
    mine: Counts
    seconds: float

    def document(self, location: str) -> dict[str, Any]:
        """What programs get: `fpj_cli.documents.Run`. ``location`` is the cache folder's."""
        mine = self.mine
        return {
            "jobId": self.job.id,
            "name": self.job.name,
            "collection": self.job.collection,
            "cacheFolder": location,
            "phase": self.job.phase.value,
            "reason": self.job.reason,
            "message": self.job.message,
            "progress": self.progress.as_status(),
            "thisRun": {
                "completed": mine.completed,
                "skipped": mine.skipped,
                "failed": mine.failed,
                "bytesWritten": mine.bytes_written,
            },
            "errorBreakdown": dict(self.counts.errors),
            "leftOut": dict(self.job.left_out),
            "durationSeconds": round(self.seconds, 3),
            "exitCode": int(self.code),
        }

    def tell(self, location: str) -> None:
        """The summary: of this run, for that is what one has waited for."""
        mine = self.mine
        numbers = [
            f"{formatting.count(mine.completed)} made",
            f"{formatting.count(mine.skipped)} up to date",
        ]
        if mine.failed:
            numbers.append(f"[red]{formatting.count(mine.failed)} failed[/]")
        if left := self.progress.total - self.counts.done:
            numbers.append(f"{formatting.count(left)} left")
        colour = _COLOURS.get(self.job.phase, "red")
        say(
            f"[bold {colour}]{self.job.phase.value}[/]  {', '.join(numbers)} in"
            f" {formatting.duration(self.seconds)}"
        )
        if mine.completed:
            rate = formatting.rate(mine.completed / self.seconds)
            say(
                f"  {formatting.size(mine.bytes_written)} written to"
                f" {escape(display_key(location))}, {rate}"
            )
        if self.job.left_out:
            say(f"  Left out: {left_out_text(self.job.left_out)}")
        if not self.progress.total and self.job.left_out.get(Reason.EXCLUDED):
            say("  [yellow]The filter leaves out every image that the source has.[/]")
        if self.job.message:
            say(f"  {escape(self.job.message)}")
        for name, count in sorted(self.counts.errors.items()):
            say(f"  {name}: {formatting.count(count)}")
        if self.counts.errors:
            say("  See each one with: [bold]fpj failures[/]")
        if self.job.phase is Phase.SUSPENDED:
            say("  Run the same command again to continue.")
