"""The table of decisions: what is observed, and what must follow."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.world import World, folder_resource

from fpj_core.formatting import moment
from fpj_core.kube import names
from fpj_core.kube.names import WAVE
from fpj_core.model import Counts, Phase, ShardState
from fpj_core.v1alpha1.job import Cache, Sharding, Tier
from fpj_operator.emit import Emit
from fpj_operator.jobs.reconcile import reconcile
from fpj_operator.jobs.state import Apply, LeaseView


def running(world: World, name: str = "photos", **plan: Any) -> None:
    world.settle(name)
    world.indexed(name, **plan)
    world.settle(name)


def change(world: World, name: str = "photos", **spec: Any) -> None:
    resource = world.resources[name]
    job = resource.job
    resource.job = job.model_copy(update={"spec": job.spec.model_copy(update=spec)})


def test_the_straight_road() -> None:
    world = World()
    job = world.add()
    world.settle()
    assert job.phase() is Phase.INDEXING
    assert job.writes == 1, "one status write until the index Job is there"
    assert world.lease.holder == job.uid
    assert job.condition("CollectionLocked")["status"] == "True"
    assert job.record is not None
    world.indexed(shards=2, total=200)
    world.settle()
    assert job.phase() is Phase.RUNNING
    assert world.child(names.ROLE_SHARDS) is not None
    world.worked(shard=0, completed=100)
    world.settle()
    assert job.phase() is Phase.RUNNING
    world.worked(shard=1, completed=100)
    world.settle()
    assert job.phase() is Phase.COMPLETED
    assert job.status["progress"]["completed"] == 200
    assert job.status["completionTime"] == moment(world.now)
    assert [
        job.condition(name)["status"]
        for name in ("Complete", "Ready", "Failed", "Reconciling", "Stalled")
    ] == [
        "True",
        "True",
        "False",
        "False",
        "False",
    ]
    assert world.lease.holder == ""
    assert [event.reason for event in job.events] == ["Indexing", "Running", "Completed"]
    assert job.record.phase is Phase.COMPLETED


def test_nothing_to_do_is_done_at_once() -> None:
    world = World()
    job = world.add()
    world.settle()
    world.indexed(shards=0, total=500, skipped=500)
    world.settle()
    assert job.phase() is Phase.COMPLETED
    assert job.status["progress"]["skipped"] == 500
    assert world.child(names.ROLE_SHARDS) is None


def test_failed_images_are_completed_with_errors_and_each_ten_are_an_event() -> None:
    world = World()
    job = world.add()
    running(world, shards=3, total=300)
    for shard, failed in enumerate((9, 3, 25)):
        world.worked(shard=shard, completed=100 - failed, failed=failed)
        world.settle()
        world.settle()
    assert job.phase() is Phase.COMPLETED_WITH_ERRORS
    assert job.status["errorBreakdown"] == {"CorruptImage": 37}
    assert [event.message[:2] for event in job.events if event.reason == "ImagesFailing"] == [
        "12",
        "37",
    ]


def test_a_second_job_on_the_collection_waits_and_then_runs() -> None:
    world = World()
    first, second = world.add("first"), world.add("second")
    running(world, "first", shards=1, total=10)
    world.settle("second")
    assert second.phase() is Phase.PENDING
    assert second.condition("CollectionLocked")["status"] == "False"
    assert "first" in second.condition("CollectionLocked")["message"]
    world.worked("first", shard=0, completed=10)
    world.settle("first")
    assert first.phase() is Phase.COMPLETED
    world.settle("second")
    assert second.phase() is Phase.INDEXING


@pytest.mark.parametrize(("priority", "starts"), [(0, "old"), (5, "urgent")])
def test_slots_go_by_priority_then_age(priority: int, starts: str) -> None:
    world = World(settings=replace(World().settings, max_concurrent_jobs=1))
    world.add("busy")
    world.settle("busy")
    source = {"persistentVolumeClaim": {"claimName": "photos"}}
    world.add("old", collection={"id": "old", "source": source})
    world.now += 5
    world.add("urgent", priority=priority, collection={"id": "urgent", "source": source})
    for name in ("urgent", "old"):
        world.settle(name)
        assert world.resources[name].condition("Ready")["reason"] == "Queued"
    world.indexed("busy", shards=0)
    world.settle("busy")
    for name in ("urgent", "old"):
        world.settle(name)
    assert [n for n, r in world.resources.items() if r.phase() is Phase.INDEXING] == [starts]


def test_no_cache_folder_is_waited_for() -> None:
    world = World()
    job = world.add()
    folder, world.folder = world.folder, None
    assert world.settle().requeue_after
    assert job.condition("Ready")["reason"] == "NoCacheFolder"
    world.folder = folder
    world.settle()
    assert job.phase() is Phase.INDEXING


@pytest.mark.parametrize(
    ("path", "said"), [("album", "is the source itself"), (None, "lies above the source")]
)
def test_a_cache_folder_that_overlaps_the_source_is_refused(path: str | None, said: str) -> None:
    """Before any pod can write there, or take its outputs for images."""
    world = World()
    world.folder = folder_resource(claimName="photos", path=path)
    source = {"persistentVolumeClaim": {"claimName": "photos", "path": "/album/"}}
    job = world.add(collection={"id": "photos", "source": source}, cacheFolder="cache")
    world.settle()
    assert job.phase() is Phase.FAILED and world.applied == 0
    assert job.condition("Failed")["reason"] == "CacheFolderUnusable"
    assert f"cache folder cache {said}" in job.condition("Failed")["message"]


@pytest.mark.parametrize("stage", ["pending", "indexing", "running"])
def test_suspending_stops_and_resuming_goes_on(stage: str) -> None:
    world = World()
    job = world.add()
    if stage == "indexing":
        world.settle()
    if stage == "running":
        running(world)
    change(world, suspend=True)
    world.settle()
    assert job.phase() is Phase.SUSPENDED
    assert job.condition("Suspended")["status"] == job.condition("Ready")["status"] == "True", (
        "it is as it should be"
    )
    assert job.condition("Complete")["status"] == job.condition("Reconciling")["status"] == "False"
    assert not job.children
    assert world.lease.holder == ""
    assert job.fenced == (stage != "pending")
    change(world, suspend=False)
    world.settle()
    assert job.phase() is Phase.INDEXING
    assert job.status["attempt"]["number"] == (1 if stage == "pending" else 2)


@pytest.mark.parametrize("store_error", [None, "unreachable"])
@pytest.mark.parametrize("end", [{"suspend": True}, {"active_deadline_seconds": 1}])
def test_a_job_at_rest_shows_no_time_left(end: dict[str, Any], store_error: str | None) -> None:
    """Whether the numbers come from the store or are those that a worker reported last."""
    world = World()
    job = world.add()
    running(world)
    assert job.record
    job.record = replace(job.record, running_since=world.now - 10)
    world.worked(shard=0, completed=100)
    job.status["display"] = {"progress": "40%", "done": "120/300", "rate": "2.0/s", "eta": "1m30s"}
    world.now += 2
    change(world, **end)
    world.store_error = store_error
    world.settle()
    if store_error and "suspend" not in end:
        assert job.phase() is Phase.RUNNING, "what cannot be looked at is not ended"
        return
    assert job.phase() in (Phase.SUSPENDED, Phase.FAILED)
    assert job.status["display"]["eta"] == "-"
    assert job.status["display"]["done"] == ("120/300" if "suspend" in end else "100/300")


def test_silence_is_recovered_and_in_the_end_given_up() -> None:
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 2})
    for recovery in (1, 2):
        running(world)
        world.now += 59
        world.settle()
        assert job.phase() is Phase.RUNNING
        world.now += 2
        world.settle()
        assert job.phase() is Phase.INDEXING
        assert job.status["recoveryAttempts"] == recovery
        assert job.status["attempt"]["number"] == recovery + 1
    running(world)
    world.now += 61
    world.settle()
    assert job.phase() is Phase.FAILED
    assert job.condition("Failed")["reason"] == "StaleJob"
    assert all(child.finished for child in job.children.values())
    assert world.lease.holder == ""


def test_a_job_whose_last_pods_are_silent_does_not_wait_until_it_is_stale() -> None:
    world = World()
    world.add(recovery={"maxAttempts": 1})
    running(world)
    silent = replace(world.observe("photos"), stalled=("pod-7",))
    plan = reconcile(silent, world.settings)
    assert plan.status is not None and (plan.status["phase"], plan.status["recoveryAttempts"]) == (
        "Recovering",
        1,
    )
    (event,) = [each for each in plan.steps_after if isinstance(each, Emit)]
    assert "pod-7" in event.message
    plan = reconcile(
        replace(silent, status={**silent.status, "recoveryAttempts": 1}), world.settings
    )
    assert plan.status is not None and plan.status["phase"] == "Failed"
    (failed,) = [each for each in plan.status["conditions"] if each["type"] == "Failed"]
    assert failed["reason"] == "StaleJob"


def test_what_the_source_holds_beside_is_said_of_the_latest_listing() -> None:
    world = World()
    job = world.add()
    world.settle()
    assert "leftOut" not in job.status
    world.indexed()
    assert job.record is not None
    job.record = replace(job.record, left_out={"raw": 3, "excluded": 7})
    world.settle()
    assert job.status["leftOut"] == {"raw": 3, "excluded": 7}
    job.record = replace(job.record, left_out={})
    world.settle()
    assert "leftOut" not in job.status


def test_progress_keeps_a_job_from_being_stale() -> None:
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60})
    running(world, shards=9)
    for shard in range(8):
        world.now += 50
        world.worked(shard=shard, completed=1)
        world.settle()
    assert job.phase() is Phase.RUNNING
    assert job.status["recoveryAttempts"] == 0


def test_between_attempts_a_job_that_has_to_wait_gives_the_lock_back() -> None:
    """What its status says of the lock is so: whoever else wants the collection need not wait for
    it.
    """
    world = World()
    job = world.add()
    running(world)
    world.folder = None
    job.resume = "now"
    world.settle()
    assert (job.phase(), job.condition("Progressing")["reason"]) == (
        Phase.RECOVERING,
        "NoCacheFolder",
    )
    assert job.condition("CollectionLocked")["status"] == "False"
    assert not world.lease.held_by(job.uid, world.now)


def test_the_lease_is_renewed_in_time_and_a_lost_one_fences() -> None:
    world = World()
    job = world.add()
    running(world)
    world.now += 150
    world.progressed()
    world.settle()
    assert world.lease.expires_at == world.now + world.settings.lease_seconds
    world.lease = LeaseView("thief", "thief", 7, world.now + 100)
    world.database.holder, world.database.fence = "thief", 7
    world.settle()
    assert job.fenced == 1
    assert not job.children
    assert job.phase() is Phase.RECOVERING
    assert job.condition("CollectionLocked")["status"] == "False"
    assert world.lease.holder == "thief"
    world.now += 101
    world.settle()
    assert job.phase() is Phase.INDEXING
    attempt = job.status["attempt"]
    assert (attempt["number"], attempt["fence"], attempt["cacheFolder"]) == (2, 8, "cache")


def test_resume_works_only_once_per_value() -> None:
    world = World()
    job = world.add(maxFailedImages=1, activeDeadlineSeconds=100)
    running(world, total=30)
    world.worked(shard=0, failed=5)
    world.settle()
    assert job.condition("Failed")["reason"] == "TooManyFailedImages"
    world.now += 1_000
    job.resume = "now"
    world.settle()
    assert job.phase() is Phase.INDEXING
    assert job.status["startTime"] == moment(world.now), "the deadline counts from the resume"
    assert "completionTime" not in job.status
    running(world, shards=0)
    assert job.phase() is Phase.COMPLETED
    assert job.status["attempt"]["resumedBy"] == "now"
    before = dict(job.status)
    world.settle()
    assert job.status == before


def test_a_running_job_is_recovered_by_the_annotation() -> None:
    world = World()
    job = world.add()
    running(world)
    job.resume = "again"
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.INDEXING, 2)
    running(world)
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.RUNNING, 2)


def test_the_deadline_ends_a_job() -> None:
    world = World()
    job = world.add(activeDeadlineSeconds=100)
    running(world)
    world.now += 101
    world.settle()
    assert job.condition("Failed")["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("allowed", "fails"), [(5, False), (4, True), ("2%", True), ("50%", False)]
)
def test_failed_images_are_bounded(allowed: int | str, fails: bool) -> None:
    world = World()
    job = world.add(maxFailedImages=allowed)
    running(world, total=100)
    world.worked(shard=0, failed=5)
    world.settle()
    assert (job.phase() is Phase.FAILED) == fails


def test_an_index_that_cannot_heal_fails_with_its_own_reason() -> None:
    world = World()
    job = world.add()
    world.settle()
    child = world.child(names.ROLE_INDEX)
    assert child
    trouble = ("SourceNotFound", "/source/pics: No such file or directory")
    job.children[child.name] = replace(child, failed=True, trouble=trouble)
    world.settle()
    assert (job.condition("Failed")["reason"], job.condition("Failed")["message"]) == trouble


def test_trouble_shows_and_heals() -> None:
    world = World()
    job = world.add()
    world.settle()
    child = world.child(names.ROLE_INDEX)
    assert child
    job.children[child.name] = replace(child, trouble=("ImagePullFailed", "not found"))
    world.settle()
    assert job.condition("Progressing") | {"lastTransitionTime": ""} == {
        "type": "Progressing",
        "status": "False",
        "reason": "ImagePullFailed",
        "message": "not found",
        "observedGeneration": 1,
        "lastTransitionTime": "",
    }
    assert job.phase() is Phase.INDEXING
    job.children[child.name] = child
    world.settle()
    assert job.condition("Progressing")["status"] == "True"


@pytest.mark.parametrize("reason", ["HeldByQueue", "PodsUnschedulable", "PodsForbidden"])
def test_waiting_for_others_is_not_silence(reason: str) -> None:
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60}, preRunningDeadlineSeconds=0)
    running(world)
    child = world.child(names.ROLE_SHARDS)
    assert child
    job.children[child.name] = replace(child, trouble=(reason, "not yet"))
    world.settle()
    for _ in range(50):
        world.now += 100
        world.settle()
    assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.RUNNING, 0)
    job.children[child.name] = child
    world.settle()
    world.now += 59
    world.settle()
    assert job.phase() is Phase.RUNNING, "the clock begins when it may work"
    world.now += 2
    world.settle()
    assert job.status["recoveryAttempts"] == 1


def test_pods_that_gave_up_on_the_store_are_tried_again_within_bounds() -> None:
    world = World()
    job = world.add(recovery={"maxAttempts": 2})
    trouble = ("StoreUnavailable", "no server answers")
    for attempt in (1, 2):
        world.settle()
        child = world.child(names.ROLE_INDEX)
        assert child
        job.children[child.name] = replace(child, failed=True, trouble=trouble)
        world.settle()
        assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.INDEXING, attempt)
    running(world)
    world.ended(failed=True, trouble=trouble)
    world.settle()
    assert job.condition("Failed")["reason"] == "StoreUnavailable"


def test_an_earlier_wave_that_is_collected_is_not_made_again() -> None:
    world = World()
    job = world.add()
    running(world, shards=2 * WAVE, total=10**6)
    world.ended(failed=True)
    world.settle()
    first = world.child(names.ROLE_SHARDS)
    assert first
    del job.children[first.name]
    world.settle()
    assert world.child(names.ROLE_SHARDS) is None
    world.ended(wave=1)
    world.settle()
    assert job.phase() is Phase.FAILED


def test_a_suspension_does_not_count_against_the_deadline() -> None:
    world = World()
    job = world.add(activeDeadlineSeconds=100)
    running(world)
    change(world, suspend=True)
    world.settle()
    world.now += 1_000
    change(world, suspend=False)
    world.settle()
    assert job.phase() is Phase.INDEXING
    assert job.status["startTime"] == moment(world.now)


def test_shards_come_in_waves() -> None:
    world = World()
    job = world.add()
    running(world, shards=2 * WAVE + 5, total=10**6)
    assert world.child(names.ROLE_SHARDS, wave=1) is None
    for wave in range(3):
        assert world.child(names.ROLE_SHARDS, wave=wave) is not None
        world.ended(wave=wave)
        if wave == 2:
            job.shards = [ShardState.SUCCEEDED] * len(job.shards)
            job.counts = Counts(completed=10**6)
        world.settle()
    assert job.phase() is Phase.COMPLETED


def test_a_wave_has_at_most_a_thousand_completions_and_names_its_shards() -> None:
    world = World()
    world.add()
    world.settle()
    world.indexed(shards=WAVE + 5)
    plan = reconcile(world.observe("photos"), world.settings)
    (job,) = [step.manifest for step in plan.steps_first if isinstance(step, Apply)]
    assert job["spec"]["completions"] == WAVE
    assert job["spec"]["parallelism"] == 4


def test_failed_shards_are_counted_over_all_waves() -> None:
    """And a wave that has more of them than are allowed is the last."""
    world = World()
    job = world.add(sharding={"maxFailedShards": 5})
    running(world, shards=3 * WAVE, total=10**6)
    job.shards[3:WAVE] = [ShardState.SUCCEEDED] * (WAVE - 3)
    world.ended(failed=True)
    (second,) = [step.manifest for step in world.look().steps_first if isinstance(step, Apply)]
    assert second["spec"]["maxFailedIndexes"] == 2, "three of five have failed"
    job.shards[WAVE + 3 : 2 * WAVE] = [ShardState.SUCCEEDED] * (WAVE - 3)
    world.ended(wave=1, failed=True, trouble=("OutOfMemory", "it needs more"))
    world.settle()
    assert world.child(names.ROLE_SHARDS, wave=2) is None
    assert (job.phase(), job.condition("Failed")["reason"]) == (Phase.FAILED, "OutOfMemory")


def test_a_wave_that_gave_up_is_the_last() -> None:
    """What no pod can do (exit code 40), or too many failures, would end the next wave, too."""
    world = World()
    job = world.add()
    running(world, shards=2 * WAVE, total=10**6)
    world.ended(failed=True, trouble=("SourceUnreadable", "/source: Permission denied"))
    child = world.child(names.ROLE_SHARDS)
    assert child
    job.children[child.name] = replace(child, gave_up=True)
    world.settle()
    assert world.child(names.ROLE_SHARDS, wave=1) is None
    failed = job.condition("Failed")
    assert (failed["reason"], failed["message"]) == (
        "SourceUnreadable", "2,000 of 2,000 shards are not done: /source: Permission denied",
    )  # fmt: skip


def test_what_cannot_heal_stops_a_whole_child_job_and_a_fenced_pod_its_index_alone() -> None:
    world = World()
    world.add()
    world.settle()
    world.indexed(shards=2)
    plan = reconcile(world.observe("photos"), world.settings)
    (job,) = [
        step.manifest
        for step in plan.steps_first
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    ]
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in rules] == [
        ("Ignore", None), ("FailJob", [40]), ("FailIndex", [41]), ("Ignore", [42]),
    ]  # fmt: skip


def test_an_attempt_starts_only_with_a_greater_fence_than_the_one_before() -> None:
    world = World()
    job = world.add()
    running(world)
    world.database.holder, world.lease = "", LeaseView("", "", world.lease.fence, 0.0)
    world.look()
    assert job.phase() is Phase.RECOVERING
    observed = replace(world.observe("photos"), slot_free=True)
    for fence, starts in ((1, False), (2, True)):
        lease = LeaseView(job.uid, "photos", fence, observed.now + 100, renewed=True)
        plan = reconcile(replace(observed, lease=lease), world.settings)
        assert (plan.wants_lease, plan.status is not None) == (not starts, starts)


def test_fenced_pods_cost_an_attempt_not_the_job() -> None:
    world = World()
    job = world.add(recovery={"maxAttempts": 2})
    fenced = ("Fenced", "shard 0 was taken over")
    for recovery in (1, 2):
        running(world)
        world.ended(failed=True, trouble=fenced)
        world.settle()
        assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.INDEXING, recovery)
    running(world)
    world.ended(failed=True, trouble=fenced)
    world.settle()
    assert (job.phase(), job.condition("Failed")["reason"]) == (Phase.FAILED, "Fenced")


def test_failed_shards_fail_the_job_and_say_why() -> None:
    world = World()
    job = world.add()
    running(world, shards=3)
    world.worked(shard=0, completed=1)
    world.ended(
        failed=True, trouble=("OutOfMemory", "a worker ended with OOMKilled (exit code 137)")
    )
    world.settle()
    assert job.condition("Failed")["reason"] == "OutOfMemory"
    assert "2 of 3 shards failed" in job.condition("Failed")["message"]


def test_an_unreachable_store_changes_nothing_and_is_said() -> None:
    world = World()
    job = world.add()
    world.store_error = "no server answers"
    assert world.settle().requeue_after
    assert job.condition("Ready")["reason"] == "StoreUnavailable"
    world.store_error = None
    running(world)
    world.store_error = "no server answers"
    world.settle()
    assert job.phase() is Phase.RUNNING
    assert job.condition("Progressing")["reason"] == "StoreUnavailable"
    assert job.children


def test_an_invalid_spec_fails_with_the_field_named() -> None:
    world = World()
    world.add()
    observed = replace(
        world.observe("photos"), job=None, problem="spec.collection.source.local: works only …"
    )
    plan = reconcile(observed, world.settings)
    assert plan.status is not None
    assert plan.status["phase"] == "Failed"
    assert any("spec.collection.source.local" in c["message"] for c in plan.status["conditions"])


def test_a_spec_that_is_not_understood_ends_nothing_that_runs() -> None:
    """The CRD may be newer than the operator: it goes on by what it understood,
    and claims nothing of the new spec.
    """
    world = World()
    job = world.add()
    running(world, shards=1, total=10)
    job.generation, job.problem = 2, "spec.thumbnail.format: 'jxl' is not allowed"
    for _ in range(3):
        world.settle()
    assert (job.phase(), job.fenced, bool(job.children)) == (Phase.RUNNING, 0, True)
    (event,) = [event for event in job.events if event.reason == "InvalidSpec"]
    assert "jxl" in event.message and event.warning
    world.now += 150
    world.settle()
    assert world.lease.expires_at > world.now + 200, "it goes on renewing its lease"
    world.worked(shard=0, completed=10)
    world.settle()
    assert job.phase() is Phase.COMPLETED
    assert job.status["observedGeneration"] == job.condition("Ready")["observedGeneration"] == 1
    assert world.settle().status is None, (
        "generation 2 was not acted on, so nobody may take it for done"
    )


def test_a_running_job_of_which_nothing_is_understood_goes_on() -> None:
    world = World()
    world.add()
    running(world)
    plan = reconcile(replace(world.observe("photos"), job=None, problem="…"), world.settings)
    assert plan.status is None
    assert not plan.steps_first
    assert plan.requeue_after


def smaller() -> Cache:
    return Cache(tiers=[Tier(name="full", max_width=1280)])


@pytest.mark.parametrize("at", ["indexing", "running", "recovering"])
def test_an_edit_of_what_is_made_begins_another_attempt(at: str) -> None:
    world = World()
    job = world.add()
    world.settle()
    if at != "indexing":
        running(world, shards=2, total=20)
        world.worked(shard=0, completed=10)
    if at == "recovering":
        folder, world.folder = world.folder, None
        job.resume = "now"
        world.settle()
        assert job.phase() is Phase.RECOVERING
    job.edit(cache=smaller())
    if at == "recovering":
        world.folder = folder
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"], job.status["recoveryAttempts"]) == (
        Phase.INDEXING,
        2,
        0,
    )
    assert job.fenced
    (index,) = job.children
    assert job.tasks[index]["job"]["spec"]["cache"]["tiers"] == [{"name": "full", "maxWidth": 1280}]
    assert job.condition("Ready") | {"lastTransitionTime": ""} == {
        "type": "Ready", "status": "False", "reason": "Indexing", "message": "listing the source",
        "observedGeneration": 2, "lastTransitionTime": "",
    }  # fmt: skip
    running(world, shards=1, total=20, skipped=10)
    world.worked(shard=0, completed=10)
    world.settle()
    assert (job.phase(), job.status["observedGeneration"]) == (Phase.COMPLETED, 2)


def test_an_edit_of_what_acts_at_once_begins_no_attempt() -> None:
    world = World()
    job = world.add()
    running(world)
    job.edit(
        priority=7, max_failed_images=3, ttl_seconds_after_finished=9, active_deadline_seconds=999
    )
    job.edit(sharding=Sharding(parallelism=9, max_failed_shards=2))
    job.edit(
        cache=Cache(tiers=[Tier(name="full", max_width=1920, quality=85)]),
        cache_folder="cache",
        force=False,
    )
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.RUNNING, 1), (
        "defaults that are written down, too"
    )


def test_the_next_attempt_waits_for_pods_of_the_earlier_spec() -> None:
    """They may have images in hand whose files would lie where those of the new spec go."""
    world = World()
    job = world.add()
    running(world)
    job.edit(cache=smaller())
    world.pods_left = True
    assert world.settle().requeue_after
    assert (job.phase(), job.condition("Progressing")["reason"]) == (
        Phase.RECOVERING,
        "SpecChanged",
    )
    assert world.lease.held_by(job.uid, world.now)
    assert job.condition("CollectionLocked")["status"] == "True"
    world.pods_left = False
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.INDEXING, 2)


def test_an_attempt_waits_for_pods_of_whoever_had_the_collection_before() -> None:
    """A job that was deleted or suspended gives its lock back while its pods end,
    with images in hand.
    """
    world = World()
    job = world.add()
    world.others_left = "before"
    assert world.settle().requeue_after
    assert (job.phase(), job.condition("Ready")["reason"]) == (Phase.PENDING, "PodsEnding")
    assert "before" in job.condition("Ready")["message"]
    assert world.lease.held_by(job.uid, world.now)
    world.others_left = ""
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.INDEXING, 1)


def test_a_finished_job_that_was_edited_is_not_ready_until_it_is_resumed() -> None:
    world = World()
    job = world.add()
    running(world, shards=0)
    assert job.phase() is Phase.COMPLETED
    was = {name: job.condition(name) for name in ("Ready", "Complete", "Stalled")}
    job.edit(cache=smaller())
    world.settle()
    assert (job.phase(), job.status["observedGeneration"]) == (Phase.COMPLETED, 2)
    assert (job.condition("Ready")["status"], job.condition("Stalled")["status"]) == (
        "False",
        "True",
    )
    assert (
        job.condition("Stalled")["reason"] == "SpecChanged"
        and "fpj.dev/resume" in job.condition("Ready")["message"]
    )
    assert job.condition("Complete") == was["Complete"], "it speaks of the generation that was made"
    job.edit(cache=None)
    world.settle()
    assert job.condition("Ready") == was["Ready"] | {"observedGeneration": 3}
    assert job.condition("Stalled") == was["Stalled"] | {"observedGeneration": 3}
    job.edit(cache=smaller())
    world.settle()
    job.resume = "now"
    running(world, shards=0)
    assert (job.phase(), job.condition("Ready")["status"], job.condition("Stalled")["status"]) == (
        Phase.COMPLETED, "True", "False",
    )  # fmt: skip


def test_an_attempt_of_an_earlier_operator_is_taken_as_it_is() -> None:
    """Its status says nothing of store, plan and spec."""
    world = World()
    job = world.add()
    running(world, shards=2, total=20)
    assert job.record
    job.record = replace(job.record, planned_shards=0)
    for name in ("specDigest", "storeId", "plannedShards", "plannedImages"):
        del job.status["attempt"][name]
    world.settle()
    attempt = job.status["attempt"]
    assert (job.phase(), attempt["number"], attempt["plannedShards"], attempt["storeId"]) == (
        Phase.RUNNING, 1, 2, "store-0",
    )  # fmt: skip
    for shard in range(2):
        world.worked(shard=shard, completed=10)
    world.settle()
    assert job.phase() is Phase.COMPLETED


def test_lost_records_are_recovered_and_in_the_end_given_up() -> None:
    world = World()
    job = world.add(recovery={"maxAttempts": 2})
    for recovery in (1, 2):
        running(world)
        world.another_store()
        world.settle()
        assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.INDEXING, recovery)
        assert job.status["attempt"]["storeId"] == f"store-{recovery}"
    running(world)
    world.another_store()
    world.settle()
    assert (job.phase(), job.condition("Failed")["reason"]) == (Phase.FAILED, "RecordsLost")
    assert "another one" in job.condition("Failed")["message"]


@pytest.mark.parametrize("shards", [[], [ShardState.SUCCEEDED] * 2, [ShardState.SUCCEEDED] * 4])
def test_as_many_shards_as_were_planned_are_neither_fewer_nor_more(
    shards: list[ShardState],
) -> None:
    world = World()
    job = world.add()
    running(world)
    job.shards = shards
    world.look()
    assert job.phase() is Phase.RECOVERING
    assert job.condition("Ready")["reason"] == "RecordsLost"
    assert "3 shards were planned" in job.condition("Ready")["message"]


def test_a_plan_that_went_elsewhere_is_lost() -> None:
    """The index pod has recorded it in another database than the operator's."""
    world = World()
    job = world.add()
    world.settle()
    child = world.child(names.ROLE_INDEX)
    assert child
    job.children[child.name] = replace(child, complete=True)
    world.settle()
    assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.INDEXING, 1)


