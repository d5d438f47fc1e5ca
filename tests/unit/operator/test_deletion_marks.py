"""The finalizer of a job that takes its files along, and the end of its work once it is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.operator.world import World

from fpj_core.kube import names
from fpj_core.model import Phase
from fpj_core.v1alpha1 import DeletionPolicy
from fpj_operator.jobs.execute import Executor
from fpj_operator.jobs.state import MarkFiles, Plan

DELETE = {"deletionPolicy": "Delete"}


def test_a_job_is_marked_before_anything_is_made() -> None:
    world = World()
    job = world.add(**DELETE)
    plan = world.look()
    assert job.marked and not job.children and plan.again and plan.status is None
    world.settle()
    assert job.phase() is Phase.INDEXING


@pytest.mark.parametrize("spec", [{}, {"deletionPolicy": "Retain"}])
def test_a_job_without_the_policy_has_no_finalizer(spec: dict[str, Any]) -> None:
    world = World()
    job = world.add(**spec)
    world.settle()
    assert not job.marked


def test_the_mark_follows_the_policy_also_after_the_end() -> None:
    world = World()
    job = world.add(**DELETE)
    world.settle()
    world.indexed(shards=0, total=5, skipped=5)
    world.settle()
    assert job.phase() is Phase.COMPLETED and job.marked
    job.edit(deletion_policy=DeletionPolicy.RETAIN)
    world.settle()
    assert [job.marked] == [False]
    job.edit(deletion_policy=DeletionPolicy.DELETE)
    world.settle()
    assert job.marked and job.phase() is Phase.COMPLETED


def test_a_spec_that_is_not_understood_takes_no_mark_off() -> None:
    world = World()
    job = world.add(**DELETE)
    world.settle()
    job.edit(deletion_policy=None)
    job.problem = "jobType: unknown"
    world.settle()
    assert job.marked


def test_a_deleted_job_at_work_is_ended_and_gives_its_lock_back() -> None:
    world = World()
    job = world.add(**DELETE)
    world.settle()
    world.indexed(shards=2, total=200)
    world.settle()
    job.deleting = True
    world.settle()
    assert job.phase() is Phase.CANCELLED and job.marked, "the mark is not ours to take off"
    assert all(child.finished for child in job.children.values())
    assert job.fenced == 1 and not job.rights
    assert world.lease.holder == "" and job.record and job.record.phase is Phase.CANCELLED
    writes = job.writes
    world.settle()
    assert job.writes == writes, "what follows is decided elsewhere"


def test_pods_may_record_what_they_have_made_before_they_are_fenced() -> None:
    world = World()
    job = world.add(**DELETE)
    world.settle()
    world.indexed(shards=2, total=200)
    world.settle()
    job.deleting = world.pods_left = True
    world.settle()
    assert not any(child.active for child in job.children.values()), "they are to end"
    assert job.phase() is Phase.RUNNING and job.fenced == 0 and world.look().requeue_after
    world.pods_left = False
    world.settle()
    assert job.phase() is Phase.CANCELLED and job.fenced == 1


def test_while_the_store_is_away_a_deleted_job_is_not_ended() -> None:
    world = World()
    job = world.add(**DELETE)
    world.settle()
    job.deleting, world.store_error = True, "no primary"
    assert world.look().requeue_after
    assert job.phase() is Phase.INDEXING and job.children
    world.store_error = None
    world.settle()
    assert job.phase() is Phase.CANCELLED


@pytest.mark.parametrize("phase", ["Pending", "Indexing"])
def test_a_deleted_job_without_the_mark_is_left_alone(phase: str) -> None:
    world = World()
    job = world.add()
    if phase == "Indexing":
        world.settle()
    job.deleting = True
    plan = world.look()
    assert plan == Plan() and job.phase() is Phase(phase)


@pytest.mark.parametrize("wait", [True, False])
def test_the_finalizer_is_put_on_and_taken_off_beside_others(wait: bool) -> None:
    world = World()
    world.add(**DELETE)
    observed = world.observe("photos")
    held = [] if wait else [names.FILES_FINALIZER]
    written: list[Any] = []

    class Api:
        async def get(self, *_: Any) -> Any:
            finalizers = ["example.org/theirs", *held]
            metadata = {"uid": observed.uid, "resourceVersion": "7", "finalizers": finalizers}
            return {"metadata": metadata}

        async def merge(self, _kind: str, _namespace: str, _name: str, change: Any) -> None:
            written.append(change["metadata"])

    api: Any = Api()
    nothing: Any = None
    executor = Executor(api, nothing, nothing, nothing)
    asyncio.run(executor.carry_out(observed, Plan(steps_first=(MarkFiles(wait),))))
    finalizers = ["example.org/theirs", *([names.FILES_FINALIZER] if wait else [])]
    assert written == [{"finalizers": finalizers, "resourceVersion": "7"}]
