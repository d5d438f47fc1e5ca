"""Which events of a FileProcessingJob and its children need a look:
those that change what a decision rests on. Pure.

Most events are echoes: of the status that the operator wrote, of kopf's finalizer, of the workers'
reports on progress. What those say is looked at often enough, when a child Job changes and every
few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpj_core.kube import names
from fpj_operator.jobs.state import Observed, Plan

Marks = tuple[str, int, str, bool, str, int, int]
"""uid, generation, resume annotation, being deleted, and of the operator's own status phase,
generation, attempt.
"""


ChildMarks = tuple[bool, int, frozenset[str]]
"""Of a child Job: being deleted, pods that failed, conditions that hold."""
CHILD_AT_WORK: ChildMarks = (False, 0, frozenset())


def marks_of(body: Mapping[str, Any]) -> Marks:
    """What an event shows."""
    metadata = body["metadata"]
    resume = names.resume_mark(metadata)
    named = (
        metadata["uid"],
        metadata.get("generation", 0),
        resume,
        "deletionTimestamp" in metadata,
    )
    return named + _of_status(body.get("status") or {})


def marks_after(observed: Observed, plan: Plan) -> Marks:
    """What events will show once a plan has been carried out."""
    named = (observed.uid, observed.generation, observed.resume, observed.deleting)
    return named + _of_status(observed.status if plan.status is None else plan.status)


def _of_status(status: Mapping[str, Any]) -> tuple[str, int, int]:
    attempt = (status.get("attempt") or {}).get("number", 0)
    return status.get("phase", ""), status.get("observedGeneration", 0), attempt


def child_marks_of(body: Mapping[str, Any]) -> ChildMarks:
    """What an event of a child Job shows."""
    status = body.get("status") or {}
    holds = frozenset(
        each["type"] for each in status.get("conditions") or () if each.get("status") == "True"
    )
    return "deletionTimestamp" in body["metadata"], status.get("failed", 0), holds
