"""What a job says while its pods cannot start, or are taken away, and which volumes it refuses to
write to, on a real node with a real kubelet.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e.installation import USER, Installation, Site, installed, misbehaving, process_of
from e2e.photographs import LITTLE, RESTRICTED, TIERS, photographs, running
from e2e.truth import sizes_in
from planes import fresh_namespace
from podrunner import Api, ApiError
from world import Document, resource

from fpj_cluster import Cluster
from fpj_core.model import ShardState

pytestmark = pytest.mark.timeout(900)

Report = tuple[str, str, str]


@pytest.fixture(scope="module")
def fpj(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """fpj as its manifests install it."""
    with installed(node_cluster, tmp_path_factory) as installation:
        yield installation


@pytest.fixture(scope="module")
def site(fpj: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A namespace that the tests of this file share."""
    with fresh_namespace(fpj.kube, RESTRICTED) as namespace:
        yield Site(fpj, namespace, tmp_path_factory.mktemp("site"))


def pictures(site: Site, name: str, number: int) -> Path:
    folder = site.folder / name
    photographs(folder, number, broken=0)
    site.claim(name, folder)
    return folder


@contextmanager
def reports(site: Site, name: str) -> Iterator[list[Report]]:
    """Every version of a job's condition Progressing (status, reason, message) from now on."""
    found: list[Report] = []
    api, ended = Api(site.fpj.kubeconfig), threading.Event()
    jobs = f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}/fileprocessingjobs"
    path = f"{jobs}?fieldSelector=metadata.name={name}"
    version = api.call("GET", path)["metadata"]["resourceVersion"]

    def follow(version: str) -> None:
        while not ended.is_set():
            try:
                for event in api.watch(path, version, 2):
                    version = event["object"]["metadata"]["resourceVersion"]
                    conditions = event["object"].get("status", {}).get("conditions", [])
                    found.extend(
                        (each["status"], each["reason"], each["message"])
                        for each in conditions
                        if each["type"] == "Progressing"
                    )
            except ApiError:
                return

    thread = threading.Thread(target=follow, args=(version,))
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(15)
        api.close()


def test_a_missing_config_map_is_named_within_a_minute(site: Site) -> None:
    folder = pictures(site, "mounts", 4)
    template = {
        "volumes": [{"name": "settings", "configMap": {"name": "nowhere"}}],
        "volumeMounts": [{"name": "settings", "mountPath": "/injected"}],
    }
    site.job("mounts", "mounts", workerTemplate=template, **TIERS)
    site.until(
        lambda: site.condition("mounts", "Progressing")[1] == "MountFailed", "MountFailed", 60
    )
    status, _, message = site.condition("mounts", "Progressing")
    assert status == "False"
    assert 'configmap "nowhere" not found' in message
    site.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "nowhere"},
            "data": {"a": "b"},
        }
    )
    site.wait_end("mounts", seconds=240)  # a kubelet waits two minutes at most between its tries
    site.check("mounts", sizes_in(folder), LITTLE)


def test_a_missing_secret_key_is_named_within_a_minute(site: Site) -> None:
    pictures(site, "keys", 4)
    key = {"name": "store-options", "key": "nothing"}
    template = {"env": [{"name": "TEST_OPTIONS", "valueFrom": {"secretKeyRef": key}}]}
    site.job("keys", "keys", workerTemplate=template, **TIERS)
    site.until(
        lambda: site.condition("keys", "Progressing")[1] == "PodConfigInvalid",
        "PodConfigInvalid",
        60,
    )
    assert "store-options" in site.condition("keys", "Progressing")[2]
    site.kube("delete", "fpj", "keys", "--timeout=60s", seconds=70)


def test_an_evicted_pod_is_no_failure_while_another_works(site: Site) -> None:
    folder = pictures(site, "drained", 240)
    sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 30, "batchSize": 5}
    site.job(
        "drained", "drained", sharding=sharding, workerTemplate=misbehaving(slowness=0.3), **TIERS
    )
    site.until(lambda: len(running(site, "drained")) == 2, "two pods work", 120)

    def has_ended(pod: str) -> bool:
        return pod not in running(site, "drained")

    with reports(site, "drained") as seen:
        for _ in range(3):
            pod = site.until(lambda: running(site, "drained"), "a pod works", 90)[0]
            site.evict(pod)
            site.until(partial(has_ended, pod), "it ends")
        site.wait_end("drained", seconds=240)
        site.until(lambda: seen and seen[-1][1] == "AllImagesDone", "the watch sees the end")
    site.check("drained", sizes_in(folder), LITTLE)
    failures = {"WorkerFailed", "Fenced", "OutOfMemory", "JobFailed"}
    assert [each for each in seen if each[0] == "False" and each[1] in failures] == []


