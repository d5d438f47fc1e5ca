"""Carrying a plan out: what may fail without failing it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.operator.leases_world import health_of
from unit.operator.world import World

from fpj_core.jobs import recorded_job
from fpj_core.kube.errors import ClusterError
from fpj_core.model import Job, Phase
from fpj_core.store import open_store
from fpj_operator import metrics
from fpj_operator.emit import Emit
from fpj_operator.jobs.execute import DisturbedError, Executor, _noted
from fpj_operator.jobs.state import (
    Apply,
    ChildJob,
    DeleteChildren,
    DeleteResource,
    DeleteRights,
    FenceShards,
    LeaseView,
    Observed,
    Plan,
    RecordJob,
    RenewLease,
)


class NoEvents:
    """An API server that takes no events, as in a namespace with a quota on them."""

    def __init__(self) -> None:
        self.refuses, self.asked, self.deleted = True, 0, 0

    async def create(self, _manifest: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.refuses:
            raise ClusterError(
                403, "exceeded quota: events, requested: count/events=1", reason="Forbidden"
            )
        return {}

    async def delete(self, *_: Any) -> None:
        self.deleted += 1


def test_an_event_that_is_refused_ends_no_plan_and_is_written_later() -> None:
    world = World()
    world.add()
    server: Any = NoEvents()
    unused: Any = None
    executor = Executor(server, unused, unused, unused)
    plan = Plan(
        steps_after=(
            Emit("ImagesFailing", "10 images", warning=True, unique="1-10"),
            DeleteResource(),
        )
    )
    lost = metrics.EVENTS_REFUSED._value.get()
    asyncio.run(executor.carry_out(world.observe("photos"), plan))
    assert server.deleted == 1, "the steps after it are done"
    assert metrics.EVENTS_REFUSED._value.get() == lost + 1
    server.refuses = False
    for _ in range(2):
        asyncio.run(executor.carry_out(world.observe("photos"), plan))
    assert server.asked == 2, "it was not taken for written, and is written once"


class Renewing:
    """The leases of a job, which it gets with this fence."""

    def __init__(self, fence: int) -> None:
        self.fence = fence

    async def acquire(self, _key: Any, uid: str, _collection: str, *, above: int) -> LeaseView:
        assert above == 0, "a renewal fences nobody"
        return LeaseView(uid, "photos", self.fence, time.time() + 300, renewed=True)


@pytest.mark.parametrize(
    ("lapsed", "fence", "lost"),
    [
        (False, 1, False),
        (True, 1, False),
        (True, 2, True),
        pytest.param(False, 2, True, id="it lapsed in the store alone, before a new leader looked"),
    ],
)
def test_a_lease_that_had_lapsed_is_renewed_unless_its_fence_has_moved(
    lapsed: bool, fence: int, lost: bool
) -> None:
    world = World()
    world.add()
    world.look()
    observed = world.observe("photos")
    assert observed.attempt.fence == 1
    observed = replace(observed, now=observed.lease.expires_at + (1 if lapsed else -100))
    unused: Any = None
    leases: Any = Renewing(fence)
    executor = Executor(unused, unused, unused, leases)
    renewing = executor.carry_out(observed, Plan(steps_first=(RenewLease(),)))
    if not lost:
        asyncio.run(renewing)
        return
    with pytest.raises(DisturbedError) as disturbed:
        asyncio.run(renewing)
    assert disturbed.value.observed.lease.renewed and disturbed.value.observed.lease.fence == 2


def test_the_record_knows_which_attempt_began_the_job_anew() -> None:
    """Recorded twice, as after an operator that died, it stays the same.

    A recovery goes on with the job.
    """
    job = Job("uid", "photos", "team.photos", {}, "")
    for phase, attempt, restarted_by in (
        (Phase.INDEXING, 1, 0),
        (Phase.RECOVERING, 1, 0),
        (Phase.INDEXING, 2, 0),
        (Phase.COMPLETED, 2, 0),
        (Phase.INDEXING, 3, 3),
        (Phase.INDEXING, 3, 3),
        (Phase.SUSPENDED, 3, 3),
        (Phase.INDEXING, 4, 3),
        (Phase.FAILED, 4, 3),
        (Phase.INDEXING, 5, 5),
    ):
        job = _noted(job, job, RecordJob(phase, "", "", attempt), 1.0)
        assert job.begun_attempt == restarted_by


def test_from_the_first_note_of_an_attempt_on_pods_of_the_one_before_are_refused(
    tmp_path: Path,
) -> None:
    """An operator that dies before the status leaves a record that is active,
    and a lock that may be given back.
    """
    world = World()
    world.add()
    store = open_store(str(tmp_path / "store.db"))
    observed = world.observe("photos")
    earlier = Job(
        observed.uid, "photos", "team.photos", {}, "", planning_attempt=1, planned_attempt=1
    )
    store.create_job(replace(earlier, phase=Phase.RECOVERING))
    unused: Any = None
    executor = Executor(unused, store, health_of(store), unused)

    def note(phase: Phase, attempt: int) -> Job:
        asyncio.run(
            executor.carry_out(observed, Plan(steps_first=(RecordJob(phase, "", "", attempt),)))
        )
        return recorded_job(store, observed.uid)

    assert note(Phase.RECOVERING, 1).planning_attempt == 1
    assert note(Phase.INDEXING, 2).planning_attempt == 2
    assert note(Phase.INDEXING, 1).planning_attempt == 2, "a late note takes nothing back"
    assert recorded_job(store, observed.uid).planned_attempt == 1
    store.close()


class Noting:
    """An API server that notes what is deleted and applied; ``refusals`` come first."""

    def __init__(self, *refusals: ClusterError) -> None:
        self.deleted: list[tuple[str, str, str | None]] = []
        self.applied = 0
        self.refusals = list(refusals)

    async def delete(self, kind: str, _namespace: str, name: str, uid: str | None = None) -> None:
        self.deleted.append((kind, name, uid))

    async def apply(self, _manifest: Any, *, tries: int) -> None:
        self.applied += 1
        if self.refusals:
            raise self.refusals.pop(0)

    async def apply_status(
        self, _kind: str, _namespace: str, _name: str, status: Any, *_: Any
    ) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "8"}, "status": status}


def carry_out(server: Noting, observed: Observed, plan: Plan) -> None:
    unused: Any = None
    there: Any = server
    asyncio.run(Executor(there, unused, unused, unused).carry_out(observed, plan))


def child(attempt: int, **values: Any) -> ChildJob:
    return ChildJob(f"job-{attempt}", "shards", attempt, 0, **values)


@pytest.mark.parametrize(
    ("finished_too", "gone"), [(True, ["job-1", "job-2", "job-3"]), (False, ["job-1", "job-3"])]
)
def test_children_of_all_attempts_up_to_one_are_deleted(
    finished_too: bool, gone: list[str]
) -> None:
    world = World()
    world.add()
    children = (
        child(1),
        child(2, failed=True),
        child(3),
        child(4),
        ChildJob("job-0", "index", 1, 0, deleting=True),
    )
    server = Noting()
    carry_out(
        server,
        replace(world.observe("photos"), children=children),
        Plan(steps_first=(DeleteChildren(3, finished_too),)),
    )
    assert [name for _, name, _ in server.deleted] == gone


def test_what_is_deleted_in_the_end_is_this_job_and_the_account_of_its_workers_last() -> None:
    world = World()
    world.add()
    observed, server = world.observe("photos"), Noting()
    carry_out(server, observed, Plan(steps_after=(DeleteRights(), DeleteResource())))
    assert [kind for kind, _, _ in server.deleted] == [
        "RoleBinding",
        "Role",
        "ServiceAccount",
        "FileProcessingJob",
    ]
    assert server.deleted[-1][2] == observed.uid, "not a namesake"


def test_a_quota_that_others_change_at_the_same_moment_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fpj_operator.jobs.execute._CONFLICT_PAUSE_SECONDS", 0.0)
    world = World()
    world.add()
    conflict = ClusterError(
        409, "Operation cannot be fulfilled on resourcequotas", reason="Conflict"
    )
    plan = Plan(steps_first=(Apply({"kind": "Job", "metadata": {"name": "job"}}),))
    server = Noting(conflict, conflict)
    carry_out(server, world.observe("photos"), plan)
    assert server.applied == 3
    server = Noting(*[conflict] * 3)
    with pytest.raises(DisturbedError) as disturbed:
        carry_out(server, world.observe("photos"), plan)
    assert (
        disturbed.value.observed.rejected is not None
        and disturbed.value.observed.rejected.status == 409
    )


def test_what_fails_after_the_status_is_decided_upon_by_that_status() -> None:
    world = World()
    world.add()
    status = {"phase": "Indexing", "attempt": {"number": 4, "fence": 2}}
    refused = ClusterError(403, "forbidden", reason="Forbidden")
    plan = Plan(status=status, steps_after=(Apply({"kind": "Job", "metadata": {"name": "job"}}),))
    with pytest.raises(DisturbedError) as disturbed:
        carry_out(Noting(refused), world.observe("photos"), plan)
    seen = disturbed.value.observed
    assert (seen.phase, seen.attempt.number, seen.version) == (Phase.INDEXING, 4, "8")


def test_a_fence_that_is_carried_out_late_means_only_attempts_that_were_there() -> None:
    world = World()
    world.add()
    taken: list[int] = []

    class Shards:
        def release_shards(self, _uid: str, attempt: int, _check: Any) -> None:
            taken.append(attempt)

    store: Any = Shards()
    unused: Any = None
    executor = Executor(unused, store, health_of(store), unused)
    observed = replace(world.observe("photos"), children=(child(3),))
    asyncio.run(executor.carry_out(observed, Plan(steps_first=(FenceShards(),))))
    assert taken == [3]


def test_a_job_that_begins_again_has_not_ended(tmp_path: Path) -> None:
    world = World()
    world.add()
    store = open_store(str(tmp_path / "store.db"))
    observed = world.observe("photos")
    store.create_job(
        Job(observed.uid, "photos", "team.photos", {}, "", finished_at=5.0, phase=Phase.FAILED)
    )
    unused: Any = None
    executor = Executor(unused, store, health_of(store), unused)
    asyncio.run(
        executor.carry_out(observed, Plan(steps_first=(RecordJob(Phase.INDEXING, "", "", 1),)))
    )
    assert recorded_job(store, observed.uid).finished_at is None
    store.close()
