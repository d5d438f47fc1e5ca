"""Purging, verifying and repairing on a real control plane: receipts, webhooks and locks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.worker.test_webhook import SECRET, served
from world import World, resource, world_in

from fpj_cluster import Cluster
from fpj_core.kube.names import lease_name

pytestmark = pytest.mark.timeout(300)

Document = dict[str, Any]
LONG_AGO = 1_000_000_000


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        yield world


def found(world: World, name: str, plural: str = "cachepurges") -> Document:
    return dict((world.runner.api.get(world.path(name, plural)) or {}).get("status") or {})


def purge(world: World, name: str, **spec: Any) -> None:
    world.kube.apply(
        resource("CachePurge", name, {"cacheFolder": "cache", "collection": "photos"} | spec)
    )


def wait_phase(world: World, name: str, phase: str) -> Document:
    world.until(lambda: found(world, name).get("phase") == phase, f"the purge {name} is {phase}")
    return found(world, name)


def condition(status: Document, kind: str) -> tuple[str, str]:
    (said,) = [each for each in status["conditions"] if each["type"] == kind]
    return said["status"], said["reason"]


def events(world: World, name: str) -> set[str]:
    """Reasons of the events about an object."""
    return {
        each["reason"] for each in world.items("events") if each["involvedObject"]["name"] == name
    }


def files(world: World) -> set[str]:
    return {str(path.relative_to(world.out)) for path in world.out.rglob("*.jpg")}


def made(world: World, photos: int = 3, **folder: Any) -> str:
    """A collection in a cache folder; its id in the store."""
    world.cache_folder(**folder)
    world.operator()
    return make(world, photos)


def make(world: World, photos: int = 3) -> str:
    """By an operator that works already."""
    world.photos("photos", photos)
    world.job("photos", "photos", jobType="Thumbnail")
    world.wait_end("photos")
    assert len(files(world)) == photos
    collection = f"{world.namespace}.photos"
    world.until(lambda: world.is_released(collection), "the lock is free")
    return collection


def test_an_image_is_purged_with_a_receipt_and_the_webhook_is_called(world: World) -> None:
    world.kube("create", "secret", "generic", "cdn", f"--from-literal=fpj-webhook-token={SECRET}")
    with served() as (url, asked):
        base = "https://img.example.com/c"
        reference = {"name": "cdn", "key": "fpj-webhook-token"}
        collection = made(world, purgeWebhook={"url": url, "baseUrl": base, "secretRef": reference})
        before = files(world)
        purge(world, "one", images=["0001.jpg", "none.jpg"])
        status = wait_phase(world, "one", "Completed")
    (gone,) = before - files(world)
    (line,) = status["receipt"]
    assert (line["source"], line["tier"], line["path"]) == ("0001.jpg", "thumbnail", gone)
    assert status["removed"] == {"files": 1, "bytes": line["bytes"]}
    assert status["receiptTruncated"] is False
    assert status["notified"] == {"urls": 1, "failed": 0}
    assert "not known: none.jpg" in status["message"]
    assert condition(status, "Complete") == ("True", "Purged")
    assert condition(status, "Failed")[0] == "False"
    body = {"collection": collection, "urls": [f"{base}/{gone}"]}
    assert asked == [("/", f"Bearer {SECRET}", body)]
    assert "Purged" in events(world, "one")
    assert SECRET not in json.dumps([world.items("jobs", "apis/batch/v1"), status])
    world.until(
        lambda: found(world, "cache", "cachefolders").get("totalFiles") == 2, "it is counted"
    )
    listed = world.kube("get", "cachepurges").splitlines()
    assert listed[1].split()[:4] == ["one", "cache", "photos", "Completed"]
    purge(world, "again", images=["0001.jpg"])
    status = wait_phase(world, "again", "Completed")
    assert status["removed"] == {"files": 0, "bytes": 0}
    assert "nothing was made of what it names" in status["message"]


def test_a_purge_of_all_goes_after_its_time_and_a_failed_webhook_fails_nothing(
    world: World,
) -> None:
    with served(*[404] * 9) as (url, _):
        made(world, purgeWebhook={"url": url, "baseUrl": "https://img.example.com"})
        purge(world, "all", all=True)
        status = wait_phase(world, "all", "Completed")
    assert files(world) == set()
    assert status["removed"]["files"] == len(status["receipt"]) == 3
    assert (status["notified"]["urls"], status["notified"]["failed"]) == (0, 3)
    assert "404" in status["notified"]["message"]
    assert {"Purged", "WebhookFailed"} <= events(world, "all")
    purge(world, "brief", all=True, ttlSecondsAfterFinished=0)
    world.until(
        lambda: world.runner.api.get(world.path("brief", "cachepurges")) is None,
        "it is deleted after its end",
    )
    world.until(
        lambda: not any("brief" in name for name in names_of_jobs(world)), "and so is its Job"
    )


def names_of_jobs(world: World) -> list[str]:
    return [each["metadata"]["name"] for each in world.items("jobs", "apis/batch/v1")]


def test_a_purge_waits_while_a_job_holds_the_collection(world: World) -> None:
    collection = made(world)
    before = files(world)
    lease = world.store.acquire_lease(lease_name(collection), "another", 600, world.store.now())
    purge(world, "waits", images=["0000.jpg"])
    status = wait_phase(world, "waits", "Pending")
    assert condition(status, "Complete") == ("False", "CollectionLocked")
    assert files(world) == before
    assert not any("waits" in name for name in names_of_jobs(world))
    world.store.release_lease(lease)
    wait_phase(world, "waits", "Completed")
    assert len(before - files(world)) == 1


def test_an_operator_that_ends_in_the_middle_finds_what_was_removed(world: World) -> None:
    world.cache_folder()
    operator = world.operator()
    make(world)
    world.runner.hold()
    purge(world, "held", all=True)
    wait_phase(world, "held", "Running")
    world.until(lambda: any("held" in name for name in names_of_jobs(world)), "its Job is there")
    operator.kill()
    world.runner.accept()
    world.until(lambda: not files(world), "the pod has removed the files")
    operator.start()
    status = wait_phase(world, "held", "Completed")
    assert status["removed"]["files"] == len(status["receipt"]) == 3
    assert len([name for name in names_of_jobs(world) if "held" in name]) == 1


def test_what_cannot_be_purged_says_why(world: World) -> None:
    made(world)
    world.kube.apply(resource("CacheFolder", "here", {"storage": {"local": {"path": "/x"}}}))
    for name, spec, reason in (
        ("folderless", {"cacheFolder": "none"}, "NoCacheFolder"),
        ("local", {"cacheFolder": "here"}, "InvalidSpec"),
        ("unknown", {"collection": "none"}, "UnknownCollection"),
    ):
        purge(world, name, all=True, **spec)
        status = wait_phase(world, name, "Failed")
        assert condition(status, "Failed") == ("True", reason), status
        assert "PurgeFailed" in events(world, name)
    marker = world.out / ".fpj-folder"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"store": "0" * 32}))
    purge(world, "theirs", all=True)
    assert condition(wait_phase(world, "theirs", "Failed"), "Failed") == ("True", "OtherStore")
    assert len(files(world)) == 3


def test_an_orphan_is_reported_and_then_repaired(world: World) -> None:
    made(world)
    one = next(path for path in world.out.rglob("*.jpg"))
    orphan = one.with_name(one.stem[:2] + "0" * (len(one.stem) - 2) + one.suffix)
    orphan.write_bytes(one.read_bytes())
    os.utime(orphan, (LONG_AGO, LONG_AGO))
    verified = verify(world, "verify")
    assert (verified["operation"], verified["compared"], verified["unrecorded"]) == ("Verify", 3, 1)
    assert verified["names"] == [str(orphan.relative_to(world.out))]
    assert orphan.exists()
    repaired = verify(world, "repair")
    assert (repaired["operation"], repaired["repaired"]) == ("Repair", 1)
    assert not orphan.exists() and len(files(world)) == 3
    assert verify(world, "verify", "again")["unrecorded"] == 0
    assert "FolderVerified" in events(world, "cache")


def verify(world: World, operation: str, value: str = "now") -> Document:
    said = f"fpj.dev/{operation}-requested-at={value}"
    world.kube("annotate", "cachefolder", "cache", said, "--overwrite")

    def ended() -> bool:
        status = found(world, "cache", "cachefolders")
        run = status.get("run") or {}
        return run.get(f"{operation}RequestedBy") == value and bool(run.get("endTime"))

    world.until(ended, f"{operation} has ended")
    return dict(found(world, "cache", "cachefolders")["lastVerification"])
