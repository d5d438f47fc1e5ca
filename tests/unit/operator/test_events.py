"""Which events lead to a look, and what the queue makes of those that come late."""

from __future__ import annotations

from typing import Any

import pytest

from fpj_core.model import Phase
from fpj_operator.jobs.marks import CHILD_AT_WORK, child_marks_of, marks_of
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.keys import Key

KEY = Key("team", "photos")


def body(version: int, phase: str = "", reason: str = "", **metadata: Any) -> dict[str, Any]:
    """A FileProcessingJob as an event shows it."""
    conditions = [{"type": "Ready", "status": "False", "reason": reason}] if reason else []
    named = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": "1",
        "generation": 1,
        "resourceVersion": str(version),
    }
    status = {"phase": phase, "conditions": conditions, "observedGeneration": 1} if phase else {}
    return {"metadata": named | metadata, "spec": {}, "status": status}


def test_an_event_that_comes_late_does_not_free_a_slot() -> None:
    queue = JobQueue(1)
    queue.note(body(1))
    queue.note(body(2, "Pending", "Queued"))
    assert queue.place(KEY) == (True, 0)
    queue.started(KEY)
    queue.note(body(2, "Pending", "Queued"))
    assert queue.is_at_work(KEY)
    queue.note(body(3, "Suspended", "Suspended"))
    assert not queue.is_at_work(KEY)


def test_a_namesake_is_another_job_whatever_its_version() -> None:
    queue = JobQueue(1)
    queue.note(body(9, "Running"))
    queue.note(body(8, uid="2"))
    assert not queue.is_at_work(KEY)


def test_a_slot_given_back_is_free_and_its_job_does_not_queue_for_it() -> None:
    queue = JobQueue(1)
    queue.note(body(1))
    queue.started(KEY)
    queue.gave_back(KEY, Phase.PENDING)
    assert not queue.is_at_work(KEY)
    assert queue.next_in(KEY.namespace) == []


@pytest.mark.parametrize(
    ("change", "looked_at"),
    [
        (
            {"resourceVersion": "7", "finalizers": ["fpj.dev/stop-work"], "managedFields": [{}]},
            False,
        ),
        ({"generation": 2}, True),
        ({"annotations": {"fpj.dev/resume": "again"}}, True),
        ({"annotations": {"team/owner": "us"}}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({"uid": "2"}, True),
    ],
)
def test_only_what_a_decision_rests_on_leads_to_a_look(
    change: dict[str, Any], looked_at: bool
) -> None:
    before = marks_of(body(1, "Running"))
    assert (marks_of(body(1, "Running", **change)) != before) is looked_at


def test_progress_alone_is_no_reason_for_a_look() -> None:
    running, further = body(1, "Running"), body(2, "Running")
    further["status"]["progress"] = {"completed": 5}
    assert marks_of(running) == marks_of(further) != marks_of(body(3, "Completed"))


def test_a_child_is_looked_at_when_its_pods_fail_or_it_ends() -> None:
    job: dict[str, Any] = {"metadata": {"uid": "c"}, "status": {"active": 2, "ready": 1}}
    assert child_marks_of(job) == child_marks_of({"metadata": {"uid": "c"}}) == CHILD_AT_WORK
    failing: dict[str, Any] = {"metadata": {"uid": "c"}, "status": {"active": 1, "failed": 1}}
    ended: dict[str, Any] = {
        "metadata": {"uid": "c"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }
    deleted: dict[str, Any] = {
        "metadata": {"uid": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    }
    assert len({CHILD_AT_WORK, *map(child_marks_of, (failing, ended, deleted))}) == 4