def test_a_status_from_a_backup_does_not_use_an_attempts_number_again() -> None:
    world = World()
    job = world.add()
    running(world)
    old = copy.deepcopy(job.status)
    for resume in ("1", "2"):
        job.resume = resume
        running(world)
    assert job.status["attempt"]["number"] == 3
    job.status = old
    world.settle()
    assert (job.phase(), job.status["attempt"]["number"]) == (Phase.INDEXING, 4)
    assert list(job.children) == ["photos-uid-of-p-a4-index"], "what ran before is deleted"


@pytest.mark.parametrize("by", ["suspension", "recovery", "failure", "lost records"])
def test_what_nobody_works_on_shows_no_active_shard_and_no_rate(by: str) -> None:
    world = World()
    job = world.add(maxFailedImages=1, recovery={"maxAttempts": 0})
    running(world, shards=2, total=20)
    job.status |= {
        "progress": {"total": 20, "completed": 7, "imagesPerSecond": 33.8},
        "display": {"done": "7/20", "rate": "33.8/s", "eta": "2s"},
        "shards": {"total": 2, "active": 2, "succeeded": 0, "failed": 0},
    }
    if by == "suspension":
        change(world, suspend=True)
    elif by == "recovery":
        job.resume = "now"
    elif by == "lost records":
        world.another_store()
    else:
        job.shards = [ShardState.RUNNING, ShardState.RUNNING]
        job.counts = Counts(completed=5, failed=2)
    status = world.look().status
    assert status is not None
    assert status["shards"]["active"] == 0
    assert status["display"]["eta"] == "-"
    if by != "failure":
        assert status["progress"] == {"total": 20, "completed": 7, "imagesPerSecond": 0.0}, (
            "what is done stays"
        )
        assert status["display"] == {"done": "7/20", "rate": "-", "eta": "-"}


