"""What jobs do, added to Prometheus' counters as it happens, and logged.

The store's counts of a job are exact, but they are the job's; a counter wants what is new. What was
counted before is remembered, for a job that this operator has not seen yet from its status: an
operator that takes over neither adds a whole job again nor waits for its end. What moved between
the old one's last look and the latest status is lost to the counters, some seconds of work; never
to the status or the store.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fpj_core.formatting import seconds_of
from fpj_core.model import Counts, Phase
from fpj_operator import metrics
from fpj_operator.conditionlist import condition
from fpj_operator.jobs.conditions import last_progress
from fpj_operator.jobs.state import DeleteChildren, Observed, Plan
from fpj_operator.jobs.traces import Traces

log = logging.getLogger("fpj.jobs")


class Tally:
    """Sees each reconciliation of a job after it was acted upon.

    With ``traces``, each job that ends is sent there.
    """

    def __init__(self, traces: Traces | None = None) -> None:
        self._traces = traces
        self._counted: dict[str, Counts] = {}
        """By uid, of jobs that have not ended."""
        self._pending: dict[str, int] = {}
        """Images left, of active jobs."""
        self._disturbed: dict[str, float] = {}
        """By uid, when the attempt was ended that a job is recovering from.

        Only those that this operator ended.
        """
        # Added up when somebody asks, in another thread: once for each look would be too much with
        # thousands of jobs.
        metrics.IMAGES_PENDING.set_function(lambda: sum(list(self._pending.values())))

    def take(self, observed: Observed, plan: Plan) -> None:
        """Count what a look found and what came of it."""
        phase = Phase(plan.status["phase"]) if plan.status else observed.phase
        self._count_images(observed, phase)
        _count_events(observed, plan, phase)
        self._measure(observed, plan, phase)
        if plan.status and phase is not observed.phase:
            log.info(
                "phase changed",
                extra={"phase": phase.value, "before": observed.phase.value} | _said(plan.status),
            )
            if phase.finished and self._traces is not None:
                self._traces.send(observed, plan.status)

    def forget(self, uid: str) -> None:
        """The job is gone, or at an end."""
        self._counted.pop(uid, None)
        self._pending.pop(uid, None)
        self._disturbed.pop(uid, None)

    def _measure(self, observed: Observed, plan: Plan, phase: Phase) -> None:
        """Seconds that people wait for what they see, and for a job that was disturbed."""
        if observed.phase is Phase.RUNNING:
            _measure_delay(observed)
        if _ends_attempt(plan, phase):
            self._disturbed[observed.uid] = observed.now
            if _said(plan.status or {}).get("reason") == "StaleJob":
                metrics.STALE_DETECTION.observe(max(0.0, observed.now - last_progress(observed)))
        elif phase is Phase.RUNNING and observed.uid in self._disturbed:
            metrics.RECOVERY.observe(max(0.0, observed.now - self._disturbed.pop(observed.uid)))
        elif phase.finished:
            self._disturbed.pop(observed.uid, None)

    def _count_images(self, observed: Observed, phase: Phase) -> None:
        uid, store = observed.uid, observed.store
        before = self._counted.setdefault(uid, counts_in(observed.status))
        if store.progress is not None:  # between two plans the counts are of neither
            metrics.count_images(since(store.counts, before))
            self._counted[uid] = store.counts
            self._pending[uid] = (
                max(store.progress.total - store.counts.done, 0) if phase.active else 0
            )
        if phase.finished:
            self._counted.pop(uid)
            self._pending.pop(uid, None)


def counts_in(status: Mapping[str, Any]) -> Counts:
    """What a resource's status says was done."""
    progress = status.get("progress") or {}
    return Counts(
        progress.get("completed", 0),
        progress.get("skipped", 0),
        progress.get("failed", 0),
        progress.get("bytesWritten", 0),
        errors=status.get("errorBreakdown") or {},
    )


def since(counts: Counts, before: Counts) -> Counts:
    """What is new. Less than before, as when failed images are tried again, is nothing new."""
    errors = {
        name: max(number - before.errors.get(name, 0), 0) for name, number in counts.errors.items()
    }
    return Counts(
        max(counts.completed - before.completed, 0),
        max(counts.skipped - before.skipped, 0),
        max(counts.failed - before.failed, 0),
        max(counts.bytes_written - before.bytes_written, 0),
        errors=errors,
    )


def _count_events(observed: Observed, plan: Plan, phase: Phase) -> None:
    if phase.finished and not observed.phase.finished:
        metrics.ENDED.labels(phase.value).inc()
    if _ends_attempt(plan, phase):
        metrics.RECOVERED.labels(_said(plan.status or {}).get("reason", "")).inc()
    if _waits_for_lock(plan.status) and not _waits_for_lock(observed.status):
        metrics.LOCK_WAITS.inc()


def _ends_attempt(plan: Plan, phase: Phase) -> bool:
    """Whether a plan ends an attempt to begin another."""
    return phase is Phase.RECOVERING and any(
        isinstance(step, DeleteChildren) for step in plan.steps_first
    )


def _measure_delay(observed: Observed) -> None:
    """How much later the store's last progress is than the one in the status, once that has any."""
    reported = seconds_of(observed.status.get("lastProgressAt"))
    if reported and observed.store.record and observed.store.progress is not None:
        metrics.STATUS_DELAY.observe(
            max(0.0, (observed.store.record.last_progress_at or reported) - reported)
        )


def _said(status: Mapping[str, Any]) -> dict[str, str]:
    """Reason and message of the job as a whole."""
    found = condition(status, "Ready")
    return {"reason": found.get("reason", ""), "said": found.get("message", "")}


def _waits_for_lock(status: Mapping[str, Any] | None) -> bool:
    return _said(status or {}).get("reason") == "CollectionLocked"
