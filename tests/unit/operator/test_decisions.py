"""Single decisions whose loss no path through a job's life shows: what is done in which order,
and what is not done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.world import SETTINGS, World

from fpj_core.model import Counts, Job, Phase
from fpj_core.v1alpha1.workertemplate import WorkerTemplate
from fpj_operator.emit import Emit
from fpj_operator.jobs.reconcile import reconcile
from fpj_operator.jobs.state import DeleteChildren, FenceShards, Observed, RecordJob, ReleaseLease


def running(**spec: Any) -> World:
    world = World()
    world.add(**spec)
    world.look()
    world.indexed()
    world.look()
    assert world.resources["photos"].phase() is Phase.RUNNING
    return world


def observed(world: World) -> Observed:
    return world.observe("photos")


def test_a_failed_job_is_fenced_once_the_record_says_so() -> None:
    world = running(maxFailedImages=0)
    world.worked(shard=0, completed=99, failed=1)
    plan = reconcile(observed(world), SETTINGS)
    assert plan.status is not None and plan.status["phase"] == "Failed"
    kinds = [type(step) for step in plan.steps_after]
    assert kinds.index(RecordJob) < kinds.index(FenceShards) < kinds.index(ReleaseLease)


def test_an_attempt_that_is_given_up_is_recorded_as_over_before_its_shards_are_taken() -> None:
    """A pod that claims one looks at the record afterwards: whichever comes first,
    it is refused.
    """
    world = running()
    world.now += 10_000
    steps = reconcile(observed(world), SETTINGS).steps_first
    kinds = [
        type(step) for step in steps if isinstance(step, RecordJob | FenceShards | DeleteChildren)
    ]
    assert kinds == [RecordJob, FenceShards, DeleteChildren]


def test_a_recovery_that_was_begun_and_not_finished_is_begun_again() -> None:
    world = running()
    resource = world.resources["photos"]
    assert resource.record is not None
    resource.record = replace(resource.record, phase=Phase.RECOVERING)
    plan = reconcile(observed(world), SETTINGS)
    assert plan.status is not None and plan.status["phase"] == "Recovering"


def test_a_child_job_that_is_being_deleted_is_none() -> None:
    world = running()
    resource = world.resources["photos"]
    for name, child in resource.children.items():
        resource.children[name] = replace(child, deleting=True)
    plan = reconcile(observed(world), SETTINGS)
    applied = [step.manifest["kind"] for step in plan.steps_first if hasattr(step, "manifest")]
    assert applied == ["Job"], "another takes its place"


def test_the_end_without_the_store_gives_no_lease_back() -> None:
    world = running(activeDeadlineSeconds=60)
    world.now += 61
    seen = observed(world)
    plan = reconcile(
        replace(seen, store=replace(seen.store, error="away"), rejected=None), SETTINGS
    )
    assert not any(isinstance(step, ReleaseLease) for step in plan.steps_after)
    for left in (seen, replace(seen, phase=Phase.COMPLETED)):
        away = replace(
            left,
            store=replace(left.store, error="away"),
            job=None,
            attempt=replace(left.attempt, number=0),
        )
        plan = reconcile(away, SETTINGS)
        assert not any(
            isinstance(step, ReleaseLease) for step in (*plan.steps_first, *plan.steps_after)
        )


def test_a_resume_from_before_the_end_is_answered_by_it() -> None:
    world = World()
    world.add()
    asked = replace(
        observed(world), job=None, problem="spec: wrong", resume="asked before it could begin"
    )
    plan = reconcile(asked, SETTINGS)
    assert plan.status is not None and plan.status["phase"] == "Failed"
    assert plan.status["attempt"]["resumedBy"] == "asked before it could begin", (
        "else it would begin again at once"
    )


def test_a_running_job_that_comes_to_ask_for_what_is_forbidden_fails() -> None:
    world = running()
    world.resources["photos"].edit(worker_template=template())
    plan = reconcile(observed(world), SETTINGS)
    assert plan.status is not None and plan.status["phase"] == "Failed"
    assert "PolicyForbidden" in str(plan.status["conditions"])


def template() -> object:
    return WorkerTemplate.model_validate({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]})


@pytest.mark.parametrize(("failed", "said"), [(9, ""), (10, "1-10"), (19, "1-10"), (20, "1-20")])
def test_an_alert_at_every_tenth_failed_image(failed: int, said: str) -> None:
    world = running()
    world.resources["photos"].counts = Counts(
        completed=1, failed=failed, errors={"CorruptImage": failed}
    )
    steps = reconcile(observed(world), SETTINGS).steps_after
    alerts = [
        step.unique for step in steps if isinstance(step, Emit) and step.reason == "ImagesFailing"
    ]
    assert alerts == ([said] if said else [])


def test_a_message_is_no_longer_than_a_status_has_room_for() -> None:
    world = World()
    world.add()
    plan = reconcile(replace(observed(world), job=None, problem="x" * 100_000), SETTINGS)
    assert plan.status is not None
    assert max(len(each["message"]) for each in plan.status["conditions"]) < 5_000


def test_the_next_attempt_has_a_number_that_neither_store_nor_status_has_used() -> None:
    world = World()
    world.add()
    seen = observed(world)
    used = Job(seen.uid, "photos", "team.photos", {}, "", planning_attempt=6, planned_attempt=5)
    assert replace(seen, store=replace(seen.store, record=used)).latest_attempt == 6
    assert replace(seen, attempt=replace(seen.attempt, number=7)).latest_attempt == 7
    assert seen.latest_attempt == 0
