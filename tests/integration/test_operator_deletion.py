"""Deleting a job, or its whole namespace, at any time: the work stops, the collection is free, the outputs stay.

kopf sets the finalizer `fpj.dev/stop-work` on jobs that are at work, and takes it away when they are not. With the
operator gone, such a job cannot go, nor can its namespace, until somebody deletes the job and takes the finalizer away;
the child Jobs then go with it, and the lease expires by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fpj_cluster import Cluster
from world import World, slowly, world_in

pytestmark = pytest.mark.timeout(300)
FINALIZER = "fpj.dev/stop-work"
UNFINALIZE = ("--type=merge", '--patch={"metadata":{"finalizers":null}}')


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def finalizers(world: World, name: str) -> list[str]:
    return list(world.get(name)["metadata"].get("finalizers", []))


def is_gone(world: World, name: str) -> bool:
    return world.runner.api.get(world.path(name)) is None


def is_emptied(world: World) -> bool:
    return world.runner.api.get(f"/api/v1/namespaces/{world.namespace}") is None


def at_work(world: World, *names: str) -> dict[str, str]:
    """Start slow jobs, wait until each has recorded something; their uids."""
    for name in names:
        world.photos(name, 30)
    for name in names:
        world.job(name, name, sharding={"batchSize": 2})
    uids = {name: world.uid(name) for name in names}
    for uid in uids.values():
        world.until(lambda uid=uid: world.store.job_counts(uid, 1)[0].done >= 2, "work is recorded", 90)
    return uids


def test_deleting_in_each_phase(world: World) -> None:
    world.operator()
    with slowly(world, 0.5):
        world.photos("photos", 3)
        world.runner.hold("indexing-")
        world.job("indexing", "photos", collection="indexing")
        world.job("pending", "photos", collection="pending", cacheFolder="none")
        world.job("suspended", "photos", collection="suspended", suspend=True)
        world.job("completed", "photos", collection="completed")
        uids = at_work(world, "running")
        world.wait_phase("indexing", "Indexing")
        world.wait_phase("pending", "Pending")
        world.wait_phase("suspended", "Suspended")
        world.wait_end("completed")
        names = ("running", "indexing", "pending", "suspended", "completed")
        uids |= {name: world.uid(name) for name in names}
        outputs = sorted(world.out.rglob("*.jpg"))
        world.until(lambda: FINALIZER in finalizers(world, "running"), "a job at work has the finalizer")
        assert not any(FINALIZER in finalizers(world, name) for name in ("pending", "suspended"))
        for name in names:
            world.kube("delete", "fpj", name, "--wait=false")
        for name in names:
            world.until(lambda name=name: is_gone(world, name), f"{name} goes", 30)
    for name, uid in uids.items():
        world.until(lambda uid=uid: not world.jobs_of(uid), f"the child Jobs of {name} go")
        world.until(lambda uid=uid: not world.pods_left(uid), f"the pods of {name} end")
        world.until(lambda name=name: world.holder(name) == "", f"the lease of {name} is released")
    for name in ("running", "indexing"):
        world.until(lambda name=name: world.record(uids[name]).phase == "Cancelled", f"{name} is recorded as cancelled")
    assert world.record(uids["completed"]).phase == "Completed"
    assert {"pending", "suspended"}.isdisjoint(name for name, uid in uids.items() if world.store.get_job(uid))
    assert set(outputs) <= set(world.out.rglob("*.jpg")) and outputs
    world.job("running", "photos", collection="running")
    world.wait_end("running")
    assert world.uid("running") != uids["running"], "the collection is free for another of that name"


def test_deleting_the_namespace_with_the_operator_at_work(world: World) -> None:
    world.operator()
    with slowly(world, 2.0):
        uids = at_work(world, "one", "two")
        world.kube("delete", "namespace", world.namespace, "--wait=false")
        world.until(lambda: is_emptied(world), "the namespace goes", 120)
    world.until(lambda: not world.runner.pods(running=True), "all processes end")
    for uid in uids.values():
        world.until(lambda uid=uid: world.record(uid).phase == "Cancelled", "it is recorded as cancelled")


def test_deleting_with_the_operator_gone(world: World) -> None:
    operator = world.operator()
    world.photos("photos", 2)
    world.job("finished", "photos")
    world.wait_end("finished")
    with slowly(world, 2.0):
        uids = at_work(world, "active", "left")
        world.until(lambda: FINALIZER in finalizers(world, "active"), "a job at work has the finalizer")
        world.until(lambda: FINALIZER in finalizers(world, "left"), "a job at work has the finalizer")
        world.until(lambda: not finalizers(world, "finished"), "a finished job has none")
        operator.kill()
        world.kube("delete", "fpj", "finished", "--wait=true", seconds=30)
        world.kube("delete", "fpj", "active", "--wait=false")
        assert not is_gone(world, "active") and finalizers(world, "active") == [FINALIZER], "it waits for the operator"

        world.kube("patch", "fpj", "active", *UNFINALIZE)
        world.until(lambda: is_gone(world, "active"), "without the finalizer it goes", 30)
        world.until(lambda: not world.pods_left(uids["active"]), "and its pods with it")
        assert not world.jobs_of(uids["active"])

        world.kube("delete", "namespace", world.namespace, "--wait=false")
        world.kube("delete", "fpj", "left", "--wait=false")  # the namespace itself comes to that after all pods only
        world.kube("patch", "fpj", "left", *UNFINALIZE)
        world.until(lambda: is_emptied(world), "the namespace goes", 120)
    world.until(lambda: not world.runner.pods(running=True), "all processes end")
