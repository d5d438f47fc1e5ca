"""The part of a FileProcessingJob's status that tells of progress,
as workers and the operator write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpj_core import formatting
from fpj_core.model import Counts, ShardState
from fpj_core.progress import Progress

NO_TIME = formatting.duration(None)
"""``status.display.eta`` of a job at rest."""

PROGRESS_FIELDS = ("progress", "display", "errorBreakdown", "shards", "lastProgressAt")
"""All that `status_document` may have: what a worker may write."""


def status_document(
    progress: Progress,
    counts: Counts,
    states: Mapping[ShardState, int],
    last_progress_at: float | None,
    *,
    at_rest: bool = False,
) -> dict[str, Any]:
    """The fields that tell of progress; ``counts`` are those of the whole job, its base included.

    What is unknown is left out: the resource's schema has no nulls. Its size does not depend on the
    job's. A job ``at_rest`` has no time at which it will be done, and no pod that works on a shard.
    """
    document: dict[str, Any] = {
        "progress": {
            name: value for name, value in progress.as_status().items() if value is not None
        },
        "display": _display(progress, at_rest=at_rest),
        "errorBreakdown": dict(sorted(counts.errors.items())),
        "shards": {
            "total": sum(states.values()),
            "active": 0 if at_rest else states.get(ShardState.RUNNING, 0),
            "succeeded": states.get(ShardState.SUCCEEDED, 0),
            "failed": states.get(ShardState.FAILED, 0),
        },
    }
    if last_progress_at is not None:
        document["lastProgressAt"] = formatting.moment(last_progress_at)
    return document


def _display(progress: Progress, *, at_rest: bool) -> dict[str, str]:
    """What `kubectl get` prints: ``73%``, ``730/1000``, ``41.3/s``, ``2m10s``."""
    done = progress.completed + progress.skipped + progress.failed
    return {
        "progress": f"{progress.percent}%" if progress.total else "-",
        "done": f"{done}/{progress.total}",
        "rate": formatting.rate(progress.images_per_second),
        "eta": NO_TIME if at_rest else formatting.duration(progress.eta_seconds),
    }
