"""Deleting a job, or its whole namespace, at any time: the work stops, the collection is free,
the outputs stay.

No finalizer holds a job: it goes at once, operator or not, and so does its namespace. What it
leaves behind is tidied up by the operator that sees it go, or by the next one. The finalizer of an
earlier version is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from podrunner.api import MERGE
from world import World, slowly, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)
FINALIZER = "fpj.dev/stop-work"


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


def has_recorded_work(world: World, uid: str) -> bool:
    return world.store.job_counts(uid, 1)[0].done >= 2


def has_no_children(world: World, uid: str) -> bool:
    return not world.jobs_of(uid)


def is_recorded_as_cancelled(world: World, uid: str) -> bool:
    return world.record(uid).phase == "Cancelled"


def is_only_theirs(world: World, name: str) -> bool:
    return finalizers(world, name) == ["example.org/theirs"]


def at_work(world: World, *names: str) -> dict[str, str]:
    """Start slow jobs, wait until each has recorded something; their uids."""
    for name in names:
        world.photos(name, 30)
    for name in names:
        world.job(name, name, sharding={"batchSize": 2})
    uids = {name: world.uid(name) for name in names}
    for uid in uids.values():
        world.until(partial(has_recorded_work, world, uid), "work is recorded", 90)
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
        assert not any(finalizers(world, name) for name in names)
        for name in names:
            world.kube("delete", "fpj", name, "--wait=false")
        for name in names:
            world.until(partial(is_gone, world, name), f"{name} goes", 30)
    for name, uid in uids.items():
        world.until(partial(has_no_children, world, uid), f"the child Jobs of {name} go")
        world.until(partial(world.have_pods_ended, uid), f"the pods of {name} end")
        world.until(partial(world.is_released, name), f"the lease of {name} is released")
    for name in ("running", "indexing"):
        world.until(
            partial(is_recorded_as_cancelled, world, uids[name]), f"{name} is recorded as cancelled"
        )
    assert world.record(uids["completed"]).phase == "Completed"
    assert {"pending", "suspended"}.isdisjoint(
        name for name, uid in uids.items() if world.store.get_job(uid)
    )
    assert set(outputs) <= set(world.out.rglob("*.jpg")) and outputs
    world.job("running", "running", collection="running")
    world.wait_end("running")
    assert world.uid("running") != uids["running"], (
        "the collection is free for another of that name"
    )


def test_deleting_the_namespace_with_the_operator_at_work(world: World) -> None:
    world.operator()
    with slowly(world, 2.0):
        uids = at_work(world, "one", "two")
        world.kube("delete", "namespace", world.namespace, "--wait=false")
        world.until(lambda: is_emptied(world), "the namespace goes", 120)
    world.until(lambda: not world.runner.pods(running=True), "all processes end")
    for uid in uids.values():
        world.until(partial(is_recorded_as_cancelled, world, uid), "it is recorded as cancelled")


def test_deleting_with_the_operator_gone(world: World) -> None:
    operator = world.operator()
    with slowly(world, 2.0):
        uids = at_work(world, "active", "left")
        operator.kill()
        world.kube("delete", "fpj", "active", "--wait=true", seconds=30)
        world.until(lambda: not world.pods_left(uids["active"]), "its pods go with it")
        assert not world.jobs_of(uids["active"])
        assert world.holder("active") == uids["active"], "nobody has given its lock back"
        assert world.record(uids["active"]).phase != "Cancelled"

        operator.start()
        world.until(lambda: world.holder("active") == "", "the next operator does")
        assert world.record(uids["active"]).phase == "Cancelled", "the lock goes last"
        assert world.holder("left") == uids["left"], "a job that is there keeps its own"
        operator.kill()

        world.kube("delete", "namespace", world.namespace, "--wait=false")
        # The namespace itself comes to that after all pods only.
        world.kube("delete", "fpj", "left", "--wait=false")
        world.until(lambda: is_emptied(world), "the namespace goes", 120)
    world.until(lambda: not world.runner.pods(running=True), "all processes end")


def test_deleting_with_the_store_away(world: World) -> None:
    world.operator()
    with slowly(world, 2.0):
        uids = at_work(world, "active")
        world.switch.off()
        world.kube("delete", "fpj", "active", "--wait=true", seconds=30)
        world.until(lambda: not world.pods_left(uids["active"]), "its pods go with it")
        world.switch.on()
        world.until(
            lambda: world.holder("active") == "",
            "the lock is given back once the store is there",
            120,
        )
    assert world.record(uids["active"]).phase == "Cancelled"


def test_the_finalizer_of_an_earlier_version_is_taken_off_and_no_other(world: World) -> None:
    for name in ("old", "going"):
        world.job(name, "photos", suspend=True)
        found = {"metadata": {"finalizers": [FINALIZER, "example.org/theirs"]}}
        world.runner.api.patch(world.path(name), found, MERGE)
    world.kube("delete", "fpj", "going", "--wait=false")
    world.operator()
    for name in ("old", "going"):
        world.until(partial(is_only_theirs, world, name), "ours is taken off")
    world.runner.api.patch(world.path("going"), {"metadata": {"finalizers": None}}, MERGE)
    world.until(lambda: is_gone(world, "going"), "it goes")