def test_the_namespace_of_a_completed_job_with_a_rescued_shard_goes(
    fpj: Installation, tmp_path: Path
) -> None:
    """The child Job has a failed pod, and one that waits for a node in its place:
    they must not keep the namespace.
    """
    with fresh_namespace(fpj.kube, RESTRICTED) as namespace:
        site = Site(fpj, namespace, tmp_path)
        folder = pictures(site, "rescued", 120)
        sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 60, "batchSize": 5}
        site.job(
            "rescued",
            "rescued",
            sharding=sharding,
            workerTemplate=misbehaving(slowness=0.5),
            **TIERS,
        )
        uid = site.uid("rescued")

        def both_work() -> bool:
            return [each.state for each in fpj.store.shards(uid, 1)] == [ShardState.RUNNING] * 2

        site.until(both_work, "two pods work", 120)
        with cordoned(fpj):
            process_of(next(pod for pod in running(site, "rescued") if "-w0-0-" in pod)).kill()
            site.wait_end("rescued", seconds=240)
            site.check("rescued", sizes_in(folder), LITTLE)
            fpj.kube("delete", "namespace", namespace, "--timeout=60s", seconds=70)
        assert fpj.api.get(f"/api/v1/namespaces/{namespace}") is None


@contextmanager
def cordoned(fpj: Installation) -> Iterator[None]:
    """No node takes new pods meanwhile."""
    nodes = [node["metadata"]["name"] for node in fpj.api.items("/api/v1/nodes")]
    fpj.kube("cordon", *nodes)
    try:
        yield
    finally:
        fpj.kube("uncordon", *nodes)


# Volumes ------------------------------------------------------------------------------------------


def test_a_pod_that_fills_its_temporary_folder_is_ended_and_the_job_says_so(site: Site) -> None:
    """Beyond what the volume may hold, or what the container may have."""
    pictures(site, "filling", 1).joinpath("0000.jpg").rename(
        site.folder / "filling" / "fills-its-folder.jpg"
    )
    small = {"limits": {"memory": "512Mi", "ephemeral-storage": "10Mi"}}
    templates = {"volume": with_small_folder(), "worker": misbehaving() | {"resources": small}}
    for name, template in templates.items():
        site.job(name, "filling", workerTemplate=template, **STUBBORN)
    for name in templates:
        site.wait_end(name, "Failed", seconds=120)
        status, reason, message = site.condition(name, "Failed")
        assert (status, reason) == ("True", "EphemeralStorageExceeded")
        assert "the node ended a pod" in message and "10Mi" in message
        assert site.status(name)["progress"]["completed"] == 0
    assert '"scratch"' in site.condition("volume", "Failed")[2]


STUBBORN: dict[str, Any] = TIERS | {
    "limits": {"imageTimeoutSeconds": 300},
    "sharding": {"parallelism": 1, "workersPerPod": 1, "backoffLimitPerShard": 0},
}
"""Long enough at its image for the kubelet to look, and without another try."""


def with_small_folder() -> Document:
    """A template whose TMPDIR is a volume of 10 MiB."""
    template = misbehaving()
    template["env"].append({"name": "TMPDIR", "value": "/scratch"})
    template["volumes"].append({"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}})
    template["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch"})
    return template


def test_nothing_is_written_among_the_originals_of_one_claim(site: Site) -> None:
    """Nor where two claims are the same folder, which only pods can see."""
    folder = site.folder / "album"
    folder.mkdir()
    os.chown(folder, USER, USER)
    photographs(folder / "pictures", 6, broken=0)
    for original in (folder / "pictures", *folder.rglob("*.jpg")):
        os.chown(original, USER, USER)  # so that nothing but fpj keeps it from writing there
    site.claim("album", folder)
    site.claim("twin", folder)
    before = files_of(folder)
    refused = {
        "same": ("album", "pictures", "is the source itself"),
        "above": ("album", None, "lies above the source"),
        "twin": ("twin", "pictures", "is the source itself"),
    }
    for name, (claim, path, _) in refused.items():
        site.kube.apply(cache_folder(name, claim, path))
        site.kube.apply(job_over("album", f"in-{name}", name))
    for name, (_, _, words) in refused.items():
        site.wait_end(f"in-{name}", "Failed", seconds=90)
        status, reason, message = site.condition(f"in-{name}", "Failed")
        assert (status, reason) == ("True", "CacheFolderUnusable")
        assert words in message
    assert files_of(folder) == before


def test_one_claim_may_be_source_and_cache_folder_beside_each_other(site: Site) -> None:
    """And the cache folder may lie within the source, which leaves it out."""
    folder = site.folder / "album"
    before = files_of(folder / "pictures")
    for name, path in (("beside", "made"), ("within", "pictures/made")):
        site.kube.apply(cache_folder(name, "album", path))
        site.kube.apply(job_over("album", f"goes-{name}", name))
        site.wait_end(f"goes-{name}")
        assert site.status(f"goes-{name}")["progress"]["total"] == 6
        assert len(list((folder / path).rglob("*.jpg"))) == 12
    now = files_of(folder / "pictures")
    originals = {each: at for each, at in now.items() if not each.startswith("made")}
    assert originals == before


def cache_folder(name: str, claim: str, path: str | None) -> Document:
    place = {"claimName": claim} | ({"path": path} if path else {})
    return resource("CacheFolder", name, {"storage": {"persistentVolumeClaim": place}})


def job_over(claim: str, name: str, folder: str) -> Document:
    """A job over the pictures of a claim."""
    place = {"persistentVolumeClaim": {"claimName": claim, "path": "pictures"}}
    sharding = {"workersPerPod": 1, "parallelism": 1}
    spec = TIERS | {"collection": {"source": place}, "cacheFolder": folder, "sharding": sharding}
    return resource("FileProcessingJob", name, spec)


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, by path: size and time of its last change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
