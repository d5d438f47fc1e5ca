"""The operator's part of the status: phase and conditions. Pure.

Beside our own conditions (Complete, Failed, Suspended, CollectionLocked, Progressing) stand
kstatus's Ready, Reconciling and Stalled, so that Flux, Argo CD and `kubectl wait` understand the
resource without knowing it. A job that is suspended is Ready: it is as its spec wants it, and
nobody who applied it should wait for more. Whether it has done its work is Complete's to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core.formatting import moment, seconds_of
from fpj_core.kube.names import RESUME_ANNOTATION
from fpj_core.model import Phase
from fpj_operator.conditionlist import condition, condition_list, restated
from fpj_operator.jobs.state import Attempt, Observed

_NOT_MADE = (
    f"the spec was changed after the job had finished; set the annotation {RESUME_ANNOTATION} to"
    " apply it"
)
_COMPLETE = frozenset({Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the job stands, in the words that people and programs read."""

    phase: Phase
    reason: str
    message: str
    stage: str = ""
    locked: bool = False
    lock_message: str = ""
    lock_reason: str = ""
    trouble: tuple[str, str] | None = None
    """(reason, message) of something that keeps an active job from moving."""
    delay: tuple[str, str] | None = None
    """(reason, message) of something that keeps a part of an active job from moving,
    while the rest does.
    """


def operator_status(
    observed: Observed,
    verdict: Verdict,
    attempt: Attempt,
    *,
    start: str | None = None,
    started: bool = True,
    recovery_attempts: int | None = None,
    progress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything the operator says in the status.

    ``start`` sets the start time, which else stays; with ``started`` False there is none.
    """
    before = observed.status
    now = moment(observed.now)
    status = {
        "observedGeneration": observed.acted_on,
        "phase": verdict.phase.value,
        "stage": verdict.stage,
        "conditions": _conditions(observed, verdict),
        "attempt": attempt_document(attempt),
        "recoveryAttempts": (
            before.get("recoveryAttempts", 0) if recovery_attempts is None else recovery_attempts
        ),
        "startTime": start or (before.get("startTime") if started else None),
        "completionTime": (before.get("completionTime") or now) if verdict.phase.finished else None,
        "leftOut": _left_out(observed),
    }
    return {
        name: value for name, value in (status | dict(progress or {})).items() if value is not None
    }


def _left_out(observed: Observed) -> Mapping[str, int] | None:
    """What the source has that does not belong to the collection, as last recorded.

    None where nothing is left out.
    """
    record = observed.store.record
    found = observed.status.get("leftOut") if record is None else dict(record.left_out)
    return found or None


def seen_status(observed: Observed, *, changed: bool) -> dict[str, Any]:
    """The status of a finished job for a spec that was edited since:
    who waits for an answer has it.

    ``changed`` says that its outputs are not made by that spec. Then it is not Ready, and Stalled
    until somebody resumes it; Complete goes on to speak of the generation that was made.
    """
    before, generation = observed.status, observed.generation
    done = condition(before, "Complete")
    stalled = changed and done.get("status") == "True"
    said = (
        ("SpecChanged", _NOT_MADE) if stalled else (done.get("reason", ""), done.get("message", ""))
    )
    judged = {"Ready": done.get("status") == "True" and not stalled, "Stalled": stalled}
    conditions = []
    for each in before.get("conditions", []):
        if each["type"] in judged and before.get("phase") != Phase.FAILED.value:
            conditions.append(
                restated(
                    each, each["type"], judged[each["type"]], said, generation, moment(observed.now)
                )
            )
        else:
            kept = stalled and each["type"] == "Complete"
            conditions.append(dict(each) if kept else each | {"observedGeneration": generation})
    return dict(before) | {"observedGeneration": generation, "conditions": conditions}


def same_status(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether writing ``wanted`` would change nothing.

    What workers say beside it does not matter.
    """
    if any(
        name in current and name not in wanted
        for name in ("startTime", "completionTime", "leftOut")
    ):
        return False
    return all(current.get(name) == value for name, value in wanted.items())


def last_progress(observed: Observed) -> float:
    """When the attempt last made progress, by record and status.

    When it started, as long as there is none.
    """
    recorded = observed.store.record.last_progress_at if observed.store.record else None
    return max(
        recorded or 0.0,
        observed.attempt.started_at,
        seconds_of(observed.status.get("lastProgressAt")),
    )


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """As it stands in the status."""
    document: dict[str, Any] = {"number": attempt.number}
    if attempt.started_at:
        document["startedAt"] = moment(attempt.started_at)
    if attempt.resumed_by:
        document["resumedBy"] = attempt.resumed_by
    if attempt.cache_folder:
        document["cacheFolder"] = attempt.cache_folder
    if attempt.fence:
        document["fence"] = attempt.fence
    if attempt.spec_digest:
        document["specDigest"] = attempt.spec_digest
    if attempt.store_id:
        document["storeId"] = attempt.store_id
    if attempt.planned_shards is not None:
        document["plannedShards"] = attempt.planned_shards
    if attempt.planned_images is not None:
        document["plannedImages"] = attempt.planned_images
    return document


def attempt_from(status: Mapping[str, Any]) -> Attempt:
    """The inverse of `attempt_document`."""
    found = status.get("attempt") or {}
    return Attempt(
        number=found.get("number", 0),
        started_at=seconds_of(found.get("startedAt")),
        resumed_by=found.get("resumedBy", ""),
        cache_folder=found.get("cacheFolder", ""),
        fence=found.get("fence", 0),
        spec_digest=found.get("specDigest", ""),
        store_id=found.get("storeId", ""),
        planned_shards=found.get("plannedShards"),
        planned_images=found.get("plannedImages"),
    )


def _conditions(observed: Observed, verdict: Verdict) -> list[dict[str, Any]]:
    phase, said = verdict.phase, (verdict.reason, verdict.message)
    active, complete, failed = phase.active, phase in _COMPLETE, phase is Phase.FAILED
    suspended = phase is Phase.SUSPENDED
    moving = active and verdict.trouble is None
    delay = (
        f"; some pods do not run: {verdict.delay[0]}: {verdict.delay[1]}" if verdict.delay else ""
    )
    lock = verdict.lock_message or (
        "the collection is locked for this job" if verdict.locked else "not locked"
    )
    wanted = [
        ("Ready", complete or suspended, said),
        ("Complete", complete, said),
        ("Failed", failed, said),
        ("Suspended", suspended, said),
        ("Progressing", moving, verdict.trouble or (verdict.reason, verdict.message + delay)),
        (
            "CollectionLocked",
            verdict.locked,
            (verdict.lock_reason or ("Locked" if verdict.locked else "NotLocked"), lock),
        ),
        ("Reconciling", not (complete or failed or suspended), said),
        ("Stalled", failed, said),
    ]
    return condition_list(observed.status, wanted, observed.acted_on, observed.now)
