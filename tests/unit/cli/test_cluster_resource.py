"""What is read from a resource, whatever of it there is."""

from __future__ import annotations

from typing import Any

import pytest

from fpj_core.kube.jobresource import STALE, JobResource
from fpj_core.model import Phase


def job(
    phase: str = "", namespace: str | None = "ns", annotation: str = "", **status: Any
) -> JobResource:
    metadata: dict[str, Any] = {"name": "photos", "uid": "1234-5678"}
    metadata |= {"namespace": namespace} if namespace else {}
    metadata |= {"annotations": {"fpj.dev/resume": annotation}} if annotation else {}
    return JobResource(
        {"metadata": metadata, "status": status | ({"phase": phase} if phase else {})}
    )


def test_a_job_that_nobody_has_seen() -> None:
    unseen = JobResource(
        {"metadata": {"name": "photos", "uid": "1234"}, "spec": {"jobType": "Both"}}
    )
    assert (unseen.phase, unseen.seen, unseen.finished, unseen.why) == (
        "Pending",
        False,
        False,
        ("", ""),
    )
    assert unseen.summary()["progress"]["total"] == unseen.done == 0
    assert unseen.shards == {"total": 0, "active": 0, "succeeded": 0, "failed": 0}


@pytest.mark.parametrize("phase", list(Phase))
def test_an_end_is_none_once_more_is_asked_for(phase: Phase) -> None:
    assert job(phase).finished == phase.finished
    asked = job(phase, annotation="now", attempt={"resumedBy": "before"})
    assert asked.resuming
    assert not asked.finished
    assert not asked.incomplete
    assert job(phase, annotation="now", attempt={"resumedBy": "now"}).finished == phase.finished


def test_what_rests() -> None:
    assert job(Phase.FAILED).at_rest
    assert job(STALE, namespace=None).at_rest
    assert job(Phase.SUSPENDED, namespace=None).at_rest, "nobody else will go on with it"
    assert not job(Phase.SUSPENDED).at_rest, "somebody may resume it, and the operator goes on"


@pytest.mark.parametrize(
    ("phase", "stuck", "expected"),
    [
        (Phase.RUNNING, "False", "stuck"),
        (Phase.RUNNING, "True", "said"),
        (Phase.FAILED, "False", "said"),
    ],
)
def test_what_keeps_an_active_job_from_moving_comes_first(
    phase: Phase, stuck: str, expected: str
) -> None:
    conditions = [
        {"type": "Ready", "status": "False", "reason": "R", "message": "said"},
        {
            "type": "Progressing",
            "status": stuck,
            "reason": "P",
            "message": "stuck" if stuck == "False" else "said",
        },
    ]
    assert job(phase, conditions=conditions).why[1] == expected
