"""What becomes of a schedule at its times: as batch/v1 CronJob does it, case by case,
and over generated histories.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.schedule_world import KEY, START, ScheduleWorld, job_name, phase_of
from unit.v1alpha1.documents import problems

from fpj_core.formatting import moment, seconds_of
from fpj_core.kube import names
from fpj_core.kube.errors import ClusterError
from fpj_operator.metrics import EVENTS_REFUSED, MISSES, SCHEDULE_MISSES

TEN_PAST = job_name("2026-05-01T00:10:00Z")
TWENTY_PAST = job_name("2026-05-01T00:20:00Z")
LATE = job_name("2026-05-01T05:00:00Z")


def at(world: ScheduleWorld, minutes: float) -> float | None:
    """Look so many minutes after midnight."""
    world.now = START - 30 + minutes * 60
    return world.look()


# Runs ---------------------------------------------------------------------------------------------


def test_a_run_begins_at_its_time_once_and_says_what_it_is() -> None:
    world = ScheduleWorld()
    assert at(world, 5) == 300.0, "the next look is at the next time, at most five minutes later"
    assert world.names() == [] and world.status["nextScheduleTime"] == "2026-05-01T00:10:00Z"
    assert at(world, 9.5) == 30.0
    at(world, 10)
    assert at(world, 11) == 300.0 and world.names() == [TEN_PAST]
    (job,) = world.objects.jobs()
    assert problems(job) == []
    assert job["metadata"]["annotations"] == {"fpj.dev/scheduled-at": "2026-05-01T00:10:00Z"}
    assert job["metadata"]["labels"]["fpj.dev/schedule"] == "nightly"
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == (
        "FileProcessingSchedule",
        "nightly",
        "uid-1",
    )
    assert owner["controller"] is True and owner["blockOwnerDeletion"] is False
    assert job["spec"]["collection"]["id"] == "nightly", (
        "each run goes on with what the last one made"
    )
    assert world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z"
    assert world.status["nextScheduleTime"] == "2026-05-01T00:20:00Z"
    assert world.status["active"] == [{"name": TEN_PAST, "scheduledAt": "2026-05-01T00:10:00Z"}]
    assert world.said("Started") == [f"{TEN_PAST} was started"]


def test_the_template_is_the_jobs() -> None:
    source = {"s3": {"bucket": "scans"}}
    spec = {
        "jobType": "Cache",
        "collection": {"id": "museum", "source": source},
        "maxFailedImages": "5%",
    }
    metadata = {
        "labels": {"team": "a", "fpj.dev/schedule-uid": "forged"},
        "annotations": {"note": "b"},
    }
    world = ScheduleWorld(jobTemplate={"metadata": metadata, "spec": spec})
    at(world, 10)
    (job,) = world.objects.jobs()
    assert job["spec"] == spec
    assert (
        job["metadata"]["labels"]["team"] == "a"
        and job["metadata"]["labels"]["fpj.dev/schedule-uid"] == "uid-1"
    )
    assert job["metadata"]["annotations"]["note"] == "b"


@pytest.mark.parametrize("policy", [None, "Allow"])
def test_allow_begins_another_beside_it(policy: str | None) -> None:
    world = ScheduleWorld(**({"concurrencyPolicy": policy} if policy else {}))
    at(world, 10)
    at(world, 20)
    assert world.unfinished() == [TEN_PAST, TWENTY_PAST]
    assert [each["name"] for each in world.status["active"]] == [TWENTY_PAST, TEN_PAST], (
        "newest first"
    )


def test_forbid_waits_until_the_other_has_finished() -> None:
    world = ScheduleWorld(concurrencyPolicy="Forbid")
    at(world, 10)
    for minutes in (20, 21, 25):
        at(world, minutes)
    assert world.names() == [TEN_PAST]
    assert world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z"
    (said,) = world.said("WaitsForLastRun")
    assert "2026-05-01T00:20:00Z" in said
    world.end(TEN_PAST)
    at(world, 27)
    assert world.unfinished() == [TWENTY_PAST], "late, but it takes place"
    assert world.status["lastSuccessfulTime"] == "2026-05-01T00:25:00Z"


def test_forbid_waits_also_for_one_that_is_being_deleted() -> None:
    world = ScheduleWorld(concurrencyPolicy="Forbid")
    at(world, 10)
    world.objects.jobs()[0]["metadata"]["deletionTimestamp"] = "2026-05-01T00:11:00Z"
    at(world, 20)
    assert world.names() == [TEN_PAST] and world.status["active"] == []


def test_replace_deletes_the_other() -> None:
    world = ScheduleWorld(concurrencyPolicy="Replace")
    at(world, 10)
    at(world, 20)
    assert [
        name for name in world.names() if "deletionTimestamp" not in _metadata(world, name)
    ] == [TWENTY_PAST]
    assert [each["name"] for each in world.status["active"]] == [TWENTY_PAST]
    assert world.said("Replaced") == [f"{TEN_PAST} was deleted: another run is due"]


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace"])
def test_a_run_whose_job_is_there_is_begun_though_the_status_does_not_say_so(policy: str) -> None:
    """The operator died in between; whoever comes next takes it neither for missed nor for another
    run.
    """
    world = ScheduleWorld(concurrencyPolicy=policy)
    world.now = START - 30 + 600
    world.look(writes=1)
    assert world.names() == [TEN_PAST] and world.status == {}
    at(world, 11)
    assert world.objects.created == [TEN_PAST]
    assert "deletionTimestamp" not in _metadata(world, TEN_PAST)
    assert world.said("WaitsForLastRun") == world.said("Replaced") == []
    assert world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z"
    assert [each["name"] for each in world.status["active"]] == [TEN_PAST]


def _metadata(world: ScheduleWorld, name: str) -> dict[str, Any]:
    return dict(world.objects.held["FileProcessingJob", name]["metadata"])


# Missed runs --------------------------------------------------------------------------------------


def test_of_missed_runs_only_the_newest_begins() -> None:
    world = ScheduleWorld()
    at(world, 305)
    assert world.names() == [LATE] and world.said("TooManyMissed") == []


def test_more_than_a_hundred_missed_runs_are_told_and_the_newest_begins() -> None:
    world = ScheduleWorld(schedule="* * * * *")
    at(world, 100)
    assert len(world.names()) == 1 and world.said("TooManyMissed") == []
    at(world, 201)
    assert len(world.names()) == 2
    assert world.said("TooManyMissed") == [
        "more than 100 runs were missed; only the newest was started"
    ]


def test_a_run_that_is_too_late_is_left_out_and_told_once() -> None:
    world = ScheduleWorld(startingDeadlineSeconds=120)
    at(world, 11.9)
    assert world.names() == [TEN_PAST], "just in time"
    at(world, 22.5)
    at(world, 23)
    assert world.names() == [TEN_PAST]
    (said,) = world.said("Missed")
    assert "2026-05-01T00:20:00Z" in said
    at(world, 31)
    assert len(world.names()) == 2, "the next one takes place again"


def misses() -> dict[str, float]:
    """By reason, since the process began."""
    return {reason: SCHEDULE_MISSES.labels(reason)._value.get() for reason in MISSES}


def test_runs_that_do_not_begin_are_counted_once_by_every_operator_together() -> None:
    before = misses()

    def new() -> dict[str, float]:
        return {
            reason: count - before[reason]
            for reason, count in misses().items()
            if count != before[reason]
        }

    late = ScheduleWorld(startingDeadlineSeconds=120)
    late.now = START - 30 + 13 * 60
    late.look(0)
    late.look(0)
    late.look(1)
    assert new() == {"Missed": 1.0}
    at(late, 23)
    assert new() == {"Missed": 2.0}

    many = ScheduleWorld(schedule="* * * * *")
    at(many, 201)
    at(many, 202)
    assert new() == {"Missed": 2.0, "TooManyMissed": 1.0}

    refused = ScheduleWorld()
    refused.objects.refusal = ClusterError(403, "exceeded quota: jobs")
    for minutes in (10, 10.5, 11, 20):
        at(refused, minutes)
    assert new()["JobRefused"] == 2.0, "once for each run, however often it is tried"

    taken = ScheduleWorld()
    taken.objects.add({"kind": "FileProcessingJob", "metadata": {"name": TEN_PAST}})
    at(taken, 10)
    at(taken, 11)
    assert new() == {"Missed": 2.0, "TooManyMissed": 1.0, "JobRefused": 2.0, "NameTaken": 1.0}

    waiting = ScheduleWorld(concurrencyPolicy="Forbid")
    at(waiting, 10)
    at(waiting, 31)
    assert len(waiting.names()) == 1 and len(new()) == 4, "a run that waits is not missed"


def test_events_that_cannot_be_written_fail_nothing_and_each_miss_is_counted_once() -> None:
    before, lost = misses(), EVENTS_REFUSED._value.get()

    def new() -> dict[str, float]:
        return {
            reason: count - before[reason]
            for reason, count in misses().items()
            if count != before[reason]
        }

    worlds = late, many = (
        ScheduleWorld(startingDeadlineSeconds=120),
        ScheduleWorld(schedule="* * * * *"),
    )
    for world in worlds:
        world.objects.no_events = ClusterError(
            403, "exceeded quota: count/events", reason="Forbidden"
        )
    assert at(late, 12.5) is not None and at(late, 12.6) is not None, (
        "the next look is planned as ever"
    )
    at(many, 201)
    at(many, 201.5)
    assert len(many.names()) == 1
    assert new() == {"Missed": 1.0, "TooManyMissed": 1.0}
    assert EVENTS_REFUSED._value.get() == lost + 4, "Missed twice, TooManyMissed and Started once"
    late.objects.no_events = None
    at(late, 12.7)
    assert late.said("Missed") and new()["Missed"] == 1.0, "written later, and not counted again"
    at(late, 12.8)
    at(late, 22.5)
    assert len(late.said("Missed")) == 2 and new()["Missed"] == 2.0


def test_after_a_run_a_refusal_is_news_again_though_its_event_was_not_written() -> None:
    world = ScheduleWorld()
    world.objects.refusal = ClusterError(403, "denied by a policy")
    at(world, 10)
    world.objects.refusal, world.objects.no_events = None, ClusterError(0, "no answer")
    at(world, 10.5)
    assert world.names() == [TEN_PAST]
    world.objects.events.clear()  # the API server forgets them after an hour
    world.objects.refusal, world.objects.no_events = ClusterError(403, "denied by a policy"), None
    at(world, 90)
    assert len(world.said("JobRefused")) == 1


def test_a_new_schedule_begins_nothing_of_before() -> None:
    world = ScheduleWorld(schedule="0 0 * * *")
    at(world, 60)
    assert world.names() == []


def test_suspended_it_begins_nothing_and_afterwards_the_newest() -> None:
    world = ScheduleWorld(suspend=True)
    assert at(world, 25) is None
    assert world.names() == [] and "nextScheduleTime" not in world.status
    assert (
        world.condition("Ready")[:2] == ("True", "Suspended")
        and world.condition("Suspended")[0] == "True"
    )
    world.change(suspend=False)
    at(world, 26)
    assert world.names() == [TWENTY_PAST]
    assert world.condition("Ready") == ("True", "Scheduled", "*/10 * * * * in Etc/UTC")
    assert world.condition("Suspended")[0] == "False"


def test_a_changed_schedule_counts_from_its_change() -> None:
    """As of kubernetes#63371: a time that lies before the change has passed,
    though no run took place at it.
    """
    world = ScheduleWorld(schedule="10 * * * *")
    at(world, 10)
    assert "scheduleChangedAt" not in world.status
    world.change(schedule="15,25 * * * *")
    at(world, 20)
    assert world.names() == [TEN_PAST], "00:15 was before it"
    assert world.status["scheduleChangedAt"] == moment(START - 30 + 20 * 60)
    assert world.status["nextScheduleTime"] == "2026-05-01T00:25:00Z"
    at(world, 26)
    assert world.names() == [TEN_PAST, job_name("2026-05-01T00:25:00Z")]
    assert world.status["observedGeneration"] == 2
    # Half an hour off: 00:15 and 00:25 UTC are not among its times.
    world.change(timeZone="Asia/Kolkata")
    at(world, 50)
    assert (
        world.status["scheduleChangedAt"] == moment(START - 30 + 50 * 60)
        and len(world.names()) == 2
    )
    world.change(suspend=True)
    at(world, 52)
    world.change(suspend=False)
    at(world, 60)
    assert world.names()[2:] == [job_name("2026-05-01T00:55:00Z")], (
        "no other change leaves a run out"
    )


def test_a_changed_schedule_reports_no_miss_of_before() -> None:
    world = ScheduleWorld(schedule="10 * * * *", startingDeadlineSeconds=60)
    at(world, 10)
    world.change(schedule="15 * * * *")
    at(world, 20)
    at(world, 21)
    assert world.said("Missed") == []


# History ------------------------------------------------------------------------------------------


def test_finished_jobs_are_kept_up_to_the_limits() -> None:
    world = ScheduleWorld()
    for number in range(1, 13):
        at(world, 10 * number)
        phases = ("Completed", "CompletedWithErrors", "Failed", "Cancelled")
        world.end(world.unfinished()[0], phases[number % 4])
    world.look()
    left = [phase_of(job) for job in world.objects.jobs()]
    assert sorted(left) == ["Cancelled", "Completed", "Completed", "CompletedWithErrors"]
    assert world.names()[-1] == world.objects.created[-1], "the newest stay"
    assert len(world.objects.created) == 12


def test_no_history_at_all() -> None:
    world = ScheduleWorld(successfulJobsHistoryLimit=0, failedJobsHistoryLimit=0)
    at(world, 10)
    world.end(TEN_PAST)
    at(world, 11)
    at(world, 12)
    assert world.names() == [] and world.objects.created == [TEN_PAST]
    assert world.status["lastSuccessfulTime"] == "2026-05-01T00:10:00Z", "it is still remembered"


# What is wrong ------------------------------------------------------------------------------------


def test_jobs_that_only_carry_its_label_are_left_alone() -> None:
    world = ScheduleWorld(successfulJobsHistoryLimit=0, concurrencyPolicy="Replace")
    for name, phase in (("theirs-done", "Completed"), ("theirs", "Running")):
        labels = {names.LABEL_SCHEDULE_UID: world.schedule["metadata"]["uid"]}
        metadata = {"name": name, "namespace": KEY.namespace, "labels": labels}
        world.objects.add(
            {"kind": "FileProcessingJob", "metadata": metadata, "status": {"phase": phase}}
        )
    world.now += 700
    world.look()
    assert len(world.objects.created) == 1
    held = {each["metadata"]["name"]: each["metadata"] for each in world.objects.jobs()}
    assert {"theirs-done", "theirs"} < set(held), "another begins beside them"
    assert not any("deletionTimestamp" in each for each in held.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "0 0 30 2 *"}, "schedule '0 0 30 2 *': "),
        ({"timeZone": "Mars/Olympus"}, "timeZone 'Mars/Olympus' is not known"),
        ({"schedule": "61 * * * *"}, "schedule must have five fields"),
        ({"concurrencyPolicy": "Perhaps"}, "spec.concurrencyPolicy"),
    ],
)
def test_a_schedule_that_makes_no_sense_says_so_and_heals(
    change: dict[str, str], message: str
) -> None:
    world = ScheduleWorld()
    at(world, 10)
    before = dict(world.schedule["spec"])
    world.change(**change)
    assert at(world, 20) is None
    assert world.names() == [TEN_PAST]
    assert (
        world.condition("Ready")[:2] == ("False", "InvalidSpec")
        and message in world.condition("Ready")[2]
    )
    assert world.condition("Stalled")[0] == "True"
    assert world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z", "what was is kept"
    world.schedule["spec"] = before
    at(world, 21)
    assert world.condition("Stalled")[0] == "False" and world.names() == [TEN_PAST, TWENTY_PAST]


def test_a_refused_job_is_told_and_tried_again() -> None:
    world = ScheduleWorld()
    world.objects.refusal = ClusterError(403, "exceeded quota: jobs")
    assert at(world, 10) == 30.0
    assert world.condition("Ready") == (
        "False",
        "JobRefused",
        "the run's job was refused: exceeded quota: jobs",
    )
    assert world.condition("Reconciling")[0] == "True" and "lastScheduleTime" not in world.status
    assert world.said("JobRefused") and not world.said("Started")
    world.objects.refusal = None
    at(world, 10.5)
    assert world.names() == [TEN_PAST] and world.condition("Ready")[0] == "True"


def test_a_quota_under_contention_is_no_job_of_that_name() -> None:
    """The API server answers 409 for both (kubernetes#67761)."""
    world = ScheduleWorld()
    busy = ClusterError(409, "Operation cannot be fulfilled on resourcequotas", reason="Conflict")
    world.objects.refusals = [busy, busy]
    at(world, 10)
    assert world.names() == [TEN_PAST], "it is over in a moment"
    assert not world.said("JobRefused")

    world.objects.refusal = busy
    assert at(world, 20) == 30.0
    assert (
        world.condition("Ready")[1] == "JobRefused"
        and "resourcequotas" in world.condition("Ready")[2]
    )
    assert world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z", (
        "a run that did not begin is not said to have"
    )
    world.objects.refusal = None
    at(world, 20.5)
    assert world.names() == [TEN_PAST, TWENTY_PAST]