def test_the_time_to_live_is_counted_from_the_end() -> None:
    world = World()
    job = world.add(ttlSecondsAfterFinished=60)
    running(world, shards=0)
    assert job.phase() is Phase.COMPLETED
    assert world.settle().requeue_after == pytest.approx(60, abs=1)
    world.now += 61
    world.settle()
    assert job.gone


def test_a_deleted_job_is_left_alone() -> None:
    world = World()
    world.add()
    plan = reconcile(replace(world.observe("photos"), deleting=True), world.settings)
    assert plan.status is None
    assert not plan.steps_first + plan.steps_after


def test_a_finished_job_costs_nothing() -> None:
    world = World()
    job = world.add()
    running(world, shards=0)
    writes = job.writes
    for _ in range(3):
        plan = world.look()
        assert plan.status is None
        assert not plan.steps_first + plan.steps_after
    assert job.writes == writes


def test_nothing_is_written_while_nothing_changes() -> None:
    world = World()
    job = world.add()
    running(world)
    writes = job.writes
    for _ in range(20):
        world.now += 5
        world.progressed()
        world.look()
    assert job.writes == writes


def test_the_status_stays_small() -> None:
    world = World()
    job = world.add("n" * 50)
    running(world, "n" * 50, shards=3, total=10**9)
    world.worked("n" * 50, shard=0, failed=10**7)
    world.settle("n" * 50)
    job.status |= {"errorBreakdown": dict.fromkeys(map(str, range(14)), 10**9)}
    assert len(json.dumps(job.status)) < 8_192


