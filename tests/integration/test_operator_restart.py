"""An operator that starts over many finished jobs leaves them alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from podrunner.api import MERGE
from unit.operator.world import World as UnitWorld
from world import World, job_manifest, slowly, world_in

from fpj_cluster import Cluster
from fpj_core.kube import names
from fpj_operator.jobs.children import reporting_rights
from fpj_operator.keys import Key

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


def rights(world: World) -> set[str]:
    """What lets workers report."""
    rbac = "apis/rbac.authorization.k8s.io/v1"
    found = [
        (kind, group)
        for kind, group in (("serviceaccounts", "api/v1"), ("roles", rbac), ("rolebindings", rbac))
    ]
    return {
        f"{kind}/{each['metadata']['name']}"
        for kind, group in found
        for each in world.items(kind, group)
        if names.LABEL_UID in each["metadata"].get("labels", {})
    }


def test_rights_of_workers_end_with_the_job_also_if_the_operator_does_not_come_to_it(
    world: World,
) -> None:
    operator = world.operator()
    world.photos("photos", 40)
    with slowly(world, 0.3):
        world.job("whole", "photos")
        world.wait_pod("whole")
        there = rights(world)
    assert len(there) == 3
    world.wait_end("whole")
    world.until(lambda: not rights(world), "they go with the end")
    assert operator.stop() == 0

    unit = UnitWorld()
    unit.add("whole")
    seen = replace(unit.observe("whole"), key=Key(world.namespace, "whole"), uid=world.uid("whole"))
    world.kube.apply(*reporting_rights(seen))
    before = versions(world)
    assert rights(world) == there
    operator.start()
    world.until(lambda: not rights(world), "the next operator deletes them")
    assert versions(world) == before, "and leaves the job as it is"


def test_no_finished_job_is_written_to(world: World) -> None:
    operator = world.operator()
    world.photos("photos", 1)
    world.job("pattern", "photos")
    status = world.wait_end("pattern")
    world.until(
        lambda: not world.get("pattern")["metadata"].get("finalizers"),
        "the finalizer is taken away",
    )
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
    world.until(
        lambda: f'fpj_jobs{{phase="Failed"}} {float((MANY + 2) // 3)}' in operator.scrape(),
        "all are known",
    )
    world.job("fresh", "photos", collection="pattern")
    world.wait_end("fresh")
    world.until(
        lambda: not world.get("fresh")["metadata"].get("finalizers"), "the finalizer is taken away"
    )
    assert {name: version for name, version in versions(world).items() if name != "fresh"} == before
    assert operator.metric("fpj_operator_workqueue_depth") == 0
    assert not operator.entries("error")