def test_each_cause_of_a_refusal_is_one_event_until_a_run_begins() -> None:
    world = ScheduleWorld(schedule="* * * * *")
    for minute in range(1, 30):
        world.objects.refusal = ClusterError(403, f"exceeded quota: used {minute}, limited 5")
        at(world, minute)
        at(world, minute + 0.5)
    assert len(world.said("JobRefused")) == 1
    world.objects.refusal = ClusterError(403, "denied by a policy")
    at(world, 31)
    assert len(world.said("JobRefused")) == 2
    world.objects.refusal = None
    at(world, 32)
    world.objects.events.clear()  # the API server forgets them after an hour
    world.objects.refusal = ClusterError(403, "denied by a policy")
    at(world, 95)
    at(world, 96)
    assert len(world.said("JobRefused")) == 1, "it is news again"


def test_an_api_server_that_does_not_answer_is_no_refusal() -> None:
    world = ScheduleWorld()
    world.objects.refusal = ClusterError(0, "no answer")
    with pytest.raises(ClusterError):
        at(world, 10)
    assert world.status == {}


def test_a_namesake_is_not_taken_for_the_run() -> None:
    world = ScheduleWorld()
    world.objects.add({"kind": "FileProcessingJob", "metadata": {"name": TEN_PAST}})
    assert at(world, 10) == 30.0
    assert world.objects.created == [] and len(world.said("NameTaken")) == 1
    assert (
        world.condition("Ready")[:2] == ("False", "NameTaken")
        and TEN_PAST in world.condition("Ready")[2]
    )
    assert "lastScheduleTime" not in world.status
    at(world, 11)
    at(world, 20)
    assert world.condition("Ready")[0] == "True"
    assert world.objects.created == [TWENTY_PAST] and len(world.said("NameTaken")) == 1


