"""Whole jobs: from `kubectl apply` to the files, with what people see on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from e2e.conftest import photo
from world import World, slowly, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One operator for all tests of this file."""
    with world_in(cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.cache_folder()
        world.operator()
        yield world


def test_a_job_runs_and_a_second_one_skips_everything(world: World) -> None:
    world.photos("photos", 25)
    tiers = {
        "cache": {"tiers": [{"name": "full", "maxWidth": 120, "maxHeight": 90}]},
        "jobType": "Both",
    }
    world.job("first", "photos", collection="album", sharding={"shardSize": 10}, **tiers)
    world.kube.wait("condition=Complete", "fpj/first", seconds=90)
    status = world.check_exact("first", "photos", completed=25, tiers=2)
    assert (status["phase"], status["stage"], status["attempt"]["number"]) == (
        "Completed",
        "Finish",
        1,
    )
    assert status["shards"] == {"total": 3, "active": 0, "succeeded": 3, "failed": 0}
    assert status["startTime"] <= status["completionTime"]
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert {name for name, held in conditions.items() if held == "True"} == {"Ready", "Complete"}
    world.until(lambda: world.holder("album") == "", "the lease is released")
    world.until(
        lambda: {"Indexing", "Running", "Completed"} <= said_of(world, "first"),
        "its events are written",
    )
    fields = world.get("first")["metadata"]["managedFields"]
    managers = {entry["manager"] for entry in fields if entry.get("subresource")}
    assert "fpj-operator" in managers and managers <= {"fpj-operator", "fpj-worker"}
    world.until(
        lambda: "finalizers" not in world.get("first")["metadata"],
        "a finished job has no finalizer",
    )

    world.job("second", "photos", collection="album", **tiers)
    world.wait_end("second")
    assert (
        world.check_exact("second", "photos", completed=0, skipped=25, tiers=2)["shards"]["total"]
        == 0
    )
    world.until(
        lambda: (
            (world.runner.api.get(world.path("cache", "cachefolders")) or {})
            .get("status", {})
            .get("totalFiles")
            == 50
        ),
        "the folder shows what it holds",
    )

    listed = world.kube("get", "fpj").splitlines()
    assert listed[0].split() == [
        "NAME",
        "TYPE",
        "PHASE",
        "PROGRESS",
        "DONE",
        "FAILED",
        "RATE",
        "ETA",
        "AGE",
    ]
    assert listed[1].split()[:6] == ["first", "Both", "Completed", "100%", "25/25", "0"]
    wide = world.kube("get", "fpj", "-o", "wide").splitlines()
    assert wide[0].split()[8:11] == ["SKIPPED", "SHARDS", "LAST-PROGRESS"]
    assert "immutable" in world.kube("explain", "fpj.spec.jobType").lower()


def said_of(world: World, name: str) -> set[str]:
    """Reasons of the events about a job."""
    return {
        event["reason"]
        for event in world.items("events")
        if event["involvedObject"]["name"] == name
    }


def test_resuming_tries_only_what_failed(world: World) -> None:
    source = world.photos("damaged", 12, broken=3)
    world.job("fixed", "damaged")
    world.wait_end("fixed", "CompletedWithErrors")
    status = world.check_exact("fixed", "damaged", completed=9, failed=3)
    assert status["errorBreakdown"] == {"CorruptImage": 3}
    before = {path: path.stat().st_mtime_ns for path in world.out.rglob("*.jpg")}
    first = status["startTime"]

    (source / "0010.jpg").write_bytes(photo(1010, 160, 120))
    world.resume("fixed")
    world.until(lambda: world.status("fixed")["attempt"]["number"] == 2, "another attempt begins")
    world.wait_end("fixed", "CompletedWithErrors")
    status = world.check_exact("fixed", "damaged", completed=10, failed=2)
    assert status["startTime"] >= first and status["recoveryAttempts"] == 0
    assert all(path.stat().st_mtime_ns == made for path, made in before.items()), (
        "what was made is left alone"
    )


def test_a_job_that_fails_too_often_or_takes_too_long_is_given_up(world: World) -> None:
    world.photos("rotten", 8, broken=4)
    world.job("rotten", "rotten", maxFailedImages=2)
    world.wait_end("rotten", "Failed")
    assert world.reason("rotten") == "TooManyFailedImages"
    assert (
        world.condition("rotten", "Stalled")[0] == world.condition("rotten", "Failed")[0] == "True"
    )

    world.photos("long", 40)
    with slowly(world, 1):
        world.job("long", "long", activeDeadlineSeconds=6)
        world.wait_phase("long", "Running")
        world.wait_end("long", "Failed")
    assert world.reason("long") == "DeadlineExceeded"
    uid = world.uid("long")
    world.until(lambda: not world.pods_left(uid), "its pods end")
    world.until(
        lambda: world.holder("long") == world.holder("rotten") == "", "the leases are released"
    )

    world.resume("long")  # the annotation gives it a new start, and all its time
    world.patch("long", activeDeadlineSeconds=600)
    world.wait_phase("long", "Indexing", "Running", "Completed")
    world.wait_end("long")
    world.check_exact("long", "long", completed=40)


def test_a_finished_job_is_deleted_when_its_time_is_over(world: World) -> None:
    world.photos("short", 2)
    world.job("short", "short", ttlSecondsAfterFinished=2)
    finished = []

    def gone() -> bool:
        found = world.runner.api.get(world.path("short"))
        finished.append(found and found.get("status", {}).get("phase") == "Completed")
        return found is None

    world.until(gone, "the resource is deleted", 90)
    assert any(finished), "it could be seen finished before"
    assert len(list(world.out.glob("*short*/**/*.jpg"))) == 2, "outputs stay"


def test_worker_pods_that_die_cost_no_image(world: World) -> None:
    """Killed, out of memory, evicted: each once, at a time when it has images in hand."""
    world.photos("deaths", 60)
    with slowly(world, 0.3):
        world.job("deaths", "deaths", sharding={"shardSize": 20, "batchSize": 4, "parallelism": 3})
        world.until(
            lambda: len(world.pods_of("deaths", "w", running=True)) == 3, "three pods run", 90
        )
        pods = world.pods_of("deaths", "w", running=True)
        uid = world.uid("deaths")
        world.until(lambda: world.store.job_counts(uid, 1)[0].done >= 4, "work is recorded")
        pods[0].kill()
        pods[1].run_out_of_memory()
        pods[2].evict()
        world.until(lambda: not any(pod.running for pod in pods), "all three end")
    world.wait_end("deaths", seconds=120)
    world.check_exact("deaths", "deaths", completed=60)
    assert world.status("deaths")["recoveryAttempts"] == 0, (
        "the Job controller and the other pods recover from that"
    )


def test_progress_is_reported_while_it_runs(world: World) -> None:
    world.photos("watched", 30)
    seen: set[int] = set()
    with slowly(world, 0.4):
        world.job("watched", "watched", sharding={"parallelism": 1, "batchSize": 2})
        deadline = time.monotonic() + 100
        while world.phase("watched") != "Completed" and time.monotonic() < deadline:
            seen.add(world.status("watched").get("progress", {}).get("completed", 0))
            time.sleep(0.2)
    world.check_exact("watched", "watched", completed=30)
    assert seen - {0, 30}, "numbers in between were shown"
    managers = {entry["manager"] for entry in world.get("watched")["metadata"]["managedFields"]}
    assert "fpj-worker" in managers, "and by the workers themselves"
