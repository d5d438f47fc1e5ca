"""One cache folder through the API: what it holds, what a clean-up would remove, what is asked for,
and who may.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.api.clusters import Document
from unit.api.site import JSON, V1, Answer, Site

from fpj_api import dryruns
from fpj_api.foldermodels import CleanupPlan, FolderDetail
from fpj_core.ids import image_id
from fpj_core.kube.names import lease_name
from fpj_core.model import Counts, Derivative, ImageRecord, Shard, ShardBatch
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

PATH = f"{V1}/namespaces/team/cache/folders/cache"
SIZE = 1_000
TYPE = "tag:fpj.dev,2026:too-large-here"


def put(store: Store, collection: str, count: int, tier: str = "full") -> None:
    """Have a job record derivatives in the folder; those of low ordinals are older."""
    made = []
    for n in range(count):
        image = image_id(collection, f"p{n}.jpg")
        store.upsert_images([ImageRecord(collection, n, image, f"p{n}.jpg", 9, "v1")], 0)
        path = f"{collection}/{tier}/{image[:2]}/{image}.jpg"
        made.append(
            Derivative(
                *(image, tier, collection, n, "d", "v1", "team.cache", path, 4, 3, SIZE, "j"),
                created_at=float(n + 1),
                cost_ms=10,
            )
        )
    job = f"of-{collection}"
    store.put_shards(job, 1, [Shard(job, 1, 0, collection, 0, count, 0)])
    claimed = store.claim_shard(job, 1, "me", 0.0)
    assert claimed
    batch = ShardBatch(job, 1, 0, collection, claimed.epoch, 0, 0, count, Counts(), tuple(made))
    store.flush(batch, 0.0)


def folder(**spec: Any) -> Document:
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "CacheFolder",
        "metadata": {
            "name": "cache",
            "namespace": "team",
            "uid": "uid-cache",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}} | spec,
    }


class Shelf(Site):
    """With one folder, and a real store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.real = store
        self.set()
        self.cluster.users["ben"] = {"authenticated": True, "user": {"username": "ben"}}

    def set(self, **spec: Any) -> Document:
        made = folder(**spec)
        self.cluster.objects["CacheFolder", "team", "cache"] = made
        return made

    def plan(self, token: str = "t") -> Answer:
        return self.ask("POST", f"{PATH}/cleanup?dryRun=true", token=token)

    def put_policy(self, body: object, token: str = "t") -> Answer:
        return self.ask(
            "PUT", f"{PATH}/policy", json.dumps(body).encode(), headers=JSON, token=token
        )

    def may(self, *allowed: tuple[str, str]) -> None:
        """What ben may, as verbs of resources; in this namespace alone."""

        def rule(spec: Document) -> bool:
            asked = spec["resourceAttributes"]
            if spec["user"] != "ben":
                return True
            return (asked["verb"], asked["resource"]) in allowed and (
                asked.get("namespace") == "team"
            )

        self.cluster.rule = rule


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Shelf]:
    store = open_store(str(tmp_path / "fpj.db"))
    yield Shelf(store)
    store.close()


# Reading ------------------------------------------------------------------------------------------


def test_a_folder_is_shown_with_all_there_is_to_it(site: Shelf) -> None:
    made = site.set(maxBytes="10Ki", policy={"lowWatermark": 50})
    made["metadata"]["annotations"] = {
        "fpj.dev/cleanup-requested-at": "a",
        "fpj.dev/verify-requested-at": "b",
    }
    made["status"] = {
        "totalFiles": 3,
        "totalBytes": 300,
        "tiers": [{"name": "full", "files": 3, "bytes": 300}],
        "collections": [{"name": "team.photos", "files": 3, "bytes": 300}],
        "run": {"number": 4, "cause": "Requested", "requestedBy": "a", "startTime": "then"},
        "lastEviction": {"files": 2, "bytes": 200, "byReason": {"Expired": 2}, "time": "t"},
        "lastVerification": {"compared": 5, "missing": 1, "wrongSize": 2, "names": ["x"]},
    }
    found = site.ask("GET", PATH).json
    FolderDetail.model_validate(found, strict=True, extra="forbid")
    assert (found["maxBytes"], found["lowWatermark"], found["highWatermark"]) == (10_240, 50, 90)
    assert (found["highBytes"], found["lowBytes"]) == (9_216, 5_120)
    assert found["tiers"] == [{"name": "full", "files": 3, "bytes": 300}]
    assert found["collections"] == [{"name": "photos", "files": 3, "bytes": 300}]
    assert found["run"] == {
        "number": 4,
        "operation": "Evict",
        "cause": "Requested",
        "startedAt": "then",
        "endedAt": None,
        "result": None,
        "failures": 0,
    }
    assert found["requested"] == ["Verify"], "the clean-up was acted upon"
    assert found["lastEviction"]["byReason"] == {"Expired": 2}
    verified = found["lastVerification"]
    assert (verified["operation"], verified["missing"], verified["wrongSize"]) == ("Verify", 1, 2)
    assert (found["mayChange"], found["mayPurge"], found["managedBy"]) == (True, True, None)
    assert found["spec"] == made["spec"]


