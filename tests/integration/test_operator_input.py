"""What is wrong with the world around a job: a condition with a reason a person understands,
healed where it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import photo
from mongodb_server import guarded_server
from world import World, job_manifest, slowly, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.cache_folder()
        world.operator()
        yield world


def test_bad_input_is_named_and_heals_where_it_can(world: World) -> None:
    world.photos("photos", 5)
    world.photos("empty", 0)
    world.job("early", "photos", collection="early", cacheFolder="later")
    message = world.wait_reason("early", "NoCacheFolder")
    assert "'later'" in message and world.phase("early") == "Pending"
    world.cache_folder("later")
    world.wait_end("early")
    world.check_exact("early", "photos", completed=5)

    nowhere = job_manifest("nowhere", "photos")
    nowhere["spec"]["collection"]["source"]["persistentVolumeClaim"]["path"] = "not/here"
    world.apply(nowhere)
    local = job_manifest("local", "photos")
    local["spec"]["collection"]["source"] = {"local": {"path": "/photos"}}
    world.apply(local)
    world.job("nothing", "empty")
    world.runner.refuse("unpulled-")
    world.job("unpulled", "photos", collection="unpulled")

    world.wait_end("nowhere", "Failed")
    assert world.reason("nowhere") == "SourceNotFound"
    assert "not/here" in world.condition("nowhere", "Failed")[2]
    world.wait_end("local", "Failed")
    assert (
        world.reason("local") == "InvalidSpec"
        and "fpj run" in world.condition("local", "Failed")[2]
    )
    world.wait_end("nothing")
    world.check_exact("nothing", "empty", completed=0)
    message = world.wait_reason("unpulled", "ImagePullFailed", "Progressing")
    assert "localhost/fpj:test" in message and world.phase("unpulled") == "Indexing"
    world.runner.accept()
    world.wait_end("unpulled")
    world.check_exact("unpulled", "photos", completed=5)


def test_names_with_dollar_signs_reach_the_workers_as_they_are(world: World) -> None:
    """A kubelet replaces `$(NAME)` and `$$` in the values of variables."""
    name = "a$$b $(POD_NAME) $x"
    (world.photos("dollars", 0) / name).mkdir()
    (world.folder / "dollars" / name / "1.jpg").write_bytes(photo(1, 160, 120))
    manifest = job_manifest("dollars", "dollars")
    manifest["spec"]["collection"]["source"]["persistentVolumeClaim"]["path"] = name
    world.apply(manifest)
    world.wait_end("dollars")
    world.check_exact("dollars", "dollars", completed=1)


def test_a_quota_that_forbids_pods(world: World) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    world.kube.apply(quota)
    world.kube.wait("jsonpath={.status.hard.pods}=0", "resourcequota/none")
    world.photos("forbidden", 5)
    world.job("forbidden", "forbidden")
    message = world.wait_reason("forbidden", "PodsForbidden", "Progressing")
    assert "exceeded quota" in message
    assert world.phase("forbidden") == "Indexing"
    world.kube("delete", "resourcequota", "none")
    world.wait_end("forbidden", seconds=120)
    world.check_exact("forbidden", "forbidden", completed=5)


def test_the_store_goes_away_at_each_step(world: World) -> None:
    world.photos("storeless", 5)
    world.switch.off()
    world.job("storeless", "storeless", sharding={"shardSize": 2, "batchSize": 1})
    message = world.wait_reason("storeless", "StoreUnavailable")
    assert message.startswith(("MongoDB cannot be reached", "the store does not answer")), message
    assert world.phase("storeless") == "Pending"
    world.runner.hold("storeless-")
    world.switch.on()
    world.wait_phase("storeless", "Indexing")
    world.switch.off()
    world.wait_reason("storeless", "StoreUnavailable", "Progressing")
    assert world.phase("storeless") == "Indexing"
    with slowly(world, 0.5):
        world.switch.on()
        world.runner.accept()
        world.wait_phase("storeless", "Running")
        world.wait_pod("storeless")
        world.switch.off()
        world.wait_reason("storeless", "StoreUnavailable", "Progressing")
        assert world.phase("storeless") == "Running"
        world.switch.on()
        world.wait_end("storeless", seconds=150)
    world.check_exact("storeless", "storeless", completed=5)


def test_an_operator_that_starts_without_a_store(
    cluster: Cluster, mongodb_server: str, tmp_path: Path
) -> None:
    with world_in(cluster, mongodb_server, tmp_path / "storeless") as world:
        world.cache_folder()
        world.photos("photos", 2)
        world.switch.off()
        operator = world.operator()
        world.job("waits", "photos")
        world.wait_reason("waits", "StoreUnavailable")
        assert operator.running and operator.healthz() == 200
        world.switch.on()
        world.wait_end("waits")
        world.check_exact("waits", "photos", completed=2)
        world.until(lambda: world.holder("waits") == "", "the lease is released")


def test_a_store_that_refuses_the_password(
    cluster: Cluster, mongodb_server: str, tmp_path: Path
) -> None:
    """The job says so, once; it goes on when the operator comes back with the right one."""

    def settings(password: str) -> dict[str, Any]:
        url = f"mongodb://fpj:{password}@127.0.0.1:{port}/fpj?authSource=admin"
        return {"store": url, "worker_store": url}

    with (
        guarded_server(tmp_path / "guarded", "fpj", "open-sesame") as port,
        world_in(cluster, mongodb_server, tmp_path / "refused") as world,
    ):
        world.cache_folder()
        world.photos("photos", 2)
        operator = world.operator(**settings("mistyped"))
        world.job("refused", "photos")
        assert world.wait_reason("refused", "StoreUnavailable").endswith(
            "MongoDB refused: Authentication failed."
        )
        version = world.get("refused")["metadata"]["resourceVersion"]
        looks = operator.metric("fpj_operator_reconcile_seconds_count")
        world.until(
            lambda: operator.metric("fpj_operator_reconcile_seconds_count") >= looks + 3,
            "it is looked at again",
        )
        assert world.get("refused")["metadata"]["resourceVersion"] == version, (
            "nothing is written while nothing changes"
        )
        assert operator.running and operator.healthz() == 200
        assert "mistyped" not in operator.log
        operator.kill()
        world.operator(**settings("open-sesame"))
        assert world.wait_end("refused")["progress"]["completed"] == 2
