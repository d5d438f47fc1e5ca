"""Carrying a plan out: what may fail without failing it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.world import World

from fpj_core.cluster import ClusterError
from fpj_core.model import Job, Phase
from fpj_operator import metrics
from fpj_operator.execute import DisturbedError, Executor, _noted
from fpj_operator.state import DeleteResource, Emit, LeaseView, Plan, RecordJob, RenewLease


class NoEvents:
    """An API server that takes no events, as in a namespace with a quota on them."""

    def __init__(self) -> None:
        self.refuses, self.asked, self.deleted = True, 0, 0

    async def create(self, _manifest: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.refuses:
            raise ClusterError(403, "exceeded quota: events, requested: count/events=1", reason="Forbidden")
        return {}

    async def delete(self, *_: Any) -> None:
        self.deleted += 1


def test_an_event_that_is_refused_ends_no_plan_and_is_written_later() -> None:
    world = World()
    world.add()
    server: Any = NoEvents()
    unused: Any = None
    executor = Executor(server, unused, unused, unused)
    plan = Plan(steps_after=(Emit("ImagesFailing", "10 images", warning=True, unique="1-10"), DeleteResource()))
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

    async def acquire(self, _key: Any, uid: str, _collection: str) -> LeaseView:
        return LeaseView(uid, "photos", self.fence, time.time() + 300, renewed=True)


@pytest.mark.parametrize(("lapsed", "fence", "lost"), [(False, 1, False), (True, 1, False), (True, 2, True)])
def test_a_lease_that_had_lapsed_is_renewed_unless_its_fence_has_moved(lapsed: bool, fence: int, lost: bool) -> None:
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
    """Told twice, as after an operator that died, it stays the same; a recovery goes on with the job."""
    job = Job("uid", "photos", "team.photos", {}, "")
    for phase, attempt, begun in (
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
        assert job.begun_attempt == begun
