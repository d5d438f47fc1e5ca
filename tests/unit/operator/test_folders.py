"""What becomes of a cache folder: runs, conditions and events; no cluster, no store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fpj_core.formatting import moment
from fpj_core.kube.folderreport import Amount, FolderReport, Verification, parse_folder_report
from fpj_core.manifest import read_resource
from fpj_core.v1alpha1 import CacheFolder
from fpj_core.v1alpha1.cachefolderstatus import Operation
from fpj_operator.folders.reconcile import LONGEST_PAUSE, decide, pause_after
from fpj_operator.folders.state import FolderPlan, FolderView, Holdings, JobState, RunJob
from fpj_operator.keys import Key
from fpj_operator.settings import settings_from

SETTINGS = settings_from({"FPJ_STORE": "mongodb://x/y", "FPJ_WORKER_IMAGE": "fpj:test"})
HOUR = 3_600.0
EVICTED = FolderReport(
    evicted=True,
    by_reason={"OverQuota": Amount(3, 300)},
    used_before=950,
    used_after=650,
    seconds=2.0,
)


def folder(**spec: Any) -> CacheFolder:
    given = {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}} | spec
    found = read_resource(
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CacheFolder",
            "metadata": {"name": "cache", "namespace": "team"},
            "spec": given,
        }
    )
    assert isinstance(found, CacheFolder)
    return found


def held(size: int, *, tier: int = 0, limited: Mapping[str, int] | None = None) -> Holdings:
    return Holdings(7, size, 1, {"full": (7, tier or size)}, {"team.a": (7, size)}, limited or {})


class Scene:
    """One folder through its life: what is decided becomes what is seen next."""

    def __init__(self, **spec: Any) -> None:
        self.view = FolderView(
            key=Key("team", "cache"),
            uid="0123456789",
            generation=1,
            folder=folder(**spec),
            problem="",
            status={},
            requested="",
            deleting=False,
            holdings=held(10),
            store_error="",
            job=None,
            now=1_000_000.0,
        )
        self.plan = FolderPlan()

    def look(self, **seen: Any) -> FolderPlan:
        """Two looks at the same must not differ."""
        self.view = replace(self.view, **seen)
        self.plan = decide(self.view, SETTINGS)
        assert self.plan.status is not None
        self.view = replace(self.view, status=self.plan.status)
        if self.plan.job is not None:
            self.view = replace(self.view, job=RunJob(JobState.MISSING))
        if not self.view.runs:
            self.view = replace(self.view, job=None)
        return self.plan

    def run(self, report: FolderReport | None = None, **seen: Any) -> FolderPlan:
        """A run that is due starts, works, and ends with this report."""
        assert self.look(**seen).job is not None
        self.look(job=RunJob(JobState.ACTIVE))
        return self.look(
            job=RunJob(JobState.COMPLETE, report=report or FolderReport(), ended_at=self.view.now)
        )

    def fail(self, reason: str, **seen: Any) -> FolderPlan:
        assert self.look(**seen).job is not None
        return self.look(job=RunJob(JobState.FAILED, (reason, "so it is"), None, self.view.now))

    def later(self, seconds: float) -> Scene:
        self.view = replace(self.view, now=self.view.now + seconds)
        return self

    def condition(self, name: str) -> tuple[str, str]:
        (found,) = [each for each in self.view.status["conditions"] if each["type"] == name]
        return found["status"], found["reason"]

    @property
    def run_status(self) -> Mapping[str, Any]:
        return self.view.run


@pytest.fixture
def scene() -> Scene:
    return Scene(maxBytes=1_000)


# Runs ---------------------------------------------------------------------------------------------


def test_a_new_folder_is_checked_once(scene: Scene) -> None:
    plan = scene.look()
    assert plan.job is not None
    assert plan.job["metadata"]["name"] == "cache-01234567-evict-1"
    assert scene.run_status["cause"] == "New"
    for name in ("Ready", "Drifted", "Unreachable"):
        assert scene.condition(name) == ("Unknown", "NotChecked")
    assert scene.condition("Evicting") == ("Unknown", "Starting")
    scene.look(job=RunJob(JobState.ACTIVE))
    assert scene.plan.job is None
    assert scene.condition("Ready")[0] == "Unknown"
    assert scene.condition("Evicting") == ("True", "Evicting")
    ended = scene.look(job=RunJob(JobState.COMPLETE, report=FolderReport(), ended_at=1_000_010.0))
    assert ended.ended and ended.ended.result == "Succeeded"
    assert scene.condition("Ready") == ("True", "Checked")
    assert scene.condition("Drifted") == scene.condition("Unreachable") == ("False", "Checked")
    assert scene.condition("Evicting") == ("False", "Idle")
    assert scene.run_status["endTime"] == moment(1_000_010.0)
    for _ in range(5):
        again = scene.later(10 * HOUR).look()
        assert again.job is None and again.ended is None and not again.events


def test_a_job_that_is_gone_before_its_end_was_seen_is_made_again(scene: Scene) -> None:
    first = scene.look().job
    second = scene.look(job=RunJob(JobState.MISSING)).job
    assert first == second is not None
    assert scene.run_status["number"] == 1


def test_a_folder_whose_spec_changed_is_checked_again(scene: Scene) -> None:
    scene.run()
    scene.look(generation=2)
    assert (scene.run_status["number"], scene.run_status["cause"]) == (2, "Changed")
    assert scene.condition("Ready") == ("Unknown", "NotChecked")
    assert scene.view.status["observedGeneration"] == 2


def test_what_a_run_for_an_earlier_spec_found_says_nothing_of_this_one(scene: Scene) -> None:
    scene.look()
    scene.look(
        generation=2, job=RunJob(JobState.COMPLETE, report=FolderReport(), ended_at=1_000_001.0)
    )
    assert scene.condition("Ready")[0] == "Unknown"
    assert scene.look().job is not None


def test_each_new_value_of_the_annotation_is_acted_upon_once(scene: Scene) -> None:
    scene.run()
    scene.run(requested="2026-03-01")
    assert (scene.run_status["cause"], scene.run_status["requestedBy"]) == (
        "Requested",
        "2026-03-01",
    )
    assert scene.later(10 * HOUR).look().job is None
    assert scene.look(requested="").job is None, "it was taken off"
    scene.run(requested="tonight")
    assert scene.run_status["requestedBy"] == "tonight"


def test_a_request_does_not_wait_for_the_pause_after_a_failure(scene: Scene) -> None:
    scene.fail("Internal")
    assert scene.look().job is None
    assert scene.look(requested="now").job is not None


def test_a_folder_above_its_high_watermark_is_evicted(scene: Scene) -> None:
    scene.run()
    assert scene.look(holdings=held(900)).job is None, "90 % is not above"
    scene.run(EVICTED, holdings=held(901))
    assert scene.run_status["cause"] == "OverQuota"
    assert scene.view.status["lastEviction"] == {
        "time": moment(scene.view.now),
        "cause": "OverQuota",
        "files": 3,
        "bytes": 300,
        "byReason": {"OverQuota": 3},
        "usedBefore": 950,
        "usedAfter": 650,
        "shortfalls": [],
    }
    (said,) = scene.plan.events
    assert (said.reason, said.warning) == ("FilesEvicted", False)
    assert scene.look(holdings=held(650)).job is None
    assert scene.view.status["lastEviction"]["files"] == 3, "it stays until the next"
    assert scene.look(holdings=held(950)).job is not None


@pytest.mark.parametrize(
    ("policy", "held_now"),
    [
        ({"tiers": [{"name": "full", "maxBytes": 50}]}, held(60)),
        ({"collections": [{"id": "a", "maxBytes": 50}]}, held(60, limited={"team.a": 60})),
    ],
)
def test_quotas_of_tiers_and_collections_count(policy: dict[str, Any], held_now: Holdings) -> None:
    scene = Scene(maxBytes=1_000, policy=policy)
    scene.run()
    assert scene.look(holdings=held_now).job is not None
    assert scene.run_status["cause"] == "OverQuota"


def test_a_policy_that_evicts_nothing_starts_nothing() -> None:
    scene = Scene(maxBytes=1_000, policy={"eviction": "None"})
    scene.run()
    assert scene.look(holdings=held(2_000)).job is None
    assert scene.condition("WithinQuota") == ("False", "OverQuota")
    assert scene.condition("Evicting") == ("False", "Idle")
    assert scene.view.status["display"] == {"policy": "None", "used": "200%"}


def test_a_time_to_live_is_looked_after_once_an_hour() -> None:
    scene = Scene(policy={"ttl": 86_400})
    scene.run()
    assert scene.later(HOUR - 1).look().job is None
    assert scene.later(1).look().job is not None
    assert scene.run_status["cause"] == "Expiry"


def test_what_cannot_be_freed_is_told_and_tried_ever_more_rarely(scene: Scene) -> None:
    short = replace(EVICTED, by_reason={}, over=True, shortfalls=("OverQuota: 50 bytes, Pinned",))
    scene.run()
    scene.run(short, holdings=held(950))
    assert (scene.run_status["result"], scene.run_status["failures"]) == ("Short", 1)
    (said,) = scene.plan.events
    assert (said.reason, said.warning) == ("EvictionShort", True)
    assert scene.condition("Ready") == ("True", "Checked")
    assert scene.later(pause_after(1) - 1).look().job is None
    scene.later(1).run(short)
    assert scene.run_status["failures"] == 2
    assert scene.later(pause_after(2) - 1).look().job is None
    assert scene.look(holdings=held(100)).job is None
    assert scene.later(HOUR).look().job is None, "there is nothing to evict any more"


def test_a_folder_that_stays_too_full_is_tried_every_few_minutes(scene: Scene) -> None:
    """What a job makes can go once it has ended, and others may wait for the room."""
    short = replace(EVICTED, by_reason={}, over=True, shortfalls=("OverQuota: 50 bytes, Busy",))
    scene.run()
    for _ in range(9):
        scene.later(pause_after(3)).run(short, holdings=held(950))
    assert scene.run_status["failures"] == 3
    assert scene.later(pause_after(3) - 1).look().job is None
    assert scene.later(1).look().job is not None


def test_pauses_grow_and_are_bounded() -> None:
    assert [pause_after(n) for n in (0, 1, 2, 3)] == [0, 60, 120, 240]
    assert pause_after(10_000) == LONGEST_PAUSE


# What is known of the folder ----------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["CacheFolderUnusable", "EnvironmentFault"])
def test_a_folder_that_cannot_be_used_is_unreachable(scene: Scene, reason: str) -> None:
    plan = scene.fail(reason)
    assert scene.condition("Unreachable") == ("True", reason)
    assert scene.condition("Ready") == ("False", reason)
    assert scene.condition("Drifted")[0] == "Unknown"
    assert [(each.reason, each.warning) for each in plan.events] == [("FolderInTrouble", True)]
    assert scene.later(60).look().job is not None
    assert scene.run_status["cause"] == "Retry"
    scene.look(job=RunJob(JobState.ACTIVE))
    assert scene.condition("Unreachable")[0] == "True", "until it has answered"
    again = scene.look(job=RunJob(JobState.FAILED, (reason, "still"), None, scene.view.now))
    assert not again.events
    scene.later(HOUR).run()
    assert scene.condition("Unreachable") == ("False", "Checked")
    assert scene.run_status["failures"] == 0


@pytest.mark.parametrize("reason", ["StoreUnavailable", "OutOfMemory", "ChildRejected", "Internal"])
def test_a_run_that_failed_for_another_reason_says_nothing_of_the_folder(
    scene: Scene, reason: str
) -> None:
    scene.fail(reason)
    for name in ("Ready", "Drifted", "Unreachable"):
        assert scene.condition(name) == ("Unknown", reason)


def test_a_run_that_ended_without_a_word_proves_nothing(scene: Scene) -> None:
    scene.look()
    plan = scene.look(job=RunJob(JobState.COMPLETE, report=None, ended_at=1_000_001.0))
    assert plan.ended and plan.ended.result == "Unknown"
    assert scene.condition("Ready") == ("Unknown", "RunLost")
    assert scene.later(61).look().job is not None


def test_pods_that_do_not_start_are_no_evidence(scene: Scene) -> None:
    scene.look()
    scene.look(job=RunJob(JobState.ACTIVE, ("MountFailed", "no such claim")))
    for name in ("Ready", "Drifted", "Unreachable", "Evicting"):
        assert scene.condition(name) == ("Unknown", "MountFailed")


def test_a_folder_of_another_store_has_drifted_and_loses_nothing(scene: Scene) -> None:
    plan = scene.run(FolderReport(("OtherStore", "its marker names another")))
    assert plan.ended and plan.ended.result == "Failed"
    assert scene.condition("Drifted") == scene.condition("Ready")[:0] + ("True", "OtherStore")
    assert scene.condition("Ready") == ("False", "OtherStore")
    assert scene.condition("Unreachable") == ("False", "Checked")
    assert scene.look(holdings=held(2_000)).job is None, "not at once"


def test_without_the_store_the_quota_is_unknown_and_counts_stay(scene: Scene) -> None:
    scene.run(holdings=held(500))
    assert scene.condition("WithinQuota") == ("True", "WithinQuota")
    scene.look(holdings=None, store_error="it is away")
    assert scene.condition("WithinQuota") == ("Unknown", "StoreUnavailable")
    assert scene.view.status["totalBytes"] == 500
    assert scene.view.status["display"]["used"] == "50%"
    assert scene.plan.job is None


def test_over_quota_is_reported_once(scene: Scene) -> None:
    scene.run()
    events = [each.reason for each in scene.look(holdings=held(1_001)).events]
    assert events == ["FolderInTrouble"]
    assert scene.condition("WithinQuota") == ("False", "OverQuota")
    assert not scene.look().events


def test_no_limit_is_kept() -> None:
    scene = Scene()
    scene.run(holdings=held(5_000))
    assert scene.condition("WithinQuota") == ("True", "NoQuota")
    assert scene.view.status["display"] == {"policy": "None"}


def test_an_empty_folder_shows_zeros(scene: Scene) -> None:
    scene.look(holdings=Holdings(0, 0, 0, {}, {}))
    status = scene.view.status
    assert (status["totalFiles"], status["tiers"], status["display"]["used"]) == (0, [], "0%")


def test_the_status_has_the_largest_parts_alone(scene: Scene) -> None:
    many = {f"c{n}": (1, 1) for n in range(80)}
    scene.look(holdings=Holdings(80, 80, 80, many, many))
    assert len(scene.view.status["collections"]) == len(scene.view.status["tiers"]) == 50


def test_an_invalid_spec_is_told(scene: Scene) -> None:
    plan = scene.look(folder=None, problem="spec.maxBytes: no")
    assert plan.job is None
    assert scene.condition("Ready") == ("False", "InvalidSpec")


def test_a_folder_that_is_being_deleted_is_left_alone(scene: Scene) -> None:
    assert decide(replace(scene.view, deleting=True), SETTINGS) == FolderPlan()


# What a pod says ----------------------------------------------------------------------------------


def test_a_report_survives_its_way() -> None:
    assert parse_folder_report(EVICTED.message()) == EVICTED
    drifted = FolderReport(("OtherStore", "its marker"))
    assert parse_folder_report(drifted.message()) == drifted


@pytest.mark.parametrize(
    "report",
    [
        replace(EVICTED, shortfalls=tuple("\N{PILE OF POO}" * 500 for _ in range(50))),
        FolderReport(("OtherStore", "\N{PILE OF POO}" * 4_000)),
        replace(EVICTED, by_reason={f"R{n:0300}": Amount(1, 1) for n in range(50)}),
    ],
)
def test_a_report_always_fits(report: FolderReport) -> None:
    text = report.message()
    assert len(text) <= 4096
    found = parse_folder_report(text)
    assert found and (found.over, found.evicted) == (report.over, report.evicted)


@pytest.mark.parametrize(
    "text", ["", "end of a log", "{}", "[]", '{"folder": 1}', '{"folder": {"drift": "x"}}']
)
def test_anything_else_is_no_report(text: str) -> None:
    assert parse_folder_report(text) is None


# Verifying and repairing --------------------------------------------------------------------------

VERIFY, REPAIR = Operation.VERIFY, Operation.REPAIR
FOUND = Verification(
    repair=False, compared=9, kinds={"Missing": 2, "WrongSize": 0}, left=2, names=("a", "b")
)


def command_of(plan: FolderPlan) -> list[str]:
    assert plan.job is not None
    return list(plan.job["spec"]["template"]["spec"]["containers"][0]["command"])


def task_of(plan: FolderPlan) -> dict[str, Any]:
    assert plan.job is not None
    env = plan.job["spec"]["template"]["spec"]["containers"][0]["env"]
    return dict(json.loads(next(each["value"] for each in env if each["name"] == "FPJ_TASK")))


@pytest.mark.parametrize("operation", [VERIFY, REPAIR])
def test_a_wish_to_verify_is_acted_upon_once(scene: Scene, operation: Operation) -> None:
    scene.run()
    plan = scene.look(asked={operation: "now"})
    assert plan.job is not None
    assert plan.job["metadata"]["name"] == f"cache-01234567-{operation.lower()}-2"
    assert command_of(plan) == ["fpj-worker", "verify"]
    assert task_of(plan)["repair"] is (operation is REPAIR)
    assert (scene.run_status["cause"], scene.run_status["operation"]) == ("Requested", operation)
    scene.look(job=RunJob(JobState.ACTIVE))
    assert scene.condition("Evicting") == ("False", "Idle"), "it removes nothing by the policy"
    found = replace(FOUND, repair=operation is REPAIR, repaired=2, left=0)
    ended = scene.look(job=RunJob(JobState.COMPLETE, report=FolderReport(verification=found)))
    assert ended.ended and ended.ended.result == "Succeeded"
    assert ended.status is not None and ended.status["lastVerification"] == {
        "time": scene.run_status["endTime"],
        "operation": operation,
        "compared": 9,
        **dict.fromkeys(("wrongSize", "unrecorded", "leaving", "foreign", "unreadable"), 0),
        "missing": 2,
        "repaired": 2,
        "young": 0,
        "busy": [],
        "troubles": [],
        "names": ["a", "b"],
    }
    assert [(each.reason, each.warning) for each in ended.events] == [("FolderVerified", False)]
    assert scene.later(HOUR).look().job is None
    assert "lastVerification" in scene.view.status
    assert scene.look(asked={operation: "again"}).job is not None


def test_differences_that_are_left_are_a_warning(scene: Scene) -> None:
    scene.run()
    ended = scene.run(FolderReport(verification=FOUND), asked={VERIFY: "now"})
    (said,) = ended.events
    assert (said.reason, said.warning) == ("FolderVerified", True)
    assert said.message == "9 files are as recorded, 2 missing"
    assert scene.condition("Ready") == ("True", "Checked")


def test_what_is_asked_for_at_once_is_queued_and_a_clean_up_comes_first(scene: Scene) -> None:
    scene.run()
    asked = {VERIFY: "x", REPAIR: "y"}
    started = []
    scene.look(requested="z", asked=asked)
    for _ in range(3):
        started.append(scene.run_status.get("operation"))
        scene.look(job=RunJob(JobState.COMPLETE, report=FolderReport(), ended_at=scene.view.now))
        scene.look()
    assert started == [None, VERIFY, REPAIR]
    assert scene.plan.job is None
    marks = ("requestedBy", "verifyRequestedBy", "repairRequestedBy")
    assert [scene.run_status[mark] for mark in marks] == ["z", "x", "y"]


def test_a_change_comes_before_a_wish_to_verify(scene: Scene) -> None:
    scene.run()
    plan = scene.look(generation=2, asked={VERIFY: "x"})
    assert (scene.run_status["cause"], command_of(plan)) == ("Changed", ["fpj-worker", "evict"])


def test_a_verification_that_failed_is_repeated_as_such(scene: Scene) -> None:
    scene.run()
    scene.fail("StoreUnavailable", asked={VERIFY: "x"})
    assert scene.run_status["result"] == "Failed"
    assert scene.look().job is None
    plan = scene.later(61).look()
    assert (scene.run_status["cause"], command_of(plan)) == ("Retry", ["fpj-worker", "verify"])


def test_verifying_often_does_not_delay_what_expires() -> None:
    scene = Scene(policy={"ttl": 3_600})
    scene.run()
    for number in range(2):
        scene.later(HOUR / 2.5).run(FolderReport(verification=FOUND), asked={VERIFY: str(number)})
    plan = scene.later(HOUR / 2.5).look()
    assert (scene.run_status["cause"], command_of(plan)) == ("Expiry", ["fpj-worker", "evict"])


def test_an_operation_of_another_version_evicts(scene: Scene) -> None:
    scene.run()
    status = scene.view.status
    run = {name: value for name, value in status["run"].items() if name != "endTime"}
    plan = scene.look(status={**status, "run": run | {"operation": "Polish"}}, job=None)
    assert command_of(plan) == ["fpj-worker", "evict"]