def test_a_run_whose_name_was_taken_begins_once_it_is_free() -> None:
    world = ScheduleWorld()
    world.objects.add({"kind": "FileProcessingJob", "metadata": {"name": TEN_PAST}})
    at(world, 10)
    del world.objects.held["FileProcessingJob", TEN_PAST]
    at(world, 10.5)
    assert (
        world.objects.created == [TEN_PAST]
        and world.status["lastScheduleTime"] == "2026-05-01T00:10:00Z"
    )


def test_a_status_is_written_only_upon_the_version_that_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a former leader decided comes too late, and says nothing of runs started since."""
    world = ScheduleWorld()
    at(world, 10)
    late: list[tuple[Any, ...]] = []
    write = world.objects.apply_status

    async def held_back(*what: Any) -> dict[str, Any]:
        late.append(what)
        return {}

    monkeypatch.setattr(world.objects, "apply_status", held_back)
    at(world, 20)
    monkeypatch.setattr(world.objects, "apply_status", write)
    world.look(1)
    at(world, 30)
    with pytest.raises(ClusterError, match="modified"):
        asyncio.run(write(*late[0]))
    assert world.status["lastScheduleTime"] == "2026-05-01T00:30:00Z"


def test_one_that_is_being_deleted_is_left_alone() -> None:
    world = ScheduleWorld()
    world.schedule["metadata"]["deletionTimestamp"] = moment(START)
    assert at(world, 10) is None and world.names() == [] and world.status == {}


# Histories ----------------------------------------------------------------------------------------

POLICIES = ("Allow", "Forbid", "Replace")
ACTIONS = st.one_of(
    st.tuples(st.just("look"), st.integers(0, 1)),
    st.tuples(st.just("look"), st.integers(0, 1)),
    st.tuples(st.just("die"), st.integers(0, 1), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 200.0, 600.0, 4_000.0, 100_000.0])),
    st.tuples(st.just("end"), st.sampled_from(["Completed", "CompletedWithErrors", "Failed"])),
    st.tuples(st.just("delete a job")),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("limits"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("policy"), st.sampled_from(POLICIES)),
    st.tuples(st.just("deadline"), st.sampled_from([10, 300, 5_000])),
)


def apply(world: ScheduleWorld, action: tuple[object, ...]) -> None:
    match action:
        case "look", int(operator):
            looked(world, operator)
        case "die", int(operator), int(writes):
            world.look(operator, writes=writes)
        case "wait", float(seconds):
            world.now += seconds
        case "end", str(phase) if names := world.unfinished():
            world.end(names[0], phase)
        case ("delete a job",) if finished := set(world.names()) - set(world.unfinished()):
            delete(world, min(finished))
        case "suspend", bool(suspend):
            world.change(suspend=suspend)
        case "limits", int(successful), int(failed):
            world.change(successfulJobsHistoryLimit=successful, failedJobsHistoryLimit=failed)
        case "policy", str(policy):
            world.change(concurrencyPolicy=policy)
        case "deadline", int(seconds):
            world.change(startingDeadlineSeconds=seconds)


def delete(world: ScheduleWorld, name: str) -> None:
    """Somebody deletes a job. If nothing shows it any more, it is started again, and not lost."""
    del world.objects.held["FileProcessingJob", name]
    if minute_of(name) * 60 > seconds_of(world.status.get("lastScheduleTime")):
        world.objects.created.remove(name)


def minute_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def looked(world: ScheduleWorld, operator: int) -> None:
    """A look that nothing disturbed, and what must hold after it."""
    created, unfinished = len(world.objects.created), world.unfinished()
    wait = world.look(operator)
    spec, new = world.schedule["spec"], world.objects.created[created:]
    assert len(new) <= 1
    if spec.get("suspend"):
        assert new == [] and wait is None
    else:
        assert wait is not None and 0 < wait <= 300
    if new and spec.get("concurrencyPolicy") == "Forbid":
        assert unfinished == [], "no run beside another"
    if new and spec.get("concurrencyPolicy") == "Replace":
        doomed = [
            name for name in world.unfinished() if "deletionTimestamp" in _metadata(world, name)
        ]
        assert set(world.unfinished()) - set(doomed) == set(new)
    if new and (deadline := spec.get("startingDeadlineSeconds")):
        assert world.now - minute_of(new[0]) * 60 < deadline
    phases = [phase_of(job) for job in world.objects.jobs()]
    assert sum(phase.startswith("Completed") for phase in phases) <= spec.get(
        "successfulJobsHistoryLimit", 3
    )
    assert phases.count("Failed") <= spec.get("failedJobsHistoryLimit", 1)
    held = world.schedule["status"]
    world.look(operator)
    assert world.objects.created[created:] == new and world.schedule["status"] == held, (
        "a second look changes nothing"
    )


@settings(max_examples=300)
@given(st.sampled_from(POLICIES), st.lists(ACTIONS, max_size=30))
def test_histories(policy: str, actions: list[tuple[object, ...]]) -> None:
    """Two operators that both think they lead, and die wherever they like."""
    world = ScheduleWorld(concurrencyPolicy=policy)
    for action in actions:
        apply(world, action)
        created = world.objects.created
        assert len(created) == len(set(created)), "never two runs for one time"
        assert created == sorted(created, key=minute_of), "never back in time"
        assert all(minute_of(name) % 10 == 0 for name in created), "only at times of the schedule"