def shown(world: World, **child: Any) -> dict[str, Any]:
    """The condition Progressing of a running job whose wave is found to be so."""
    found = world.child(names.ROLE_SHARDS)
    assert found is not None
    world.resources["photos"].children[found.name] = replace(found, **child)
    world.look()
    return world.resources["photos"].condition("Progressing")


def test_an_environment_fault_is_shown_until_an_image_is_done() -> None:
    """Each pod that tries again works for a moment: that is not progress,
    neither to people nor to the reaper.
    """
    world = World()
    world.add()
    running(world)
    world.now += 10
    said = {"trouble": ("EnvironmentFault", "the disk is full"), "trouble_since": world.now}
    began = shown(world, **said)
    assert (began["status"], began["reason"]) == ("False", "EnvironmentFault")
    for _ in range(3):
        world.now += 20
        assert shown(world, trouble=None, trouble_since=0.0) == began
        world.now += 20
        assert shown(world, **(said | {"trouble_since": world.now})) == began
    world.now += 5
    world.progressed()
    condition = shown(world, trouble=None, trouble_since=0.0)
    assert (condition["status"], condition["reason"]) == ("True", "Running")


def test_an_environment_that_does_not_heal_costs_recoveries_and_then_the_job() -> None:
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 1})
    for recovery in (0, 1):
        running(world)
        assert job.status["recoveryAttempts"] == recovery
        child = world.child(names.ROLE_SHARDS)
        assert child
        sick = replace(child, trouble=("EnvironmentFault", "full"), trouble_since=world.now + 1)
        world.now += 2
        job.children[child.name] = sick
        world.settle()
        world.now += 59
        job.children[child.name] = child
        world.settle()
        assert job.phase() is Phase.RUNNING
        world.now += 2
        world.settle()
    assert job.phase() is Phase.FAILED
    failed = job.condition("Failed")
    assert failed["reason"] == "EnvironmentFault"
    assert "full" in failed["message"]


