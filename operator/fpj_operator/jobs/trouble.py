"""Why the pods of a child Job do not work, or did not: in one word and one sentence. Pure.

A pod that works ends the question: what befell others before, the Job controller has made up for.
If none does, those that wait have the word, and only where there is none of them those that ended.
Evicted, deleted and fenced pods never have it, for another one takes their place; but for those
that were evicted for what they wrote, as others would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fpj_core.formatting import seconds_of
from fpj_core.kube.documents import Document
from fpj_core.kube.exits import ExitCode, Reason, parse_termination_message
from fpj_operator.jobs.reasons import REPORTED, WAITING

WORKER = "worker"
"""The container that is ours."""

_SCHEDULER_SECONDS = 15.0
"""How long a scheduler may take to say anything about a pod."""
_START_SECONDS = 10.0
"""Events are read for a pod that has not started this long after it was scheduled."""
_SILENT_SECONDS = 30.0
"""How long it may take to start without an event that explains it:
most images are pulled by then.
"""
_SIDECAR_SECONDS = 15.0
"""How long other containers may take to end once the worker has."""
_REFUSED_SECONDS = 360.0
"""The Job controller tries again each minute, and reports a refusal at least every five minutes."""
_OVER_LIMIT = re.compile(r"\bexceed")
"""What the kubelet says of a pod whose volumes, log or file system outgrew a limit:
three sentences have it.
"""
_MOST = 300


@dataclass(frozen=True, slots=True)
class Trouble:
    """A reason and a sentence.

    ``since`` is when that was found, as when a pod ended; 0 for what holds now.
    """

    reason: str
    message: str
    since: float = 0.0
    permanent: bool = False
    """Whether it is of a pod whose exit code ended the Job, or its index, at once."""

    @property
    def words(self) -> tuple[str, str]:
        """(reason, message)."""
        return self.reason, self.message


@dataclass(frozen=True, slots=True)
class Findings:
    """What the pods of a child Job show."""

    stops: Trouble | None = None
    """Why none of them works, or why the Job failed."""
    delays: Trouble | None = None
    """Why some of them do not, while others work."""


# Pods that have not ended -------------------------------------------------------------------------


def works(pod: Document) -> bool:
    """Whether its worker runs, and is to go on."""
    worker = _worker(pod)
    return (
        worker is not None
        and "running" in worker.get("state", {})
        and not _is_deleted(pod)
        and not _is_lost(pod)
    )


def of_waiting(pods: Sequence[Document], now: float) -> Trouble | None:
    """What pods that have not ended wait for, as far as they say so themselves.

    The newest pod first.
    """
    for pod in _newest_first(pods):
        if not _is_deleted(pod) and (found := _of_waiting(pod, now)):
            return found
    lost = [pod["spec"].get("nodeName", "") for pod in pods if _is_lost(pod)]
    if not lost:
        return None
    return Trouble(
        "NodeUnreachable", f"node {min(lost)}, which ran pods of the job, does not respond"
    )


def slow_start(pods: Iterable[Document], now: float) -> Document | None:
    """The oldest pod that should have started by now and does not say why it has not:
    its events may.
    """
    late = [
        pod
        for pod in pods
        if not _is_deleted(pod)
        and _is_scheduled(pod)
        and not _has_started(pod)
        and now - _scheduled_at(pod) > _START_SECONDS
    ]
    return min(late, key=_scheduled_at, default=None)


def of_events(pod: Document, events: Iterable[Document], now: float) -> Trouble | None:
    """What the events of a pod that has not started say: its newest warning that is known,
    or its last event.
    """
    newest_first = sorted(events, key=_time_of, reverse=True)
    for event in newest_first:
        if event.get("type") == "Warning" and event.get("reason") in REPORTED:
            return Trouble(REPORTED[event["reason"]], _cut(str(event.get("message", ""))))
    if now - _scheduled_at(pod) <= _SILENT_SECONDS:
        return None
    newest = next(iter(newest_first), None)
    last = f"; the last event: {newest.get('reason')}: {newest.get('message')}" if newest else ""
    node = pod["spec"].get("nodeName", "its node")
    return Trouble(
        "PodsNotStarted", _cut(f"pod {pod['metadata']['name']} has not started on {node}{last}")
    )


def _of_waiting(pod: Document, now: float) -> Trouble | None:
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in WAITING:
            return Trouble(
                WAITING[waiting["reason"]], _cut(str(waiting.get("message") or waiting["reason"]))
            )
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Trouble("PodsUnschedulable", _cut(str(scheduled.get("message", ""))))
    if not _is_scheduled(pod) and now - _created_at(pod) > _SCHEDULER_SECONDS:
        return Trouble("PodsNotScheduled", "no scheduler has handled the pods; is one running?")
    return _of_sidecar(pod, now)


def _of_sidecar(pod: Document, now: float) -> Trouble | None:
    worker = _worker(pod)
    ended = worker.get("state", {}).get("terminated") if worker else None
    if not ended or now - seconds_of(ended.get("finishedAt")) < _SIDECAR_SECONDS:
        return None
    others = [
        each["name"]
        for each in pod["status"].get("containerStatuses", [])
        if "running" in each.get("state", {})
    ]
    if not others:
        return None
    text = (
        f"the worker has ended, but its pod cannot end while the container {', '.join(others)}"
        " runs: keep sidecars out"
    )
    return Trouble("SidecarPreventsCompletion", _cut(f"{text}, or inject them as native ones"))


# Pods that ended ----------------------------------------------------------------------------------


def of_ended(pods: Iterable[Document], *, job_failed: bool) -> Trouble | None:
    """Why the pod that failed last did.

    Of a Job that goes on, evicted and fenced pods have no word.
    """
    return weightiest(_of_ended(pod, job_failed=job_failed) for pod in pods)


def weightiest(found: Iterable[Trouble | None]) -> Trouble | None:
    """What no pod can do, or else what ended last: clocks of nodes differ,
    and pods' times are whole seconds.
    """
    return max(filter(None, found), key=lambda each: (each.permanent, each.since), default=None)


def _of_ended(pod: Document, *, job_failed: bool) -> Trouble | None:
    state = (_worker(pod) or {}).get("state", {}).get("terminated")
    code = state.get("exitCode") if state else None
    targeted = _condition(pod, "DisruptionTarget").get("status") == "True"
    if not targeted and (over := _of_over_limit(pod, state or {})):
        return over
    if (
        targeted
        or code == ExitCode.TERMINATED
        or (not job_failed and (code == ExitCode.FENCED or _is_deleted(pod)))
    ):
        return None
    if state is None:
        return _of_rejected(pod)
    if code == 0:
        return None
    since = seconds_of(state.get("finishedAt"))
    if said := parse_termination_message(state.get("message") or ""):
        fenced = said[0] is Reason.FENCED and not job_failed
        return (
            None
            if fenced
            else Trouble(said[0].value, _cut(said[1]), since, code == ExitCode.PERMANENT)
        )
    text = f"a worker ended with {state.get('reason')} (exit code {code})"
    return Trouble(
        "OutOfMemory" if state.get("reason") == "OOMKilled" else "WorkerFailed", text, since
    )


def _of_over_limit(pod: Document, state: Document) -> Trouble | None:
    status = pod.get("status", {})
    if status.get("reason") != "Evicted" or not _OVER_LIMIT.search(status.get("message", "")):
        return None
    text = f"the node ended a pod: {status['message'].strip()}"
    return Trouble(
        "EphemeralStorageExceeded",
        _cut(text),
        seconds_of(state.get("finishedAt")) or _created_at(pod),
    )


def _of_rejected(pod: Document) -> Trouble | None:
    """A pod that ended without its container: the kubelet says why."""
    status = pod.get("status", {})
    if not status.get("reason"):
        return None
    text = f"the node did not run a pod: {status['reason']}: {status.get('message', '')}"
    return Trouble("WorkerFailed", _cut(text), _created_at(pod))


# The Job ------------------------------------------------------------------------------------------


def of_refusal(job: Document, events: Iterable[Document], now: float) -> Trouble | None:
    """What the Job controller says when it may create no pods: a quota, a policy,
    or a webhook that does not answer.
    """
    refusals = [event for event in events if event.get("reason") == "FailedCreate"]
    last = max(refusals, key=_time_of, default=None)
    if last is None or now - _time_of(last) > _REFUSED_SECONDS:
        return None
    # Without the pod's name, which differs at each try.
    name = re.escape(job["metadata"]["name"])
    text = re.sub(rf' "{name}-[^"]*"', "", str(last.get("message", "")))
    return Trouble("PodsForbidden", _cut(text), _time_of(last))


def last_failed_index(job: Document) -> int | None:
    """The highest completion index that has failed for good; None where none has."""
    numbers = re.findall(r"\d+", job.get("status", {}).get("failedIndexes") or "")
    return int(numbers[-1]) if numbers else None


def of_job(job: Document) -> Trouble:
    """What the Job controller says of a Job that failed."""
    said = [
        each
        for each in job.get("status", {}).get("conditions", [])
        if each["type"] in ("Failed", "FailureTarget")
    ]
    text = f"{said[0].get('reason')}: {said[0].get('message')}" if said else "the child Job failed"
    return Trouble("JobFailed", _cut(text))


def missing(job: Document) -> int:
    """How many pods fewer there are than the Job wants at once."""
    spec, status = job["spec"], job.get("status", {})
    left: int = (
        spec.get("completions", 1)
        - status.get("succeeded", 0)
        - _number_of(status.get("failedIndexes") or "")
    )
    there: int = status.get("active", 0) + (status.get("terminating") or 0)
    wanted: int = min(spec.get("parallelism", 1), left)
    return max(wanted - there, 0)


def _number_of(indexes: str) -> int:
    """How many there are in ``1,3-5``."""
    ranges = [[int(end) for end in each.split("-")] for each in indexes.split(",") if each]
    return sum(each[-1] - each[0] + 1 for each in ranges)


# Pieces of pods and events ------------------------------------------------------------------------


def _containers(pod: Document) -> Iterator[dict[str, Any]]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _worker(pod: Document) -> dict[str, Any] | None:
    found: Sequence[dict[str, Any]] = pod.get("status", {}).get("containerStatuses") or ()
    return next((each for each in found if each["name"] == WORKER), None)


def _condition(pod: Document, kind: str) -> dict[str, Any]:
    return next(
        (each for each in pod.get("status", {}).get("conditions") or () if each["type"] == kind), {}
    )


def _is_deleted(pod: Document) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_lost(pod: Document) -> bool:
    """Whether its node was given up: the pod is marked as not ready,
    though the kubelet last said that it was.
    """
    found = pod.get("status", {}).get("containerStatuses") or ()
    ready = (
        bool(found)
        and all(each.get("ready") for each in found)
        and not pod["spec"].get("readinessGates")
    )
    return ready and _condition(pod, "Ready").get("status") == "False"


def _is_scheduled(pod: Document) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _has_started(pod: Document) -> bool:
    """Whether its worker runs or has run."""
    state = (_worker(pod) or {}).get("state", {})
    return "running" in state or "terminated" in state


def _created_at(pod: Document) -> float:
    return seconds_of(pod["metadata"].get("creationTimestamp"))


def _scheduled_at(pod: Document) -> float:
    return seconds_of(_condition(pod, "PodScheduled").get("lastTransitionTime")) or _created_at(pod)


def _newest_first(pods: Iterable[Document]) -> list[Document]:
    return sorted(pods, key=_created_at, reverse=True)


def _time_of(event: Document) -> float:
    series = event.get("series") or {}
    found = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max(seconds_of(each) for each in found)


def _cut(text: str) -> str:
    return text[:_MOST]
