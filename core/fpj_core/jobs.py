"""A job's record in the store, where the operator, the index pod and the reporting workers meet."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fpj_core.errors import ConcurrencyError, FencedError, UnrecordedJobError
from fpj_core.model import Counts, Job, Phase, ShardState
from fpj_core.progress import Progress, measure
from fpj_core.store.protocol import Store

_ATTEMPTS = 10
_PAUSE_SECONDS = 0.05
_STOPPED = frozenset({Phase.FAILED, Phase.CANCELLED, Phase.SUSPENDED, Phase.RECOVERING})


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it stands. ``counts`` are those of the whole job, its base included."""

    job: Job
    counts: Counts
    states: Mapping[ShardState, int]
    progress: Progress


def recorded_job(store: Store, job_id: str) -> Job:
    """The job's record. Raises `UnrecordedJobError` if there is none."""
    job = store.get_job(job_id)
    if job is None:
        raise UnrecordedJobError(f"job {job_id} is not recorded")
    return job


def refuse_stopped(job: Job) -> None:
    """Raise `FencedError` if no work on the job may start:
    its collection may be locked by another job by now.

    Whoever stops a job notes it here before taking the shards away, and whoever claims one looks
    here afterwards: so a pod that wakes up late finds out, whichever came first.
    """
    if job.phase in _STOPPED:
        raise FencedError(f"job {job.id} is {job.phase.value}")


def change_job(store: Store, job_id: str, change: Callable[[Job], Job]) -> Job:
    """Read, change, write; again if someone else wrote in between, which ``change`` must allow for.

    What ``change`` raises ends it. A ``change`` that returns the job as it is writes nothing.
    Raises `ConcurrencyError` after ten attempts, `StoreError` if there is no such job.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        job = recorded_job(store, job_id)
        changed = change(job)
        if changed == job:
            return job
        try:
            return store.update_job(changed)
        except ConcurrencyError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - jitter, not a secret
    raise AssertionError("unreachable")


def observe(store: Store, job_id: str, attempt: int, now: float) -> JobView | None:
    """Sum the shards of ``attempt``, and note in the record if images have been done since it was
    last looked at.

    None if another attempt has started: its base and these counts would not add up.
    """
    # Else its shards may be written after they were summed.
    if not _is_planned(recorded_job(store, job_id), attempt):
        return None
    shard_counts, states = store.job_counts(job_id, attempt)
    job = recorded_job(store, job_id)
    if not _is_planned(job, attempt):
        return None
    counts = job.base + shard_counts
    if counts.done != job.last_progress_done:
        job = change_job(
            store,
            job_id,
            lambda found: replace(found, last_progress_at=now, last_progress_done=counts.done),
        )
    return JobView(job, counts, states, measure(job, shard_counts))


def _is_planned(job: Job, attempt: int) -> bool:
    """Whether the shards are those of ``attempt``."""
    return (job.planning_attempt, job.planned_attempt) == (attempt, attempt)