def test_a_full_folder_is_waited_for_without_recoveries() -> None:
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 0})
    running(world)
    child = world.child(names.ROLE_SHARDS)
    assert child
    for _ in range(10):
        world.now += 100
        full = replace(child, trouble=("CacheFolderFull", "it is full"), trouble_since=world.now)
        job.children[child.name] = full
        world.settle()
        assert job.condition("Progressing")["reason"] == "CacheFolderFull"
    job.children[child.name] = child
    world.now += 100
    world.settle()
    assert (job.phase(), job.status["recoveryAttempts"]) == (Phase.RUNNING, 0)
    assert job.condition("Progressing")["reason"] == "CacheFolderFull", "until an image is done"
    world.progressed()
    world.now += 61
    world.settle()
    assert job.phase() is Phase.FAILED, "from then on, it must move as any other"


def test_an_index_that_the_environment_stops_uses_no_try_and_is_bounded_all_the_same() -> None:
    """Its pods end with 42 again and again, and each may list something before:
    that is not progress.
    """
    world = World()
    job = world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 1})
    world.look()
    plan = reconcile(replace(world.observe("photos"), children=()), world.settings)
    (child_job,) = [
        s.manifest for s in plan.steps_first if isinstance(s, Apply) and s.manifest["kind"] == "Job"
    ]
    rules = child_job["spec"]["podFailurePolicy"]["rules"]
    assert [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in rules] == [
        ("Ignore", None), ("FailJob", [40]), ("FailJob", [41]), ("Ignore", [42]),
    ]  # fmt: skip
    for recovery in (0, 1):
        assert job.phase() is Phase.INDEXING
        assert job.status["recoveryAttempts"] == recovery
        for _ in range(3):
            child = world.child(names.ROLE_INDEX)
            assert child
            world.now += 19
            world.progressed()
            sick = ("EnvironmentFault", "not mounted")
            job.children[child.name] = replace(child, trouble=sick, trouble_since=world.now + 1)
            world.settle()
            assert job.condition("Progressing")["reason"] == "EnvironmentFault"
        world.now += 4
        world.settle()
    assert job.phase() is Phase.FAILED
    failed = job.condition("Failed")
    assert failed["reason"] == "EnvironmentFault"
    assert "not mounted" in failed["message"]


