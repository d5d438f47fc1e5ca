"""When a job may be suspended, resumed or recovered, and what is changed then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import RESUME_ANNOTATION, resume_mark
from fpj_core.kube.steering import Action, RefusedActionError, may, refusals, resumption

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)


def job(
    phase: str = "", *, suspend: bool = False, resume: str = "", resumed: str = "",
    deleting: bool = False,
    local: bool = False,
) -> JobResource:  # fmt: skip
    metadata: dict[str, Any] = {
        "name": "j",
        "uid": "u",
        "annotations": {"fpj.dev/resume": resume} if resume else {},
    }
    metadata |= {} if local else {"namespace": "team"}
    metadata |= {"deletionTimestamp": "2026-01-02T03:04:05Z"} if deleting else {}
    status = {"phase": phase, "attempt": {"resumedBy": resumed}}
    return JobResource({"metadata": metadata, "spec": {"suspend": suspend}, "status": status})


def asked(action: Action, found: JobResource) -> bool | str:
    try:
        return may(action, found)
    except RefusedActionError as error:
        return str(error)


@pytest.mark.parametrize(
    ("found", "suspend", "resume", "recover"),
    [
        (job(), True, "j is Pending: nothing to resume", True),
        (job("Running"), True, "j is Running: nothing to resume", True),
        (job("Completed"), "j is Completed already", True, "j is Completed: nothing failed"),
        (job("Failed"), "j is Failed already", True, True),
        (job("CompletedWithErrors"), "j is CompletedWithErrors already", True, True),
        (job("Suspended", suspend=True), False, True, "j is suspended: resume it"),
        (job("Running", suspend=True), False, True, "j is suspended: resume it"),
        (job("Failed", suspend=True), "j is Failed already", True, "j is suspended: resume it"),
        (job("Failed", resume="1"), True, False, True),
        (job("Failed", resume="1", resumed="1"), "j is Failed already", True, True),
        (job("Failed", resume="1", suspend=True), False, True, "j is suspended: resume it"),
        (job("Suspended"), True, "j is Suspended: nothing to resume", True),
        (job("Suspended", local=True), False, "j is Suspended: nothing to resume", True),
        (job("Running", deleting=True), *["j is being deleted"] * 3),
    ],
)
def test_rules(
    found: JobResource, suspend: bool | str, resume: bool | str, recover: bool | str
) -> None:
    assert asked(Action.SUSPEND, found) == suspend
    assert asked(Action.RESUME, found) == resume
    assert asked(Action.RECOVER, found) == recover
    assert asked(Action.CANCEL, found) is not found.deleting, (
        "one that is being deleted need not be cancelled again"
    )
    allowed = [action for action in Action if asked(action, found) is True]
    assert [action for action in Action if action not in refusals(found)] == allowed


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (job("Running"), {Action.RESUME: "is Running: nothing to resume"}),
        (
            job("Running", suspend=True),
            {Action.SUSPEND: "is suspended already", Action.RECOVER: "is suspended: resume it"},
        ),
        (job("Failed", resume="1"), {Action.RESUME: "is already resuming"}),
        (job("Failed", deleting=True), dict.fromkeys(Action, "is being deleted")),
    ],
)
def test_each_refusal_says_why(found: JobResource, why: dict[Action, str]) -> None:
    assert {action: refusal.why for action, refusal in refusals(found).items()} == why


@pytest.mark.parametrize(
    ("found", "unsuspends", "annotates"),
    [
        (job("Suspended", suspend=True), True, False),
        (job("Failed"), False, True),
        (job("Running"), False, True),
        (job("Failed", suspend=True), True, True),
    ],
)
def test_what_is_changed(found: JobResource, unsuspends: bool, annotates: bool) -> None:
    change = resumption(found, NOW)
    assert change == ({"spec": {"suspend": False}} if unsuspends else {}) | (
        {"metadata": {"annotations": {"fpj.dev/resume": "2026-01-02T03:04:05.678Z"}}}
        if annotates
        else {}
    )


def test_a_long_resume_value_is_known_again_by_its_digest() -> None:
    """The status has room for 1,024 characters, an annotation for 262,144 bytes."""
    long, other = "x" * 5_000, "x" * 4_999
    mark = resume_mark({"annotations": {RESUME_ANNOTATION: long}})
    assert len(mark) <= 1_024
    assert mark != resume_mark({"annotations": {RESUME_ANNOTATION: other}})
    assert job("Failed", resume=long, resumed=mark).finished, "it is answered"
    assert not job("Failed", resume=other, resumed=mark).finished
    assert resume_mark({"annotations": {RESUME_ANNOTATION: "é" * 1_024}}) == "é" * 1_024, (
        "as older versions kept it"
    )
    assert resume_mark({}) == resume_mark({"annotations": None}) == ""
