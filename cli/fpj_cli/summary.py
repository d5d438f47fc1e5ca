"""What a run says when it has ended: to people on standard error, to programs as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from fpj_cli.context import say
from fpj_core import formatting
from fpj_core.model import Counts, Job, Phase, RemovalReason
from fpj_core.progress import Progress
from fpj_core.sources.filters import Reason, left_out_text
from fpj_core.sources.keys import display_key
from fpj_worker.removal import Removed

_REASONS = {
    RemovalReason.VANISHED: "of images that are gone",
    RemovalReason.UNREQUESTED: "of tiers no longer asked for",
    RemovalReason.SUPERSEDED: "replaced under another name",
    RemovalReason.PURGED: "purged",
    RemovalReason.EXPIRED: "expired",
    RemovalReason.OVER_COLLECTION_QUOTA: "above a collection's limit",
    RemovalReason.OVER_TIER_QUOTA: "above a tier's limit",
    RemovalReason.OVER_QUOTA: "to keep the folder's limit",
}
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
    removed: Removed

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
            "removed": removed_document(self.removed),
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
        self._tell_removed()
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

    def _tell_removed(self) -> None:
        if self.removed.files:
            say(f"  Removed {removed_text(self.removed)}")
        for path, why in self.removed.troubles.items():
            say(f"  [yellow]Not removed: {escape(display_key(path))}: {escape(why)}[/]")


def removed_document(removed: Removed) -> dict[str, Any]:
    """What programs get: `fpj_cli.documents.Removed`."""
    return {
        "files": removed.files,
        "bytes": removed.bytes,
        "byReason": {reason.value: files for reason, files in removed.by_reason.items()},
    }


def removed_text(removed: Removed) -> str:
    """How many files, their bytes, and why."""
    reasons = ", ".join(
        f"{formatting.count(files)} {_REASONS[reason]}"
        for reason, files in removed.by_reason.items()
    )
    return f"{formatting.count(removed.files)} files, {formatting.size(removed.bytes)}: {reasons}"