def test_work_that_went_on_since_ends_a_trouble() -> None:
    """A pod ended badly, and images were done afterwards: by another pod,
    or by the one that took its place.
    """
    world = World()
    world.add()
    running(world)
    failed = {"trouble": ("WorkerFailed", "a worker ended"), "trouble_since": world.now + 10}
    world.now += 12
    condition = shown(world, **failed)
    assert (condition["status"], condition["reason"]) == ("False", "WorkerFailed")
    world.now += 5
    world.progressed()
    condition = shown(world, **failed)
    assert (condition["status"], condition["reason"]) == ("True", "Running")
    world.now += 5
    condition = shown(world, **(failed | {"trouble_since": world.now}))
    assert (condition["status"], condition["reason"]) == ("False", "WorkerFailed")
    world.progressed()
    condition = shown(world, trouble=("PodsUnschedulable", "no node"), trouble_since=0.0)
    assert (condition["status"], condition["reason"]) == ("False", "PodsUnschedulable")


def test_what_some_pods_wait_for_is_said_while_the_job_progresses() -> None:
    world = World()
    world.add()
    running(world)
    condition = shown(world, delay=("PodsForbidden", "exceeded quota"))
    assert (condition["status"], condition["reason"]) == ("True", "Running")
    assert (
        condition["message"]
        == "working on 3 shards; some pods do not run: PodsForbidden: exceeded quota"
    )
    assert "quota" not in world.resources["photos"].condition("Ready")["message"]
    assert shown(world, delay=None)["message"] == "working on 3 shards"


def test_a_job_in_trouble_is_looked_at_more_often() -> None:
    world = World()
    world.add()
    running(world)
    assert world.look().requeue_after == world.settings.check_seconds
    shown(world, trouble=("MountFailed", "no such ConfigMap"))
    assert (world.look().requeue_after or 60) < world.settings.check_seconds
