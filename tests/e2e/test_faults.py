"""Faults on a real cluster, of the store, the spec, quotas and the leader:
no status says what is not so.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chaos.proxied import Proxied
from chaos.results import Order
from chaos.run import run_seed, summary
from chaos.schedule import KINDS
from e2e.installation import Site, installed, misbehaving, process_of, stopped
from e2e.photographs import LITTLE, RESTRICTED, TIERS, photographs, running
from e2e.truth import sizes_in
from planes import fresh_namespace
from pymongo import MongoClient

from fpj_cluster import Cluster

# The first test waits for the image, and for the other installations.
pytestmark = pytest.mark.timeout(900)

SEED, FAULTS = 1, 12
SMALLER = {"full": (100, 75), "thumbnail": (64, 64)}


@pytest.fixture(scope="module")
def fpj(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """fpj as its manifests install it, its connections through proxies."""
    with installed(node_cluster, tmp_path_factory, Proxied) as installation:
        yield installation


@pytest.fixture
def site(fpj: Proxied, tmp_path: Path) -> Iterator[Site]:
    """A namespace for one test."""
    with fresh_namespace(fpj.kube, RESTRICTED) as namespace:
        yield Site(fpj, namespace, tmp_path)


def slow_job(site: Site, name: str, number: int = 96, **spec: Any) -> dict[str, Any]:
    """A job of small pictures, made so slowly that something can befall it; sizes of its images."""
    slowness = spec.pop("slowness", 0.25)
    photographs(site.folder / name, number, broken=0)
    site.claim(name, site.folder / name)
    sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 12, "batchSize": 4} | spec.pop(
        "sharding", {}
    )
    site.job(name, name, sharding=sharding, workerTemplate=misbehaving(slowness), **TIERS, **spec)
    return dict(sizes_in(site.folder / name))


def wait_done(site: Site, name: str, number: int) -> None:
    """Until so many images are recorded."""

    def done() -> bool:
        record = site.fpj.store.get_job(site.uid(name))
        if record is None or record.planned_attempt == 0:
            return False
        counts, _ = site.fpj.store.job_counts(record.id, record.planned_attempt)
        return (record.base + counts).done >= number

    site.until(done, f"{number} images are recorded", 120)


def test_an_emptied_store_is_never_success(site: Site) -> None:
    sizes = slow_job(site, "emptied")
    wait_done(site, "emptied", 40)
    with MongoClient[dict[str, Any]](site.fpj.database.url) as client:
        client.drop_database("fpj")
    recovered = site.until(
        lambda: (
            (site.condition("emptied", "Progressing")[1] == "RecordsLost")
            or _attempt(site, "emptied") > 1
        ),
        "the loss is noticed",
    )
    assert recovered
    site.wait_end("emptied", seconds=240)
    status = site.check("emptied", sizes, LITTLE)
    assert status["recoveryAttempts"] >= 1
    assert status["attempt"]["number"] >= 2


def _attempt(site: Site, name: str) -> int:
    return int(site.status(name).get("attempt", {}).get("number", 0))


def test_a_tier_that_is_edited_during_a_run_is_the_one_that_is_made(site: Site) -> None:
    sizes = slow_job(site, "edited")
    wait_done(site, "edited", 24)
    tier = {"name": "full", "maxWidth": 100, "maxHeight": 75}
    site.kube(
        "patch",
        "fpj",
        "edited",
        "--type=merge",
        "--patch",
        json.dumps({"spec": {"cache": {"tiers": [tier]}}}),
    )
    site.until(lambda: _attempt(site, "edited") == 2, "another attempt begins")
    site.wait_end("edited", seconds=240)
    status = site.check("edited", sizes, SMALLER)
    found = site.get("edited") or {}
    assert status["observedGeneration"] == found["metadata"]["generation"] == 2
    assert status.get("recoveryAttempts", 0) == 0, "nothing went wrong"


def test_a_rejected_child_is_reported_and_started_once_it_is_allowed(site: Site) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    site.kube.apply(quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    site.until(
        lambda: "hard" in site.kube("get", "quota", "none", "-o", "jsonpath={.status}"),
        "the quota holds",
    )
    sizes = slow_job(site, "rejected", 12)
    site.until(
        lambda: site.condition("rejected", "Progressing")[1] == "ChildRejected",
        "the rejection is reported",
    )
    held, _, message = site.condition("rejected", "Progressing")
    assert held == "False"
    assert "exceeded quota: none" in message
    site.kube("delete", "quota", "none")
    site.wait_end("rejected")
    status = site.check("rejected", sizes, LITTLE)
    assert (status["attempt"]["number"], status.get("recoveryAttempts", 0)) == (1, 0)


def test_a_fenced_worker_waits_for_its_rescuer_and_takes_over_when_that_one_dies(
    site: Site,
) -> None:
    # Slow enough for the other one to be still there when the one that stands still is taken for
    # dead.
    sizes = slow_job(
        site, "fenced", 48, slowness=0.8, sharding={"shardSize": 24, "backoffLimitPerShard": 0}
    )
    wait_done(site, "fenced", 8)
    first, second = running(site, "fenced")[:2]
    with stopped(first):
        uid = site.uid("fenced")
        store = site.fpj.store
        site.until(
            lambda: {shard.holder for shard in store.shards(uid, 1)} == {second},
            "the other worker has rescued the shard",
            120,
        )
    process_of(second).kill()
    site.wait_end("fenced", seconds=240)
    site.check("fenced", sizes, LITTLE)


def test_an_index_pod_that_wakes_up_late_changes_nothing(site: Site) -> None:
    photographs(site.folder / "late", 60, broken=0)
    site.claim("late", site.folder / "late")
    slow = misbehaving(slowness=0.05)
    site.job(
        "late",
        "late",
        sharding={"parallelism": 2, "workersPerPod": 1},
        workerTemplate=slow,
        **TIERS,
    )
    (pod,) = site.until(lambda: site.pods("late", "index"), "the index pod runs")
    name = pod["metadata"]["name"]
    site.until(lambda: _started(name), "its process runs")
    with stopped(name):
        site.kube("annotate", "fpj", "late", "fpj.dev/resume=once")
        site.wait_end("late", seconds=240)
    site.check("late", sizes_in(site.folder / "late"), LITTLE)


def _started(pod: str) -> bool:
    try:
        return bool(process_of(pod))
    except AssertionError:
        return False


def test_a_leader_that_is_cut_off_stops_leading(fpj: Proxied, site: Site) -> None:
    """The API server gets nothing from it any more; whoever leads next goes on with the job."""
    sizes = slow_job(site, "led", 60)
    wait_done(site, "led", 8)
    leader = fpj.leader
    with cut_off(leader, fpj.ports["operator-api"]):
        site.until(lambda: fpj.leader not in ("", leader), "the other one leads", 60)
        # Its process ended: nobody at its address says that it leads.
        site.until(lambda: not fpj.leads(leader), "the one that was cut off stops", 60)
    site.wait_end("led", seconds=240)
    status = site.check("led", sizes, LITTLE)
    assert status["attempt"]["number"] == 1


@contextmanager
def cut_off(address: str, port: int) -> Iterator[None]:
    """Packets from a pod to its way to the API server are lost meanwhile."""
    rule = ["-s", address, "-p", "tcp", "--dport", str(port), "-j", "DROP"]
    subprocess.run(["iptables", "-t", "raw", "-I", "PREROUTING", *rule], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-t", "raw", "-D", "PREROUTING", *rule], check=True, timeout=20)


def test_the_faults_of_a_short_seed_lose_nothing(
    fpj: Proxied, node_cluster: Cluster, tmp_path: Path
) -> None:
    """Of `make chaos`; without what other tests on this node would feel."""
    shared = ("apiserver-", "kubelet-", "manager-", "scheduler-", "worker-api")
    kinds = tuple(name for name in KINDS if not name.startswith(shared))
    result = run_seed(
        fpj, node_cluster, tmp_path, Order(SEED, FAULTS, kinds=kinds, images=48, warm=True), print
    )
    print(summary(result))
    assert result.violations == []
    assert result.injected.total() >= FAULTS // 2
