"""Workers may report while their job is active, and not afterwards."""

from __future__ import annotations

import pytest
from unit.operator.world import World

from fpj_core.model import Phase
from fpj_operator.jobs.state import DeleteRights, Plan

THREE = {"ServiceAccount", "Role", "RoleBinding"}


def deletes(plan: Plan) -> bool:
    return any(isinstance(step, DeleteRights) for step in (*plan.steps_first, *plan.steps_after))


def run(world: World) -> None:
    world.settle()
    world.indexed(shards=1, total=100)
    world.settle()
    assert world.resources["photos"].rights == THREE


def complete(world: World) -> None:
    world.worked(shard=0, completed=100)


def fail(world: World) -> None:
    change = {"activeDeadlineSeconds": 1}
    resource = world.resources["photos"]
    spec = resource.job.spec.model_copy(
        update={"active_deadline_seconds": change["activeDeadlineSeconds"]}
    )
    resource.job = resource.job.model_copy(update={"spec": spec})
    world.now += 10


def suspend(world: World, *, on: bool = True) -> None:
    resource = world.resources["photos"]
    resource.job = resource.job.model_copy(
        update={"spec": resource.job.spec.model_copy(update={"suspend": on})}
    )


@pytest.mark.parametrize("end", [complete, fail, suspend])
def test_the_rights_end_with_the_work_and_nothing_is_written_at_rest(end: object) -> None:
    world = World()
    job = world.add()
    run(world)
    end(world)  # type: ignore[operator]
    world.settle()
    assert job.phase().at_rest
    assert job.rights == set()
    assert not deletes(world.look()), "what is gone is not deleted again at every look"


@pytest.mark.parametrize("end", [complete, fail, suspend])
@pytest.mark.parametrize("steps", range(8))
def test_an_operator_that_died_in_between_deletes_them_later(end: object, steps: int) -> None:
    world = World()
    job = world.add()
    run(world)
    end(world)  # type: ignore[operator]
    world.look(steps=steps)
    world.settle()
    world.now += 60
    world.settle()
    assert job.phase().at_rest and job.rights == set()


def test_a_job_that_goes_on_gets_them_again() -> None:
    world = World()
    job = world.add()
    run(world)
    suspend(world)
    world.settle()
    suspend(world, on=False)
    world.settle()
    assert job.phase() is Phase.INDEXING and job.rights == THREE

    world.indexed(shards=1, total=100)
    world.settle()
    complete(world)
    world.settle()
    assert job.phase() is Phase.COMPLETED and job.rights == set()
    job.resume = "again"
    world.settle()
    assert job.phase() is Phase.INDEXING and job.rights == THREE


def test_a_job_that_never_began_has_none_to_delete() -> None:
    world = World()
    world.add(suspend=True)
    assert not deletes(world.look())
