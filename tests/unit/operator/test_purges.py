"""What becomes of a purge: its Job, its waits, its end; no cluster, no store."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.test_folders import folder

from fpj_core.formatting import moment
from fpj_core.kube.purgereport import Notified, PurgeReport, Receipt
from fpj_core.manifest import read_resource
from fpj_core.v1alpha1 import CacheFolder, CachePurge, CachePurgeSpec
from fpj_operator.folders.state import JobState
from fpj_operator.keys import Key
from fpj_operator.purges.reconcile import decide
from fpj_operator.purges.state import PurgeJob, PurgePlan, PurgeView
from fpj_operator.settings import settings_from

SETTINGS = settings_from({"FPJ_STORE": "mongodb://x/y", "FPJ_WORKER_IMAGE": "fpj:test"})
WEEK = 604_800.0
NOW = 1_000_000.0
REPORT = PurgeReport(files=1, bytes=5, receipt=(Receipt("a.jpg", "full", "c/full/a.jpg", 5),))


def spec(**given: Any) -> CachePurgeSpec:
    said = {"cacheFolder": "cache", "collection": "photos", "images": ["a.jpg"]} | given
    found = read_resource(
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CachePurge",
            "metadata": {"name": "it", "namespace": "team"},
            "spec": {name: value for name, value in said.items() if value is not None},
        }
    )
    assert isinstance(found, CachePurge)
    return found.spec


class Scene:
    """One purge through its life: what is decided becomes what is seen next."""

    def __init__(self, on: CacheFolder | None = None, **given: Any) -> None:
        self.view = PurgeView(
            key=Key("team", "it"),
            uid="0123456789",
            generation=1,
            spec=spec(**given),
            problem="",
            status={},
            deleting=False,
            now=NOW,
            folder=on or folder(),
            collection="team.photos",
        )
        self.plan = PurgePlan()

    def look(self, **seen: Any) -> PurgePlan:
        self.view = replace(self.view, **seen)
        self.plan = decide(self.view, SETTINGS)
        if self.plan.status is not None:
            self.view = replace(self.view, status=self.plan.status)
        return self.plan

    def end(self, report: PurgeReport | None = REPORT, **seen: Any) -> PurgePlan:
        return self.look(job=PurgeJob(JobState.COMPLETE, report=report, uid="j", **seen))

    def condition(self, name: str) -> tuple[str, str]:
        (found,) = [each for each in self.view.status["conditions"] if each["type"] == name]
        return found["status"], found["reason"]

    @property
    def container(self) -> dict[str, Any]:
        assert self.plan.job is not None
        return dict(self.plan.job["spec"]["template"]["spec"]["containers"][0])

    @property
    def env(self) -> dict[str, Any]:
        return {each["name"]: each.get("value", each) for each in self.container["env"]}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_purge_is_a_job_of_one_pod(scene: Scene) -> None:
    plan = scene.look()
    assert plan.job is not None
    metadata, job = plan.job["metadata"], plan.job["spec"]
    assert (metadata["name"], metadata["namespace"]) == ("it-01234567-purge", "team")
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("CachePurge", "it", "0123456789")
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (2, 21_600)
    assert scene.container["command"] == ["fpj-worker", "purge"]
    task = json.loads(scene.env["FPJ_TASK"])
    assert (task["collection"], task["parts"]) == ("team.photos", 1)
    assert json.loads(scene.env["FPJ_IMAGES_0"]) == ["a.jpg"]
    assert scene.view.status["phase"] == "Running"
    assert scene.view.status["startTime"] == moment(NOW)
    assert scene.condition("Reconciling") == ("True", "Purging")
    assert scene.look().job == plan.job, "one that is gone is made again"


def test_all_is_no_list_of_images() -> None:
    scene = Scene(images=None, all=True)
    scene.look()
    assert json.loads(scene.env["FPJ_TASK"])["parts"] is None
    assert not any(name.startswith("FPJ_IMAGES") for name in scene.env)


def test_no_variable_is_larger_than_a_kernel_takes() -> None:
    keys = [f"{n}$/" + "ü" * 1_500 for n in range(400)]
    scene = Scene(images=keys)
    scene.look()
    parts = json.loads(scene.env["FPJ_TASK"])["parts"]
    texts = [scene.env[f"FPJ_IMAGES_{number}"] for number in range(parts)]
    assert all(len(text.encode()) < 128 * 1024 for text in texts) and parts > 1
    found = [key for text in texts for key in json.loads(text.replace("$$", "$"))]
    assert found == keys


def test_the_token_is_only_referred_to_and_may_lack() -> None:
    hook = {
        "url": "https://cdn.example.com/purge",
        "baseUrl": "https://img.example.com",
        "secretRef": {"name": "cdn", "key": "fpj-webhook-token"},
    }
    scene = Scene(folder(purgeWebhook=hook))
    scene.look()
    reference = {"name": "cdn", "key": "fpj-webhook-token", "optional": True}
    assert scene.env["FPJ_WEBHOOK_TOKEN"]["valueFrom"] == {"secretKeyRef": reference}
    assert json.loads(scene.env["FPJ_TASK"])["folder"]["spec"]["purgeWebhook"] == hook
    scene = Scene(folder(purgeWebhook={"url": hook["url"], "baseUrl": hook["baseUrl"]}))
    scene.look()
    assert "FPJ_WEBHOOK_TOKEN" not in scene.env


def test_a_purge_ends_with_its_receipt(scene: Scene) -> None:
    scene.look()
    scene.look(job=PurgeJob(JobState.ACTIVE, uid="j"))
    assert (scene.view.status["phase"], scene.plan.job) == ("Running", None)
    plan = scene.end(ended_at=NOW + 3)
    status = scene.view.status
    assert status["phase"] == "Completed" and plan.ended
    assert status["completionTime"] == moment(NOW + 3)
    assert status["removed"] == {"files": 1, "bytes": 5}
    assert status["receipt"] == [
        {"source": "a.jpg", "tier": "full", "path": "c/full/a.jpg", "bytes": 5}
    ]
    assert status["receiptTruncated"] is False and "notified" not in status
    assert scene.condition("Complete") == ("True", "Purged")
    assert scene.condition("Failed")[0] == scene.condition("Reconciling")[0] == "False"
    assert scene.condition("Stalled")[0] == "False"
    assert [(each.reason, each.warning) for each in plan.events] == [("Purged", False)]


def test_what_is_not_there_is_complete_and_says_so(scene: Scene) -> None:
    scene.look()
    scene.end(PurgeReport(unknown=1, some_unknown=("a.jpg",)))
    status = scene.view.status
    assert (status["phase"], status["removed"]) == ("Completed", {"files": 0, "bytes": 0})
    assert status["message"] == (
        "nothing was made of what it names: removed 0 files; not known: a.jpg"
    )


def test_of_many_images_that_are_not_known_some_are_named(scene: Scene) -> None:
    scene.look()
    scene.end(PurgeReport(files=1, bytes=5, unknown=9, some_unknown=("a", "b")))
    assert scene.view.status["message"] == "removed 1 files, 5 B; not known: a, b and 7 more"


def test_a_receipt_says_where_it_is_not_whole(scene: Scene) -> None:
    scene.look()
    scene.end(replace(REPORT, files=9))
    assert scene.view.status["receiptTruncated"] is True
    other = Scene()
    other.look()
    other.end(failed=1)
    assert other.view.status["receiptTruncated"] is True
    assert "its log says what" in other.view.status["message"]


def test_a_webhook_that_fails_is_shown_and_fails_nothing(scene: Scene) -> None:
    scene.look()
    plan = scene.end(replace(REPORT, notified=Notified(0, 1, "h answers with status 404")))
    assert scene.view.status["phase"] == "Completed"
    assert scene.view.status["notified"] == {
        "urls": 0,
        "failed": 1,
        "message": "h answers with status 404",
    }
    (_, said) = plan.events
    assert (said.reason, said.warning) == ("WebhookFailed", True)


def test_a_lock_is_waited_for(scene: Scene) -> None:
    plan = scene.look(holder="job photos")
    assert plan.job is None and plan.requeue_after == 5.0
    assert scene.view.status["phase"] == "Pending"
    assert scene.condition("Complete") == ("False", "CollectionLocked")
    assert "job photos works on team.photos" in scene.view.status["message"]
    assert scene.look(holder="").job is not None


def test_a_pod_that_found_the_lock_taken_is_replaced(scene: Scene) -> None:
    scene.look()
    plan = scene.end(PurgeReport(held=True))
    assert (plan.drop_job, plan.job, plan.ended) == ("j", None, False)
    assert scene.condition("Complete") == ("False", "CollectionLocked")
    assert scene.look(job=PurgeJob(JobState.MISSING)).job is not None


def test_what_a_killed_pod_removed_is_not_forgotten_with_its_job(scene: Scene) -> None:
    """Its lock outlives it: the next pod finds that taken, and the Job is made again."""
    scene.look()
    scene.end(PurgeReport(held=True), failed=1)
    scene.look(job=PurgeJob(JobState.MISSING), holder="another process")
    scene.look(holder="")
    scene.end()
    assert scene.view.status["receiptTruncated"] is True
    assert "its log says what" in scene.view.status["message"]


def test_a_store_that_is_away_is_waited_for(scene: Scene) -> None:
    plan = scene.look(store_error="it is away", collection="")
    assert plan.job is None and plan.requeue_after
    assert scene.condition("Complete") == ("False", "StoreUnavailable")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"folder": None, "folder_problem": ("NoCacheFolder", "none")}, "NoCacheFolder"),
        ({"collection": ""}, "UnknownCollection"),
        ({"spec": None, "problem": "spec: no"}, "InvalidSpec"),
        ({"job": PurgeJob(JobState.FAILED, ("DeadlineExceeded", "late"))}, "DeadlineExceeded"),
        ({"job": PurgeJob(JobState.FAILED)}, "RunLost"),
        ({"job": PurgeJob(JobState.COMPLETE)}, "RunLost"),
        (
            {"job": PurgeJob(JobState.COMPLETE, report=PurgeReport(("OtherStore", "x")))},
            "OtherStore",
        ),
    ],
)
def test_what_cannot_be_purged_fails_with_a_reason(
    scene: Scene, seen: dict[str, Any], reason: str
) -> None:
    plan = scene.look(**seen)
    assert plan.job is None and plan.ended and "removed" not in scene.view.status
    assert scene.view.status["phase"] == "Failed"
    assert scene.condition("Failed") == scene.condition("Stalled") == ("True", reason)
    assert scene.condition("Complete")[0] == scene.condition("Reconciling")[0] == "False"
    (said,) = plan.events
    assert (said.reason, said.warning) == ("PurgeFailed", True)


def test_trouble_of_a_pod_is_shown_while_it_lasts(scene: Scene) -> None:
    scene.look()
    scene.look(job=PurgeJob(JobState.ACTIVE, ("PodsUnschedulable", "no node")))
    assert scene.condition("Reconciling") == ("True", "PodsUnschedulable")
    assert scene.view.status["phase"] == "Running"


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, WEEK), ({"ttlSecondsAfterFinished": 60}, 60.0)]
)
def test_what_has_ended_stays_as_it_is_and_goes_after_its_time(
    given: dict[str, Any], seconds: float
) -> None:
    scene = Scene(**given)
    scene.look()
    scene.end()
    ended = scene.view.status
    plan = scene.look(now=NOW + seconds - 1, job=PurgeJob(JobState.MISSING))
    assert (plan.status, plan.job, plan.delete) == (None, None, False)
    assert plan.requeue_after == 1.0
    assert scene.look(now=NOW + seconds).delete
    assert scene.view.status == ended


def test_nothing_is_done_for_one_that_is_being_deleted(scene: Scene) -> None:
    assert scene.look(deleting=True) == PurgePlan()


def test_the_time_of_a_condition_is_that_of_its_change(scene: Scene) -> None:
    scene.look(holder="job x")
    scene.look(now=NOW + 60)
    (found,) = [each for each in scene.view.status["conditions"] if each["type"] == "Complete"]
    assert found["lastTransitionTime"] == moment(NOW)
    assert scene.view.status["startTime"] == moment(NOW)
