"""What a job is Completed by: the records of its own attempt,
and outputs by the spec that stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from e2e.conftest import size_of
from podrunner.api import ApiError
from world import World, slowly, world_in

from fpj_cluster import Cluster
from fpj_worker.pod.report import StatusWriter

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def half_done(world: World, name: str) -> str:
    """A job of 40 images that has more than half of them done; its uid."""
    world.photos(name, 40)
    with slowly(world, 0.4):
        world.job(name, name, sharding={"shardSize": 10, "batchSize": 2})
        world.wait_phase(name, "Running")
        uid = world.uid(name)
        world.until(
            lambda: world.store.job_counts(uid, 1)[0].done >= 22, "more than half is done", 90
        )
    return uid


def test_a_store_that_is_emptied_is_no_success(world: World) -> None:
    world.operator(leader_seconds=45)
    half_done(world, "emptied")
    before = world.status("emptied")["attempt"]
    assert (before["plannedShards"], before["plannedImages"]) == (4, 40)
    world.empty_store()
    world.until(lambda: world.events("emptied", "Recovering"), "the loss is noticed")
    status = world.wait_end("emptied", seconds=150)
    after = status["attempt"]
    assert after["storeId"] != before["storeId"]
    assert (after["number"], status["recoveryAttempts"]) == (2, 1)
    skipped = status["progress"]["skipped"]
    assert skipped <= 4, "files that two pods were recording, two at a time, while the records went"
    world.check_exact("emptied", "emptied", completed=40 - skipped, skipped=skipped)


def test_a_store_that_is_emptied_whenever_it_has_a_plan_ends_the_job(world: World) -> None:
    world.operator(leader_seconds=45)
    world.photos("photos", 10)

    def is_at(attempt: int) -> bool:
        return bool(world.status("hopeless").get("attempt", {}).get("number") == attempt)

    with slowly(world, 1):
        world.job("hopeless", "photos", recovery={"maxAttempts": 1})
        for attempt in (1, 2):
            world.until(partial(is_at, attempt), "an attempt")
            world.wait_phase("hopeless", "Running", "Failed")
            world.empty_store()
        status = world.wait_end("hopeless", "Failed", seconds=120)
    assert world.reason("hopeless") == "RecordsLost"
    assert status["recoveryAttempts"] == 1


def test_a_setting_that_is_edited_meanwhile_counts_for_every_file(world: World) -> None:
    world.operator(leader_seconds=45)
    half_done(world, "edited")
    world.patch("edited", thumbnail={"width": 80, "height": 80})
    world.until(lambda: world.status("edited")["attempt"]["number"] == 2, "another attempt begins")
    status = world.wait_end("edited", seconds=150)
    assert (status["observedGeneration"], status["recoveryAttempts"]) == (2, 0)
    collection = f"{world.namespace}.edited"
    files = [
        world.out / path
        for _, _, _, path, _ in world.store.derivative_files(collection, ["thumbnail"])
    ]
    assert len(files) == 40
    assert {max(size_of(path)) for path in files} == {80}, "not one is left of the earlier size"
    world.until(lambda: not world.pods_left(world.uid("edited")), "the last pods end")
    assert {max(size_of(path)) for path in files} == {80}, (
        "nor is one written by a pod of the earlier spec"
    )


def test_a_report_that_comes_late_replaces_nothing(world: World) -> None:
    """Sent while the attempt ran, it arrives after the end.

    By an administrator, so that no right is in the way.
    """
    world.operator(leader_seconds=45)
    uid = half_done(world, "late")
    path = f"{world.path('late')}/status?fieldManager=fpj-worker"
    report = {"progress": {"total": 40, "completed": 1}, "shards": {"active": 2}}

    def send(attempt: int) -> None:
        patch = StatusWriter(world.namespace, "late", uid, attempt).patch(report)
        world.runner.api.call("PATCH", path, patch, content="application/json-patch+json")

    send(1)
    with pytest.raises(ApiError) as refused:
        send(2)
    assert refused.value.status == 422, "of another attempt"
    final = world.wait_end("late")
    with pytest.raises(ApiError) as refused:
        send(1)
    assert refused.value.status == 422
    assert world.status("late")["progress"] == final["progress"]
    world.check_exact("late", "late", completed=40)