@pytest.mark.parametrize(
    ("metadata", "keeper"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"argocd.argoproj.io/instance": "x"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"annotations": {"meta.helm.sh/release-name": "x"}}, "Helm"),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}, "Argo CD"),
        ({"managedFields": [{"manager": "kustomize-controller"}]}, "Flux"),
        ({"managedFields": [{"manager": "kubectl"}, {}], "labels": {"a": "b"}}, None),
    ],
)
def test_who_keeps_the_manifest_is_said(
    site: Shelf, metadata: Document, keeper: str | None
) -> None:
    site.set()["metadata"].update(metadata)
    assert site.ask("GET", PATH).json["managedBy"] == keeper


def test_there_is_none(site: Shelf) -> None:
    site.cluster.objects.clear()
    for answer in (
        site.ask("GET", PATH),
        site.plan(),
        site.ask("POST", f"{PATH}/verify"),
        site.put_policy({"maxBytes": None, "policy": None}),
    ):
        assert answer.status == 404 and "cache folder" in answer.json["detail"]
    assert site.cluster.writes == []


# What a clean-up would remove ---------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_why(site: Shelf) -> None:
    put(site.real, "team.photos", 8)
    put(site.real, "team.scans", 4)
    site.set(maxBytes="10k", policy={"eviction": "LRU", "collections": [limit("scans", "1k")]})
    answer = site.plan()
    assert answer.status == 200, answer.body
    CleanupPlan.model_validate(answer.json, strict=True, extra="forbid")
    found = answer.json
    assert (found["usedBytes"], found["files"], found["bytes"]) == (12_000, 4, 4_000)
    assert found["byReason"] == [
        {"name": "OverCollectionQuota", "files": 3, "bytes": 3_000},
        {"name": "OverQuota", "files": 1, "bytes": 1_000},
    ]
    assert {each["name"]: each["files"] for each in found["byCollection"]} == {
        "photos": 1,
        "scans": 3,
    }
    assert found["byTier"] == [{"name": "full", "files": 4, "bytes": 4_000}]
    assert [each["source"] for each in found["first"]] == ["p0.jpg", "p0.jpg", "p1.jpg", "p2.jpg"]
    assert all(each["path"].endswith(".jpg") for each in found["first"])
    assert (found["refusal"], found["busy"], found["shortfalls"]) == (None, [], [])
    assert site.real.folder_totals("team.cache")[0] == 12, "nothing was changed"
    assert site.cluster.writes == []


def limit(collection: str, most: str) -> Document:
    return {"id": collection, "maxBytes": most}


def test_what_a_job_works_on_stays_and_what_stays_too_full_is_said(site: Shelf) -> None:
    put(site.real, "team.photos", 8)
    site.real.acquire_lease(lease_name("team.photos"), "a job", 60, site.real.now())
    site.set(maxBytes="4k")
    found = site.plan().json
    assert (found["files"], found["busy"]) == (0, ["photos"])
    (short,) = found["shortfalls"]
    assert (short["limit"], short["name"], short["kept"]) == ("OverQuota", "", {"Busy": 8_000})


def test_a_clean_up_that_would_do_nothing_says_why(site: Shelf) -> None:
    put(site.real, "team.photos", 2)
    assert "neither maxBytes nor a policy" in site.plan().json["refusal"]
    site.set(policy={"ttl": 60})
    found = site.plan().json
    assert found["files"] == 0 and "every" in found["refusal"].lower(), found["refusal"]


def test_a_folder_that_is_too_large_is_left_to_the_command(
    site: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site.real, "team.photos", 3)
    site.set(maxBytes="1k")
    monkeypatch.setattr(dryruns, "MOST_FILES", 2)
    answer = site.plan()
    assert (answer.status, answer.json["type"]) == (409, TYPE)
    assert "fpj cleanup --dry-run" in answer.json["detail"]
    monkeypatch.setattr(dryruns, "MOST_FILES", 3)
    assert site.plan().status == 200


def test_a_plan_that_takes_too_long_ends(site: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site.real, "team.photos", 3)
    site.set(maxBytes="1k")
    monkeypatch.setattr(dryruns, "_SECONDS", -1.0)
    answer = site.plan()
    assert (answer.status, answer.json["type"]) == (409, TYPE)
    monkeypatch.undo()
    assert site.plan().status == 200, "its turn was given back"


def test_a_few_are_planned_at_a_time(site: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    site.set(maxBytes="1k")
    turns = site.backend.dry_runs._turns
    while turns.acquire(blocking=False):
        pass
    assert site.plan().status == 503
    turns.release()
    assert site.plan().status == 200
    assert site.plan().status == 200


def test_the_first_hundred_are_named(site: Shelf) -> None:
    put(site.real, "team.photos", 150)
    site.set(maxBytes="10k", policy={"eviction": "LRU"})
    found = site.plan().json
    assert (found["files"], len(found["first"])) == (142, 100)


# What is asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "annotation"),
    [
        ("cleanup", "fpj.dev/cleanup-requested-at"),
        ("cleanup?dryRun=false", "fpj.dev/cleanup-requested-at"),
        ("verify", "fpj.dev/verify-requested-at"),
        ("repair", "fpj.dev/repair-requested-at"),
    ],
)
def test_an_operation_is_asked_for_by_its_annotation(
    site: Shelf, path: str, annotation: str
) -> None:
    answer = site.ask("POST", f"{PATH}/{path}")
    assert answer.status == 202, answer.body
    ((verb, name, sent),) = site.cluster.writes
    assert (verb, name, list(sent)) == ("patch", "cache", ["metadata"])
    assert sent["metadata"]["uid"] == "uid-cache"
    annotations = sent["metadata"]["annotations"]
    assert annotations.keys() == {annotation, "fpj.dev/changed-by"}
    assert annotations[annotation].endswith("Z")
    assert annotations["fpj.dev/changed-by"] == "anna"


