"""Deleting a job with its files, on a real control plane and a real store: what goes, what stays,
what the deletion waits for, and how to let it go.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from podrunner.api import MERGE
from world import World, schedule_manifest, slowly, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)
FINALIZER = "fpj.dev/delete-files"


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def is_gone(world: World, name: str) -> bool:
    return world.runner.api.get(world.path(name)) is None


def outputs(world: World) -> list[str]:
    return sorted(path.relative_to(world.out).parts[1] for path in world.out.rglob("*.jpg"))


def made(world: World, name: str, **spec: object) -> str:
    """A job with the policy that has ended; its uid."""
    world.job(name, "photos", collection="photos", deletionPolicy="Delete", **spec)
    world.wait_end(name)
    assert FINALIZER in world.get(name)["metadata"]["finalizers"]
    return world.uid(name)


def delete(world: World, name: str) -> None:
    world.kube("delete", "fpj", name, "--wait=false")


def test_the_last_job_of_a_collection_takes_all_files_along(world: World) -> None:
    world.operator()
    source = world.photos("photos", 5)
    made(world, "first", jobType="Both")
    made(world, "second", jobType="Thumbnail")
    assert outputs(world) == ["full"] * 5 + ["thumbnail"] * 5
    delete(world, "first")
    world.until(partial(is_gone, world, "first"), "the first job goes")
    assert outputs(world) == ["thumbnail"] * 5, "the second job asks for these"
    delete(world, "second")
    world.until(partial(is_gone, world, "second"), "the second job goes")
    assert outputs(world) == []
    assert len(list(source.iterdir())) == 5
    collection = f"{world.namespace}.photos"
    assert not list(world.store.derivative_files(collection, ["full", "thumbnail"]))
    world.until(lambda: world.is_released("photos"), "the collection is free")


def test_a_job_at_work_is_stopped_first(world: World) -> None:
    world.operator()
    world.photos("photos", 30)
    with slowly(world, 0.5):
        world.job(
            "active",
            "photos",
            collection="photos",
            deletionPolicy="Delete",
            sharding={"batchSize": 2},
        )
        uid = world.uid("active")
        world.until(lambda: world.store.job_counts(uid, 1)[0].done >= 2, "work is recorded", 90)
        delete(world, "active")
        world.until(partial(is_gone, world, "active"), "it goes", 90)
    assert outputs(world) == []
    assert world.record(uid).phase == "Cancelled"
    world.until(lambda: world.is_released("photos"), "the collection is free")


def test_without_its_folder_a_deletion_waits_and_can_be_let_go(world: World) -> None:
    world.operator()
    world.photos("photos", 3)
    uid = made(world, "job")
    lost = world.out.rename(world.folder / "elsewhere")
    world.out.mkdir()
    delete(world, "job")
    world.wait_reason("job", "CacheFolderUnusable", "FilesRemoved")
    assert "Retain" in world.events("job", "CacheFolderUnusable")[0]
    assert world.phase("job") == "Completed" and not is_gone(world, "job")
    world.patch("job", deletionPolicy="Retain")
    world.until(partial(is_gone, world, "job"), "it is let go")
    assert len(list(lost.rglob("*.jpg"))) == 3, "nothing was removed"
    assert world.record(uid).phase == "Completed"


def test_with_the_store_away_a_deletion_waits(world: World) -> None:
    world.operator()
    world.photos("photos", 3)
    made(world, "waits")
    world.switch.off()
    delete(world, "waits")
    world.wait_reason("waits", "StoreUnavailable", "FilesRemoved")
    world.switch.on()
    world.until(partial(is_gone, world, "waits"), "it goes once the store is back", 120)
    assert outputs(world) == []


def test_the_annotation_lets_a_job_go_at_once(world: World) -> None:
    world.operator()
    world.photos("photos", 3)
    made(world, "kept")
    world.kube("annotate", "fpj", "kept", "fpj.dev/keep-files=true")
    delete(world, "kept")
    world.until(partial(is_gone, world, "kept"), "it goes")
    assert len(outputs(world)) == 3


def test_a_deleted_namespace_is_not_held(world: World) -> None:
    world.operator()
    world.photos("photos", 3)
    made(world, "job")
    world.kube("delete", "namespace", world.namespace, "--wait=false")
    world.until(
        lambda: world.runner.api.get(f"/api/v1/namespaces/{world.namespace}") is None,
        "the namespace goes",
        120,
    )
    assert len(outputs(world)) == 3


def test_jobs_of_a_schedule_take_files_along_only_after_the_schedule(world: World) -> None:
    world.operator()
    world.photos("photos", 3)
    nightly = schedule_manifest(collection="photos", suspend=True)
    nightly["spec"]["jobTemplate"]["spec"]["deletionPolicy"] = "Delete"
    world.apply(nightly)
    schedule = world.runner.api.get(world.path("nightly", "fileprocessingschedules"))
    assert schedule
    made(world, "run")
    uid = schedule["metadata"]["uid"]
    labels = {"fpj.dev/schedule": "nightly", "fpj.dev/schedule-uid": uid}
    world.runner.api.patch(world.path("run"), {"metadata": {"labels": labels}}, MERGE)
    delete(world, "run")
    world.until(partial(is_gone, world, "run"), "it goes")
    assert len(outputs(world)) == 3, "the schedule goes on"
    made(world, "orphan")
    world.runner.api.patch(world.path("orphan"), {"metadata": {"labels": labels}}, MERGE)
    world.kube("delete", "fpjs", "nightly")
    delete(world, "orphan")
    world.until(partial(is_gone, world, "orphan"), "it goes")
    assert outputs(world) == []
