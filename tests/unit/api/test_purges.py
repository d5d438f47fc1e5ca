"""Purges through the API: what one would remove, that it is ordered, its receipt, and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.api.clusters import Document, listed
from unit.api.site import JSON, V1, Answer
from unit.api.test_folders import TYPE, Shelf, put

from fpj_api import purgeplans
from fpj_api.purgemodels import Purge, PurgePage, PurgePlan
from fpj_core.kube.names import lease_name
from fpj_core.store import open_store

PATH = f"{V1}/namespaces/team/cache/purges"


class Orders(Shelf):
    def post(self, token: str = "t", **body: Any) -> Answer:
        sent = {"cacheFolder": "cache", "collection": "photos"} | body
        return self.ask("POST", PATH, json.dumps(sent).encode(), headers=JSON, token=token)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Orders]:
    store = open_store(str(tmp_path / "fpj.db"))
    put(store, "team.photos", 5)
    put(store, "team.scans", 2, "thumbnail")
    yield Orders(store)
    store.close()


def order(name: str, created: str, **status: Any) -> Document:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "creationTimestamp": created,
        },
        "spec": {"cacheFolder": "cache", "collection": "photos", "all": True},
        "status": status,
    }


# What it would remove -----------------------------------------------------------------------------


def test_a_dry_run_lists_what_was_made_of_the_images(site: Orders) -> None:
    answer = site.post(images=["p1.jpg", "p3.jpg", "p1.jpg", "none.jpg"], dryRun=True)
    assert answer.status == 200, answer.body
    PurgePlan.model_validate(answer.json, strict=True, extra="forbid")
    found = answer.json
    assert (found["files"], found["bytes"]) == (2, 2_000)
    assert [(each["source"], each["tier"]) for each in found["first"]] == [
        ("p1.jpg", "full"),
        ("p3.jpg", "full"),
    ]
    assert (found["unknown"], found["busy"]) == (["none.jpg"], False)
    assert site.cluster.writes == [] and site.real.folder_totals("team.cache")[0] == 7


def test_a_dry_run_lists_a_collection(site: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    site.real.acquire_lease(lease_name("team.photos"), "a job", 60, site.real.now())
    for name in ("photos", "team.photos"):
        found = site.post(collection=name, all=True, dryRun=True).json
        assert (found["files"], found["busy"]) == (5, True)
        assert found["byTier"] == [{"name": "full", "files": 5, "bytes": 5_000}]
    assert site.post(collection="none", all=True, dryRun=True).json["files"] == 0
    monkeypatch.setattr(purgeplans, "MOST_FILES", 4)
    answer = site.post(all=True, dryRun=True)
    assert (answer.status, answer.json["type"]) == (409, TYPE)
    assert "fpj forget" in answer.json["detail"]
    assert site.post(images=["p1.jpg"], dryRun=True).status == 200


# Ordering -----------------------------------------------------------------------------------------


def test_a_purge_is_ordered_by_its_resource(site: Orders) -> None:
    answer = site.post(images=["p1.jpg"])
    assert answer.status == 201, answer.body
    ((verb, name, sent),) = site.cluster.writes
    assert (verb, sent["kind"], sent["metadata"]["namespace"]) == ("create", "CachePurge", "team")
    assert name.startswith("cache-")
    assert sent["metadata"]["annotations"] == {"fpj.dev/changed-by": "anna"}
    assert sent["spec"] == {"cacheFolder": "cache", "collection": "photos", "images": ["p1.jpg"]}
    assert answer.headers["location"] == f"{PATH}/{name}"
    assert (answer.json["phase"], answer.json["finished"], answer.json["all"]) == (
        "Pending",
        False,
        False,
    )
    site.cluster.writes.clear()
    assert site.post(all=True).status == 201
    ((_, other, sent),) = site.cluster.writes
    assert sent["spec"] == {"cacheFolder": "cache", "collection": "photos", "all": True}
    assert other != name


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ""),
        ({"images": ["a"], "all": True}, ""),
        ({"images": []}, "images"),
        ({"images": ["x"] * 1_001}, "images"),
        ({"images": [""]}, "images[0]"),
        ({"all": False}, "all"),
        ({"all": True, "collection": "../x"}, "collection"),
        ({"all": True, "cacheFolder": "X"}, "cacheFolder"),
        ({"all": True, "dryRun": "yes"}, "dryRun"),
        ({"all": True, "tier": "full"}, "tier"),
    ],
)
def test_what_is_not_clear_is_refused(site: Orders, body: Document, path: str) -> None:
    answer = site.post(**body)
    assert answer.status == 422, answer.body
    assert [each["path"] for each in answer.json["errors"]] == [path]
    assert site.cluster.writes == []


def test_a_folder_that_is_not_there_is_not_purged(site: Orders) -> None:
    for dry in (True, False):
        assert site.post(cacheFolder="other", all=True, dryRun=dry).status == 404
    assert site.cluster.writes == []


# What became of it --------------------------------------------------------------------------------


def test_a_receipt(site: Orders) -> None:
    file = {"source": "p1.jpg", "tier": "full", "path": "photos/x.jpg", "bytes": 9}
    site.cluster.objects["CachePurge", "team", "gone"] = order(
        "gone",
        "2026-01-02T03:04:05Z",
        phase="Completed",
        removed={"files": 1, "bytes": 9},
        receipt=[file],
        notified={"urls": 0, "failed": 1, "message": "refused"},
    )
    found = site.ask("GET", f"{PATH}/gone").json
    Purge.model_validate(found, strict=True, extra="forbid")
    assert (found["finished"], found["files"], found["receipt"]) == (True, 1, [file])
    assert found["notified"] == {"urls": 0, "failed": 1, "message": "refused"}
    assert site.ask("GET", f"{PATH}/none").status == 404


def test_the_newest_come_first_page_by_page(site: Orders) -> None:
    made = [
        order(name, f"2026-01-0{day}T00:00:00Z") for name, day in (("a", 1), ("b", 3), ("c", 2))
    ]
    made[0]["spec"]["cacheFolder"] = "other"

    def names(query: str) -> tuple[list[str], str | None]:
        site.cluster.lists = [listed(1, *made)]
        found = site.ask("GET", f"{PATH}{query}").json
        PurgePage.model_validate(found, strict=True, extra="forbid")
        return [each["name"] for each in found["items"]], found["next"]

    first, following = names("?limit=2")
    assert first == ["b", "c"] and following
    assert names(f"?limit=2&cursor={following}") == (["a"], None)
    assert names("?cacheFolder=cache") == (["b", "c"], None)


# Rights -------------------------------------------------------------------------------------------


def test_each_request_takes_a_right_of_its_own(site: Orders) -> None:
    readers = (("get", "cachepurges"), ("list", "cachepurges"), ("get", "cachefolders"))
    site.cluster.objects["CachePurge", "team", "a"] = order("a", "2026-01-02T03:04:05Z")
    site.may(*readers, ("patch", "cachefolders"), ("create", "fileprocessingjobs"))
    assert site.ask("GET", PATH, token="ben").status == 200
    assert site.ask("GET", f"{PATH}/a", token="ben").status == 200
    for dry in (True, False):
        answer = site.post(token="ben", all=True, dryRun=dry)
        assert answer.status == 403
        assert 'cannot create resource "cachepurges"' in answer.json["detail"]
    assert site.cluster.writes == []
    site.may(("create", "cachepurges"))
    site.backend.reviewer._decisions._kept.clear()
    assert site.ask("GET", PATH, token="ben").status == 403
    assert site.ask("GET", f"{PATH}/a", token="ben").status == 403
    assert site.post(token="ben", all=True, dryRun=True).status == 403, "it may not see the folder"
    assert site.post(token="ben", all=True).status == 201