def test_a_folder_that_is_being_deleted_is_left_alone(site: Shelf) -> None:
    site.set()["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert site.ask("POST", f"{PATH}/cleanup").status == 409
    assert site.ask("GET", PATH).json["deleting"] is True
    assert site.cluster.writes == []


def test_a_policy_replaces_the_one_before(site: Shelf) -> None:
    site.set(maxBytes="1k", policy={"ttl": 60, "eviction": "LRU"})
    policy = {"highWatermark": 70, "lowWatermark": 60}
    answer = site.put_policy({"maxBytes": "2Gi", "policy": policy})
    assert answer.status == 200, answer.body
    ((_, _, sent),) = site.cluster.writes
    assert sent["spec"]["maxBytes"] == "2Gi"
    given = sent["spec"]["policy"]
    assert {key: value for key, value in given.items() if value is not None} == policy
    assert given["ttl"] is None and given["eviction"] is None and "ttl" in given
    site.cluster.writes.clear()
    assert site.put_policy({"maxBytes": None, "policy": None}).status == 200
    ((_, _, sent),) = site.cluster.writes
    assert sent["spec"] == {"maxBytes": None, "policy": None}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"policy": None}, "maxBytes"),
        ({"maxBytes": None}, "policy"),
        ({"maxBytes": "0", "policy": None}, "maxBytes"),
        ({"maxBytes": "1Xi", "policy": None}, "maxBytes"),
        ({"maxBytes": None, "policy": {"ttl": 1}}, "policy.ttl"),
        ({"maxBytes": None, "policy": {"eviction": "Random"}}, "policy.eviction"),
        ({"maxBytes": None, "policy": {"lowWatermark": 90}}, "policy"),
        ({"maxBytes": None, "policy": {"watermark": 1}}, "policy.watermark"),
        ({"maxBytes": None, "policy": None, "storage": {}}, "storage"),
    ],
)
def test_a_policy_that_breaks_the_rules_is_refused(site: Shelf, body: object, path: str) -> None:
    answer = site.put_policy(body)
    assert answer.status == 422, answer.body
    assert [each["path"] for each in answer.json["errors"]] == [path]
    assert site.cluster.writes == []


# Rights -------------------------------------------------------------------------------------------

READ, CHANGE = ("get", "cachefolders"), ("patch", "cachefolders")
POLICY = {"maxBytes": None, "policy": None}


def test_each_request_takes_a_right_in_the_words_of_the_resource(site: Shelf) -> None:
    for one, expected in ((None, 403), (READ, 200), (CHANGE, 403)):
        site.may(*[one] if one else [])
        site.backend.reviewer._decisions._kept.clear()
        assert site.ask("GET", PATH, token="ben").status == expected
        assert site.plan(token="ben").status == expected
    for more, expected in ((READ, 403), (CHANGE, 202)):
        site.may(READ, more)
        site.backend.reviewer._decisions._kept.clear()
        for path in ("cleanup", "verify", "repair"):
            answer = site.ask("POST", f"{PATH}/{path}", token="ben")
            assert answer.status == expected
        answer = site.put_policy(POLICY, token="ben")
        assert answer.status == (403 if expected == 403 else 200)
        if expected == 403:
            assert 'cannot patch resource "cachefolders"' in answer.json["detail"]
            assert site.cluster.writes == []


def test_a_folder_says_what_the_caller_may(site: Shelf) -> None:
    site.may(READ)
    found = site.ask("GET", PATH, token="ben").json
    assert (found["mayChange"], found["mayPurge"]) == (False, False)
    site.may(READ, CHANGE, ("create", "cachepurges"))
    site.backend.reviewer._decisions._kept.clear()
    found = site.ask("GET", PATH, token="ben").json
    assert (found["mayChange"], found["mayPurge"]) == (True, True)


def test_another_site_changes_nothing(site: Shelf) -> None:
    foreign = {"sec-fetch-site": "cross-site"}
    for method, path in (("POST", "cleanup"), ("POST", "repair"), ("PUT", "policy")):
        assert site.ask(method, f"{PATH}/{path}", b"{}", headers=JSON | foreign).status == 403
    assert site.cluster.writes == []


def test_many_requests_of_one_user_are_bounded(site: Shelf) -> None:
    statuses = [site.plan().status for _ in range(20)]
    assert statuses[0] == 200 and statuses[-1] == 429
