"""The queue against a simple version of itself, which asks all jobs each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.model import Phase
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.keys import Key

SPACE = "team"
LIMIT = 2
NAMES = [f"job-{number}" for number in range(7)]


def body(name: str, version: int, **said: Any) -> dict[str, Any]:
    """A FileProcessingJob as an event shows it."""
    phase, reason = said.get("phase", ""), said.get("reason", "")
    conditions = [
        {"type": "Ready", "status": "False", "reason": reason, "message": said.get("message", "")},
        {
            "type": "Progressing",
            "status": "False" if reason or not Phase(phase or "Pending").active else "True",
            "reason": reason,
            "message": said.get("message", ""),
        },
        {"type": "CollectionLocked", "status": "True" if said.get("locked") else "False"},
    ]
    return {
        "metadata": {
            "namespace": SPACE,
            "name": name,
            "uid": f"uid-{name}-{said.get('uid', 0)}",
            "resourceVersion": str(version),
        },
        "spec": {
            "priority": said.get("priority", 0),
            "collection": {"id": said.get("collection", name)},
            "suspend": said.get("suspend", False),
        },
        "status": {"phase": phase, "conditions": conditions} if phase else {},
    }


@dataclass
class Simple:
    """What holds of each job, and the rules in the words of the documentation."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def active(self, job: dict[str, Any]) -> bool:
        idle = {
            "Indexing": ("PodsUnschedulable", "ChildRejected", "Queued"),
            "Running": ("PodsUnschedulable", "Queued"),
        }
        between = (
            "Queued",
            "CollectionLocked",
            "NoCacheFolder",
            "StoreUnavailable",
            "ChildRejected",
        )
        phase, reason = job.get("phase", ""), job.get("reason", "")
        if job.get("claimed"):
            return True
        if phase == "Recovering":
            return reason not in between
        return phase in idle and reason not in (*idle[phase], "ChildRejected")

    def locks(self, job: dict[str, Any]) -> bool:
        held = job.get("phase") == "Recovering" and job.get("locked", False)
        return job.get("claimed", False) or job.get("phase") in ("Indexing", "Running") or held

    def waits(self, job: dict[str, Any]) -> bool:
        phase, reason = job.get("phase") or "Pending", job.get("reason", "")
        if job.get("suspend") or self.active(job):
            return False
        if phase in ("Pending", "Recovering"):
            return reason in ("", "Queued", "CollectionLocked", "StoreUnavailable")
        return phase in ("Indexing", "Running") and reason == "Queued"

    def rank(self, name: str) -> tuple[int, str]:
        return (-self.jobs[name].get("priority", 0), f"uid-{name}")

    def line(self) -> list[str]:
        """Who gets the next slots."""
        found = []
        for name, job in self.jobs.items():
            if not self.waits(job):
                continue
            mine = job.get("collection", name)
            others = [
                n
                for n, other in self.jobs.items()
                if n != name and other.get("collection", n) == mine
            ]
            locked = any(self.locks(self.jobs[n]) for n in others)
            ahead = any(
                self.waits(self.jobs[n])
                and not self.locks(self.jobs[n])
                and self.rank(n) < self.rank(name)
                for n in others
            )
            if self.locks(job) or not (locked or ahead):
                found.append(name)
        return sorted(found, key=self.rank)

    def free(self) -> int:
        return LIMIT - sum(self.active(job) for job in self.jobs.values())


STATES = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(
            ["", "Pending", "Indexing", "Running", "Recovering", "Suspended", "Completed"]
        ),
        "reason": st.sampled_from(
            [
                "",
                "Queued",
                "CollectionLocked",
                "NoCacheFolder",
                "StoreUnavailable",
                "PodsUnschedulable",
                "ChildRejected",
            ]
        ),
        "priority": st.integers(-1, 1),
        "collection": st.sampled_from(["red", "green", "blue"]),
        "suspend": st.booleans(),
        "locked": st.booleans(),
    }
)
ACTIONS = st.one_of(
    st.tuples(st.just("note"), st.sampled_from(NAMES), STATES),
    st.tuples(st.just("start"), st.sampled_from(NAMES)),
    st.tuples(st.just("forget"), st.sampled_from(NAMES)),
)


