"""An operator that starts over many finished jobs leaves them alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
from fpj_cluster import Cluster
from podrunner.api import MERGE
from world import World, job_manifest, world_in

pytestmark = pytest.mark.timeout(300)
MANY = 1_000


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def versions(world: World) -> dict[str, str]:
    found = world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1")
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


def test_no_finished_job_is_written_to(world: World) -> None:
    operator = world.operator()
    world.photos("photos", 1)
    world.job("pattern", "photos")
    status = world.wait_end("pattern")
    world.until(lambda: not world.get("pattern")["metadata"].get("finalizers"), "the finalizer is taken away")
    assert operator.stop() == 0

    at = world.path("")
    for number in range(MANY):
        manifest = job_manifest(f"done-{number:04}", "photos")
        ended = copy.deepcopy(status) | ({"phase": "Failed"} if number % 3 == 0 else {})
        world.runner.api.call("POST", at.rstrip("/"), manifest)
        world.runner.api.patch(f"{at}done-{number:04}/status", {"status": ended}, MERGE)
    before = versions(world)
    assert len(before) == MANY + 1

    operator.start()
    world.until(lambda: f'fpj_jobs{{phase="Failed"}} {float((MANY + 2) // 3)}' in operator.scrape(), "all are known")
    world.job("fresh", "photos", collection="pattern")
    world.wait_end("fresh")
    world.until(lambda: not world.get("fresh")["metadata"].get("finalizers"), "the finalizer is taken away")
    assert {name: version for name, version in versions(world).items() if name != "fresh"} == before
    assert operator.metric("fpj_operator_workqueue_depth") == 0
    assert not operator.entries("error")
