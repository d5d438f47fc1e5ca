"""What should happen to a purge now: from what is observed to a plan.

Pure, and safe to ask again at any time.

A purge is a Job of one pod, named after it. The pod takes the collection's lock; one that finds it
taken removes nothing and says so, and its Job is deleted and made again once the lock is free. A
Job that is gone before anybody saw how it ended is made again, too: it finds done what the first
one did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpj_core import formatting
from fpj_core.formatting import moment, seconds_of
from fpj_core.kube.purgereport import MOST_RECEIPT, PurgeReport
from fpj_core.v1alpha1 import CachePurgeSpec, PurgePhase
from fpj_operator.conditionlist import condition_list
from fpj_operator.emit import Emit
from fpj_operator.folders.state import JobState
from fpj_operator.purges.job import purge_job
from fpj_operator.purges.state import PurgePlan, PurgeView
from fpj_operator.settings import OperatorSettings

COMPLETE, FAILED, RECONCILING, STALLED = "Complete", "Failed", "Reconciling", "Stalled"
WAIT_SECONDS = 5.0
"""Until the next look at a lock that is taken, or at a store that is away."""
_MOST_MESSAGE = 1_024
_LONGEST_SECONDS = 3_600.0


def decide(view: PurgeView, settings: OperatorSettings) -> PurgePlan:
    """Raises nothing: what is wrong with a purge becomes part of its status."""
    if view.deleting:
        return PurgePlan()
    if view.phase.finished:
        return _after_the_end(view)
    if view.spec is None:
        return _fail(view, ("InvalidSpec", view.problem))
    if view.job.state is JobState.MISSING:
        return _begin(view, view.spec, settings)
    return _of_job(view, settings)


def _of_job(view: PurgeView, settings: OperatorSettings) -> PurgePlan:
    job = view.job
    if job.state is JobState.COMPLETE:
        return _ended(view, job.report)
    if job.state is JobState.FAILED:
        return _fail(view, job.trouble or ("RunLost", "the Job failed, and nothing says why"))
    words = job.trouble or ("Purging", "a pod removes the files")
    return _goes_on(view, PurgePhase.RUNNING, words, settings.check_seconds)


def _begin(view: PurgeView, spec: CachePurgeSpec, settings: OperatorSettings) -> PurgePlan:
    if view.folder_problem is not None:
        return _fail(view, view.folder_problem)
    if view.store_error or view.folder is None:
        text = view.store_error or "the store does not answer"
        return _goes_on(view, PurgePhase.PENDING, ("StoreUnavailable", text), WAIT_SECONDS)
    if not view.collection:
        text = f"the store knows no collection {spec.collection!r} of this namespace"
        return _fail(view, ("UnknownCollection", text))
    if view.holder:
        text = f"{view.holder} works on {view.collection}: the purge starts when it has ended"
        return _goes_on(view, PurgePhase.PENDING, ("CollectionLocked", text), WAIT_SECONDS)
    words = "Purging", "a pod is started"
    plan = _goes_on(view, PurgePhase.RUNNING, words, settings.check_seconds)
    images = None if spec.all else (spec.images or [])
    return PurgePlan(
        status=plan.status,
        job=purge_job(view, view.folder, images, settings),
        requeue_after=plan.requeue_after,
    )


def _ended(view: PurgeView, report: PurgeReport | None) -> PurgePlan:
    if report is None:
        text = "the pod ended, and nothing says what it has removed"
        return _fail(view, ("RunLost", text))
    if report.drift is not None:
        return _fail(view, report.drift)
    if report.held:
        text = "another job works on the collection: the purge starts when that has ended"
        plan = _goes_on(view, PurgePhase.PENDING, ("CollectionLocked", text), WAIT_SECONDS)
        return PurgePlan(
            status=plan.status, drop_job=view.job.uid, requeue_after=plan.requeue_after
        )
    return _complete(view, report)


def _complete(view: PurgeView, report: PurgeReport) -> PurgePlan:
    message = _words(view, report)
    status = _status(view, PurgePhase.COMPLETED, ("Purged", message)) | _removed(view, report)
    events = [Emit("Purged", message, unique="1")]
    if report.notified is not None and report.notified.failed:
        count = formatting.count(report.notified.failed)
        text = f"{count} URLs were not accepted: {report.notified.message}"
        events.append(Emit("WebhookFailed", text, warning=True, unique="1"))
    return _end(view, status, events)


def _fail(view: PurgeView, words: tuple[str, str]) -> PurgePlan:
    events = [Emit("PurgeFailed", ": ".join(words), warning=True, unique="1")]
    return _end(view, _status(view, PurgePhase.FAILED, words), events)


def _end(view: PurgeView, status: Mapping[str, Any], events: list[Emit]) -> PurgePlan:
    ended = {"completionTime": moment(view.job.ended_at or view.now)}
    return PurgePlan(
        status={**status, **ended}, events=tuple(events), ended=True, requeue_after=1.0
    )


def _after_the_end(view: PurgeView) -> PurgePlan:
    ttl = CachePurgeSpec.default_of("ttl_seconds_after_finished")
    if view.spec is not None:
        ttl = view.spec.meant("ttl_seconds_after_finished")
    left = seconds_of(view.status.get("completionTime")) + ttl - view.now
    if left <= 0:
        return PurgePlan(delete=True)
    return PurgePlan(requeue_after=min(left, _LONGEST_SECONDS))


def _goes_on(view: PurgeView, phase: PurgePhase, words: tuple[str, str], again: float) -> PurgePlan:
    return PurgePlan(status=_status(view, phase, words), requeue_after=again)


# Words --------------------------------------------------------------------------------------------


def _status(view: PurgeView, phase: PurgePhase, words: tuple[str, str]) -> dict[str, Any]:
    done, failed = phase is PurgePhase.COMPLETED, phase is PurgePhase.FAILED
    wanted = (
        (COMPLETE, done, words),
        (FAILED, failed, words),
        (RECONCILING, not phase.finished, words),
        (STALLED, failed, words),
    )
    kept = {"receiptTruncated": True} if view.interrupted else {}
    return kept | {
        "phase": phase.value,
        "message": words[1][:_MOST_MESSAGE],
        "observedGeneration": view.generation,
        "startTime": view.status.get("startTime") or moment(view.now),
        "conditions": condition_list(view.status, wanted, view.generation, view.now),
    }


def _removed(view: PurgeView, report: PurgeReport) -> dict[str, Any]:
    receipt = [
        {"source": each.source, "tier": each.tier, "path": each.path, "bytes": each.bytes}
        for each in report.receipt[:MOST_RECEIPT]
    ]
    found: dict[str, Any] = {
        "removed": {"files": report.files, "bytes": report.bytes},
        "receipt": receipt,
        "receiptTruncated": report.truncated or view.interrupted,
    }
    if report.notified is not None:
        said = report.notified
        words = {"message": said.message} if said.message else {}
        found["notified"] = {"urls": said.urls, "failed": said.failed} | words
    return found


def _words(view: PurgeView, report: PurgeReport) -> str:
    said = f"removed {formatting.count(report.files)} files, {formatting.size(report.bytes)}"
    if not report.files and not view.interrupted:
        said = "nothing was made of what it names: removed 0 files"
    if report.unknown:
        more = report.unknown - len(report.some_unknown)
        rest = f" and {formatting.count(more)} more" if more else ""
        said += f"; not known: {', '.join(report.some_unknown)}{rest}"
    if view.interrupted:
        said += "; an earlier pod, which ended early, may have removed more: its log says what"
    return said