@given(st.lists(ACTIONS, max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_queue_is_as_the_simple_one(actions: list[tuple[Any, ...]]) -> None:
    queue, simple, lives = JobQueue(LIMIT), Simple(), dict.fromkeys(NAMES, 0)
    for version, (action, name, *state) in enumerate(actions, 1):
        if action == "note":
            simple.jobs[name] = (
                state[0] if state[0]["phase"] else state[0] | {"reason": "", "locked": False}
            )
            queue.note(body(name, version, **state[0], uid=lives[name]))
        elif action == "start" and name in simple.jobs:
            simple.jobs[name] = simple.jobs[name] | {"claimed": True}
            queue.started(Key(SPACE, name))
        elif action == "forget":
            existed = simple.jobs.pop(name, None) is not None
            queue.forget(Key(SPACE, name))
            if existed:
                # An answer that was under way.
                queue.note(body(name, version, phase="Running", uid=lives[name]))
            lives[name] += 1
        line, free = simple.line(), simple.free()
        assert [key.name for key in queue.next_in(SPACE)] == line[: max(free, 0)]
        for each in simple.jobs:
            job = simple.jobs[each]
            if simple.active(job):
                assert queue.place(Key(SPACE, each)) == (True, 0)
            else:
                ahead = sum(simple.rank(other) < simple.rank(each) for other in line)
                assert queue.place(Key(SPACE, each)) == (ahead < free, ahead)
            if each in line:
                assert queue.lock(Key(SPACE, each)) == ""
            elif simple.waits(job):
                assert queue.lock(Key(SPACE, each)), "it waits, and is not in line: for its lock"
        assert queue.queued() == sum(simple.waits(job) for job in simple.jobs.values())
        assert sum(queue.counts().values()) == len(simple.jobs)


def test_who_waits_for_a_lock_keeps_no_free_collection_waiting() -> None:
    queue = JobQueue(2)
    queue.note(body("holder", 1, phase="Running", collection="red"))
    for number in range(60):
        queue.note(
            body(
                f"waiter-{number:02}",
                2 + number,
                phase="Pending",
                reason="Queued",
                collection="red",
            )
        )
    queue.note(
        body("other", 100, phase="Pending", reason="Queued", collection="green", priority=-5)
    )
    assert queue.next_in(SPACE) == [Key(SPACE, "other")]
    assert queue.lock(Key(SPACE, "waiter-00")) == "holder is working on the collection"
    assert "more than 50" in queue.lock(Key(SPACE, "waiter-59"))


def test_priority_decides_who_gets_the_lock() -> None:
    queue = JobQueue(2)
    queue.note(body("holder", 1, phase="Running", collection="red"))
    queue.note(body("old", 2, phase="Pending", reason="CollectionLocked", collection="red"))
    queue.note(
        body(
            "urgent", 3, phase="Pending", reason="CollectionLocked", collection="red", priority=1000
        )
    )
    assert queue.next_in(SPACE) == []
    queue.note(body("holder", 4, phase="Completed", collection="red"))
    assert queue.next_in(SPACE) == [Key(SPACE, "urgent")]


def test_a_lock_of_somebody_unknown_is_tried_by_the_first_and_keeps_no_slot() -> None:
    queue = JobQueue(1)
    queue.note(body("first", 1, phase="Pending", reason="Queued", collection="red"))
    queue.note(body("free", 2, phase="Pending", reason="Queued", collection="green", priority=-1))
    key = Key(SPACE, "first")
    queue.started(key)
    assert queue.next_in(SPACE) == []
    queue.gave_back(key, Phase.PENDING, foreign=True)
    assert queue.next_in(SPACE) == [Key(SPACE, "free")]
    queue.note(
        body(
            "first",
            3,
            phase="Pending",
            reason="CollectionLocked",
            message="fpj run has it",
            collection="red",
        )
    )
    assert queue.next_in(SPACE) == [Key(SPACE, "free")]
    queue.started(Key(SPACE, "free"))
    assert queue.place(key)[0] is False
    assert queue.lock(key) == "fpj run has it", "it goes on saying so while it cannot try"


@pytest.mark.parametrize(
    "reason", ["PodsUnschedulable", "HeldByQueue", "PodsForbidden", "ChildRejected", "MountFailed"]
)
def test_jobs_that_cannot_run_hold_no_slot_but_their_lock(reason: str) -> None:
    queue = JobQueue(1)
    queue.note(body("mistyped", 1, phase="Indexing", reason=reason, collection="red"))
    queue.note(body("good", 2, phase="Pending", reason="Queued", collection="green"))
    queue.note(body("same", 3, phase="Pending", reason="Queued", collection="red"))
    assert queue.next_in(SPACE) == [Key(SPACE, "good")]
    assert queue.lock(Key(SPACE, "same")) == "mistyped is working on the collection"
    queue.started(Key(SPACE, "good"))
    assert queue.place(Key(SPACE, "mistyped")) == (False, 0), "what heals must wait for a slot"


def test_only_places_that_read_differently_are_outdated() -> None:
    queue = JobQueue(1)
    queue.note(body("busy", 1, phase="Running"))
    words = "waiting for one of the namespace's 1 slots; jobs ahead: {}"
    for number in range(3):
        said = words.format(number)
        queue.note(
            body(f"job-{number}", 2 + number, phase="Pending", reason="Queued", message=said)
        )
    assert list(queue.outdated()) == []
    queue.forget(Key(SPACE, "job-0"))
    assert [key.name for key in queue.outdated()] == ["job-1", "job-2"]


def test_the_end_of_a_namesake_that_is_told_late_takes_nothing_from_the_job_of_now() -> None:
    """Deleted and made again: the new one may be known before the event of the old one's deletion
    comes.
    """
    queue = JobQueue(1)
    old, new = body("photos", 1), body("photos", 2, uid=1)
    key = queue.note(old)
    queue.note(new)
    assert queue.forget(key, old["metadata"]["uid"]) is None
    queue.note(old)  # an answer about the old one comes later still
    assert queue.uid_of(key) == new["metadata"]["uid"] and queue.place(key) == (True, 0)
    assert queue.forget(key, new["metadata"]["uid"]) == new["metadata"]["uid"]


def test_an_event_that_comes_late_changes_nothing() -> None:
    queue = JobQueue(LIMIT)
    key = queue.note(body("job-0", 5, phase="Running"))
    queue.note(body("job-0", 3, phase="Pending"))
    assert queue.is_at_work(key) and queue.version_of(key) == 5
    queue.note(body("job-0", 6, phase="Completed"))
    assert queue.is_finished(key)
