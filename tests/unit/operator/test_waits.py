"""Whatever a job waits for has a reason and a bound.

Whatever fails is reported, and costs neither lock nor slot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.test_reconcile import change, running
from unit.operator.world import World

from fpj_core.kube import names
from fpj_core.model import Phase
from fpj_operator.jobs.reconcile import reconcile
from fpj_operator.jobs.state import (
    DeleteChildren,
    FenceShards,
    LeaseView,
    RecordEnd,
    RecordJob,
    RefreshFolder,
    Rejected,
    ReleaseLease,
    RenewLease,
    StoreView,
)

QUOTA = (
    "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited:"
    " count/jobs.batch=5"
)


def rejecting(world: World, status: int, message: str, kind: str = "Job") -> None:
    """The API server rejects every child of a kind."""
    world.refusal = lambda manifest: (
        Rejected(kind, manifest["metadata"]["name"], status, message)
        if manifest["kind"] == kind
        else None
    )


def healed(world: World) -> None:
    world.refusal = lambda _manifest: None


# Rejected children --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Job", "ServiceAccount", "Role", "RoleBinding"])
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, QUOTA),
        (409, "Operation cannot be fulfilled on resourcequotas"),
        (429, "too many requests"),
        (500, 'failed calling webhook "jobs.example.com": connection refused'),
        (503, "the server is currently unable to handle the request"),
        (0, "the API server does not answer"),
        (
            422,
            (
                "is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
                " Jobs today"
            ),
        ),
        (400, 'admission webhook "validate.kyverno.svc-fail" denied the request: no'),
    ],
)
def test_a_rejected_child_that_may_heal_is_told_in_one_reconcile_and_tried_again(
    kind: str, status: int, message: str
) -> None:
    world = World()
    job = world.add()
    rejecting(world, status, message, kind)
    plan = world.look()
    assert job.phase() is Phase.INDEXING
    for name, holds in (("Progressing", "False"), ("Ready", "False"), ("Reconciling", "True")):
        found = job.condition(name)
        assert (found["status"], found["reason"]) == (holds, "ChildRejected")
        assert message in found["message"] and kind in found["message"]
    assert plan.requeue_after is not None and plan.requeue_after <= 15
    healed(world)
    world.settle()
    assert world.child(names.ROLE_INDEX)
    assert job.condition("Progressing")["status"] == "True"
    assert job.status["attempt"]["number"] == 1
    assert [event.reason for event in job.events].count("ChildRejected") == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (422, "Job.batch is invalid: spec.template.spec.tolerations[0].effect: Unsupported value"),
        (400, "json: cannot unmarshal"),
        (500, "failed to create typed patch object: duplicate entries for key [name=POD_NAME]"),
    ],
)
def test_a_child_that_can_never_be_taken_fails_the_job(status: int, message: str) -> None:
    world = World()
    job = world.add()
    rejecting(world, status, message)
    world.settle()
    assert job.phase() is Phase.FAILED
    assert job.condition("Failed")["reason"] == "ChildRejected"
    assert message in job.condition("Failed")["message"]
    assert world.lease.holder == ""
    assert world.applied <= 4, "its rights and the Job itself, once"


def test_a_rejection_in_the_plan_that_begins_an_attempt_is_no_loss_of_records() -> None:
    world = World()
    world.add()
    world.settle()
    rejected = Rejected("Job", "x", 403, QUOTA)
    # Read before it was recorded.
    observed = replace(world.observe("photos"), rejected=rejected, store=StoreView())
    plan = reconcile(observed, world.settings)
    assert plan.status and plan.status["phase"] == "Indexing"
    assert not plan.again


def test_a_rejected_wave_is_told_too() -> None:
    world = World()
    job = world.add()
    world.settle()
    rejecting(world, 403, QUOTA)
    world.indexed()
    world.look()
    assert job.condition("Progressing")["reason"] == "ChildRejected"
    healed(world)
    world.settle()
    assert job.phase() is Phase.RUNNING
    assert job.condition("Progressing")["status"] == "True"


def test_a_long_rejection_keeps_the_lease_and_costs_no_attempt() -> None:
    world = World()
    job = world.add(preRunningDeadlineSeconds=0)
    rejecting(world, 403, QUOTA)
    for _ in range(200):
        plan = world.look()
        assert plan.requeue_after and plan.requeue_after <= 15
        world.now += plan.requeue_after
    assert world.now > 1_000_000 + 3 * world.settings.lease_seconds
    assert world.lease.held_by(job.uid, world.now)
    assert (job.status["attempt"]["number"], job.status["recoveryAttempts"]) == (1, 0)
    assert job.writes <= 3, "the same words are written once"


def test_a_server_that_asks_to_wait_is_heeded() -> None:
    world = World()
    world.add()
    world.refusal = lambda manifest: Rejected(
        "Job", manifest["metadata"]["name"], 429, "busy", 25.0
    )
    assert world.look().requeue_after == 25


# Leases -------------------------------------------------------------------------------------------


def test_a_lease_that_is_lost_again_and_again_ends_the_job() -> None:
    world = World()
    job = world.add(recovery={"maxAttempts": 2})
    for lost in (1, 2):
        running(world)
        world.lease = LeaseView()
        world.settle()
        assert job.status["recoveryAttempts"] == lost
        assert job.phase() is Phase.INDEXING
    running(world)
    world.lease = LeaseView()
    world.settle()
    assert job.phase() is Phase.FAILED
    assert job.condition("Failed")["reason"] == "LeaseLost"
    assert all(child.finished for child in job.children.values())


def test_ones_own_lease_that_lapsed_is_renewed_and_costs_no_recovery() -> None:
    world = World()
    job = world.add()
    running(world)
    world.now += world.settings.lease_seconds + 60  # the API server was away; the pods went on
    world.progressed()
    assert not world.lease.held_by(job.uid, world.now)
    world.settle()
    assert job.phase() is Phase.RUNNING and job.fenced == 0
    assert (job.status["attempt"]["number"], job.status["recoveryAttempts"]) == (1, 0)
    assert world.lease.expires_at == world.now + world.settings.lease_seconds


def test_a_lapsed_lease_that_somebody_had_meanwhile_is_lost_although_nobody_holds_it_now() -> None:
    world = World()
    job = world.add()
    running(world)
    world.now += world.settings.lease_seconds + 60
    world.progressed()
    # `fpj run` came and went.
    world.database.holder, world.database.fence = "", world.database.fence + 1
    world.look()
    assert job.phase() is Phase.RECOVERING and job.condition("Progressing")["reason"] == "LeaseLost"
    assert job.fenced == 1 and job.status["recoveryAttempts"] == 1
    world.settle()
    assert job.phase() is Phase.INDEXING
    assert job.status["attempt"]["fence"] == world.database.fence, (
        "the fence that the workers have counts in the store"
    )


def test_a_lapsed_lease_is_not_renewed_without_the_store() -> None:
    world = World()
    job = world.add()
    running(world)
    world.now += world.settings.lease_seconds + 60
    world.store_error = "no primary"
    world.look()
    assert (
        job.condition("Progressing")["reason"] == "StoreUnavailable"
        and world.lease.expires_at < world.now
    )
    world.store_error = None
    world.progressed()
    world.settle()
    assert job.phase() is Phase.RUNNING and job.status["recoveryAttempts"] == 0


@pytest.mark.parametrize("lately", ["wave", "rejected", "end", "nothing"])
def test_the_lease_is_renewed_before_anything_that_can_fail(lately: str) -> None:
    world = World()
    world.add()
    world.settle()
    if lately == "wave":
        world.indexed()
    if lately == "end":
        world.indexed(shards=0)
    world.now += 150
    observed = world.observe("photos")
    if lately == "rejected":
        observed = replace(observed, rejected=Rejected("Job", "x", 403, QUOTA))
    plan = reconcile(observed, world.settings)
    assert plan.steps_first[0] == RenewLease()


def test_a_renewal_that_finds_another_holder_stops_the_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    job = world.add()
    running(world)
    world.now += 150
    observed, ours = world.observe("photos"), world.lease
    world.lease = LeaseView("thief", "thief", ours.fence + 1, world.now + 100)
    monkeypatch.setattr(world, "observe", lambda _name: observed)  # read just before the thief came
    world.look()
    assert job.phase() is Phase.RECOVERING
    assert job.fenced


# The end ------------------------------------------------------------------------------------------


def ended_at(step: int) -> tuple[World, Any]:
    """A job at whose end the operator dies after so many steps."""
    world = World()
    job = world.add()
    running(world, shards=1, total=10)
    world.worked(shard=0, completed=10)
    world.look(steps=step)
    return world, job


def test_the_status_comes_before_everything_that_may_take_long() -> None:
    world = World()
    world.add()
    running(world, shards=1, total=10)
    world.worked(shard=0, completed=10)
    plan = reconcile(world.observe("photos"), world.settings)
    assert not plan.steps_first
    order = [type(step) for step in plan.steps_after]
    assert order.index(ReleaseLease) < order.index(RefreshFolder) < order.index(RecordEnd)


@pytest.mark.parametrize("step", range(9))
def test_an_operator_that_dies_at_the_end_leaves_nothing_undone(step: int) -> None:
    world, job = ended_at(step)
    for _ in range(3):
        world.look()
    assert job.phase() is Phase.COMPLETED
    assert world.lease.holder == ""
    assert job.refreshed >= 1
    assert job.record.phase is Phase.COMPLETED and job.record.finished_at
    writes, refreshed = job.writes, job.refreshed
    world.now += 11
    for _ in range(3):
        world.look()
    assert (job.writes, job.refreshed) == (writes, refreshed), "at rest nothing is written"
    assert all(child.finished for child in job.children.values())


def test_a_child_job_that_would_never_end_is_deleted() -> None:
    """A rescued shard leaves an index that nobody needs.

    Its pods may just be ending, so they are given a moment.
    """
    world = World()
    job = world.add()
    running(world, shards=1, total=10)
    world.worked(shard=0, completed=10)
    plan = world.look()
    assert job.phase() is Phase.COMPLETED
    assert world.child(names.ROLE_SHARDS)
    assert plan.requeue_after is not None
    world.now += plan.requeue_after
    world.look()
    assert world.child(names.ROLE_SHARDS) is None
    assert [child.finished for child in job.children.values()] == [True], (
        "the index Job stays for its logs"
    )


def test_an_end_without_the_store_is_told_and_tidied_up_later() -> None:
    world = World()
    job = world.add()
    running(world, shards=1, total=10)
    world.worked(shard=0, completed=10)
    world.store_fails_at = RecordJob
    plan = world.look()
    assert job.phase() is Phase.COMPLETED
    assert plan.requeue_after is not None
    world.store_fails_at = world.store_error = None
    world.look()
    assert world.lease.holder == ""
    assert job.record and job.record.finished_at


# Bounds -------------------------------------------------------------------------------------------

CAUSES = [
    "HeldByQueue",
    "PodsUnschedulable",
    "PodsForbidden",
    "ImagePullFailed",
    "PodConfigInvalid",
    "MountFailed",
    "PodsNotStarted",
]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("stage", ["indexing", "running"])
def test_pods_that_never_run_end_the_job_with_the_last_cause(cause: str, stage: str) -> None:
    world = World()
    job = world.add(preRunningDeadlineSeconds=100)
    if stage == "running":
        running(world)
    else:
        world.settle()
    child = world.child(names.ROLE_SHARDS if stage == "running" else names.ROLE_INDEX)
    assert child
    job.children[child.name] = replace(child, trouble=(cause, "claim 'phtos' not found"))
    world.settle()
    world.now += 99
    world.settle()
    assert not job.phase().finished
    world.now += 2
    world.settle()
    assert job.condition("Failed")["reason"] == "PreRunningDeadlineExceeded"
    assert (
        cause in job.condition("Failed")["message"]
        and "phtos" in job.condition("Failed")["message"]
    )


def test_a_rejection_without_end_meets_the_deadline_too() -> None:
    world = World()
    job = world.add()
    rejecting(world, 403, QUOTA)
    for _ in range(400):
        assert job.status.get("attempt", {}).get("number", 1) == 1
        if job.phase().finished:
            break
        world.now += world.look().requeue_after or 15
    assert job.condition("Failed")["reason"] == "PreRunningDeadlineExceeded"
    assert "exceeded quota" in job.condition("Failed")["message"]


def test_images_done_count_as_having_run() -> None:
    world = World()
    job = world.add(preRunningDeadlineSeconds=100, recovery={"staleAfterSeconds": 600})
    running(world)
    world.now += 90
    world.worked(shard=0, completed=1)
    child = world.child(names.ROLE_SHARDS)
    assert child
    job.children[child.name] = replace(child, trouble=("PodsUnschedulable", "preempted"))
    world.now += 90
    world.settle()
    assert job.phase() is Phase.RUNNING
    world.now += 20
    world.settle()
    assert job.condition("Failed")["reason"] == "PreRunningDeadlineExceeded"


def test_the_deadline_ends_a_job_that_is_recovering() -> None:
    world = World()
    job = world.add(activeDeadlineSeconds=100)
    running(world)
    world.lease = LeaseView("thief", "thief", 7, world.now + 1_000_000)
    world.settle()
    assert job.phase() is Phase.RECOVERING
    world.now += 101
    world.settle()
    assert job.condition("Failed")["reason"] == "DeadlineExceeded"
    assert world.lease.holder == "thief"


def test_a_suspension_is_not_counted_though_the_job_then_waits_for_its_lock() -> None:
    world = World()
    job = world.add(activeDeadlineSeconds=100)
    running(world)
    change(world, suspend=True)
    world.settle()
    world.now += 1_000
    world.lease = LeaseView("thief", "thief", 7, world.now + 50)
    change(world, suspend=False)
    world.settle()
    assert job.phase() is Phase.PENDING
    assert "startTime" not in job.status
    world.now += 51
    world.settle()
    assert job.phase() is Phase.INDEXING


# Slots --------------------------------------------------------------------------------------------


def elsewhere(name: str) -> dict[str, Any]:
    """Another collection."""
    return {"id": name, "source": {"persistentVolumeClaim": {"claimName": "photos"}}}


def troubled(world: World, name: str, reason: str) -> None:
    resource = world.resources[name]
    for child in [each for each in resource.children.values() if not each.finished]:
        resource.children[child.name] = replace(
            child, trouble=(reason, "not yet") if reason else None
        )


def test_a_job_that_cannot_run_gives_its_slot_up_and_waits_for_one_when_it_can() -> None:
    world = World(settings=replace(World().settings, max_concurrent_jobs=1))
    mistyped, good = world.add("mistyped"), world.add("okay", collection=elsewhere("okay"))
    world.settle("mistyped")
    world.settle("okay")
    assert good.condition("Ready")["reason"] == "Queued"
    troubled(world, "mistyped", "PodsUnschedulable")
    world.settle("mistyped")
    lock, world.lease = world.lease, LeaseView()  # of the other collection
    world.settle("okay")
    assert good.phase() is Phase.INDEXING
    world.lease = lock
    troubled(world, "mistyped", "")
    world.settle("mistyped")
    assert mistyped.condition("Progressing")["reason"] == "Queued"
    child = world.child(names.ROLE_INDEX, "mistyped")
    assert child and child.suspended and not child.active, "no more than one job's pods run"
    good.status["phase"] = "Completed"
    world.settle("mistyped")
    child = world.child(names.ROLE_INDEX, "mistyped")
    assert child and not child.suspended
    assert mistyped.condition("Progressing")["status"] == "True"
    assert mistyped.status["attempt"]["number"] == 1


def test_pods_that_kueue_admits_run() -> None:
    world = World(settings=replace(World().settings, max_concurrent_jobs=1))
    held = world.add("held", queueName="team")
    world.settle("held")
    troubled(world, "held", "HeldByQueue")
    world.settle("held")
    world.add("other", collection=elsewhere("other"))
    world.lease = LeaseView()
    world.settle("other")
    world.lease = LeaseView(held.uid, "held", 1, world.now + 300)
    troubled(world, "held", "")
    world.settle("held")
    assert held.condition("Progressing")["status"] == "True"
    child = world.child(names.ROLE_INDEX, "held")
    assert child and not child.suspended


def test_who_waits_for_the_lock_says_so_and_nothing_else() -> None:
    world = World(settings=replace(World().settings, max_concurrent_jobs=2))
    world.add("holder")
    running(world, "holder")
    waiters = [world.add(f"waiter-{number}") for number in range(5)]
    for _ in range(20):
        for waiter in waiters:
            world.look(str(waiter.job.metadata.name))
        world.now += 5
    assert {waiter.condition("Ready")["reason"] for waiter in waiters} == {"CollectionLocked"}
    assert {waiter.writes for waiter in waiters} == {1}


# Without the store --------------------------------------------------------------------------------


def test_a_job_suspended_without_the_store_says_so_and_is_fenced_first_when_it_is_back() -> None:
    world = World()
    job = world.add()
    running(world)
    world.store_error = "no server answers"
    change(world, suspend=True)
    plan = world.settle()
    assert job.phase() is Phase.SUSPENDED
    assert not [child for child in job.children.values() if not child.finished]
    assert "no server answers" in job.condition("Suspended")["message"]
    assert job.fenced == 0 and plan.requeue_after
    world.store_error = None
    plan = reconcile(world.observe("photos"), world.settings)
    assert [type(step) for step in plan.steps_first[:2]] == [RecordJob, FenceShards]
    world.settle()
    assert job.fenced == 1 and world.lease.holder == ""
    assert "no server answers" not in job.condition("Suspended")["message"]


def test_a_job_that_goes_on_at_once_after_such_a_suspension_is_fenced_first() -> None:
    world = World()
    job = world.add()
    running(world)
    world.store_error = "no server answers"
    change(world, suspend=True)
    world.settle()
    world.store_error = None
    change(world, suspend=False)
    world.settle()
    assert (job.phase(), job.fenced) == (Phase.INDEXING, 1)


def test_the_lease_lives_on_without_the_store() -> None:
    world = World()
    job = world.add(preRunningDeadlineSeconds=0)
    running(world)
    world.store_error = "no server answers"
    for _ in range(20):
        world.now += 100
        world.look()
    assert world.lease.held_by(job.uid, world.now)
    world.store_error = None
    world.progressed()
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.RUNNING, 1)


def test_a_store_that_goes_away_in_the_middle_of_a_plan_is_told_at_once() -> None:
    world = World()
    job = world.add()
    world.store_fails_at = RecordJob
    world.look()
    assert job.condition("Ready")["reason"] == "StoreUnavailable"
    world.store_fails_at = world.store_error = None
    running(world)
    job.resume = "now"
    world.store_fails_at = FenceShards
    world.look()
    assert job.condition("Progressing")["reason"] == "StoreUnavailable"


def test_deleting_children_of_a_failed_job_leaves_those_that_ended() -> None:
    world = World()
    world.add(activeDeadlineSeconds=10)
    running(world)
    world.now += 11
    plan = reconcile(world.observe("photos"), world.settings)
    assert DeleteChildren(1, finished_too=False) in plan.steps_after
