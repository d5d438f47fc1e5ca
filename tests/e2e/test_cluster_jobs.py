"""Jobs on a real cluster: `kubectl apply`, real pods from the project's own image,
and what befalls them there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.installation import (
    IMAGE,
    SYSTEM,
    Installation,
    Site,
    check_confined,
    fetched,
    installed,
    misbehaving,
    process_of,
)
from e2e.photographs import BOXES, LITTLE, RESTRICTED, TIERS, photographs, running
from e2e.truth import sizes_in
from PIL import Image
from planes import ROOT, fresh_namespace
from world import Document

from fpj_cluster import Cluster, Kube, KubectlError

# The first test waits for the image, and for the other installation.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def fpj(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """fpj as its manifests install it."""
    with installed(node_cluster, tmp_path_factory) as installation:
        yield installation


@pytest.fixture(scope="module")
def site(fpj: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A namespace that all tests of this file share."""
    with fresh_namespace(fpj.kube, RESTRICTED) as namespace:
        yield Site(fpj, namespace, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def samples(site: Site) -> Path:
    folder = site.folder / "samples"
    shutil.copytree(ROOT / "samples", folder)
    site.claim("samples", folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def starved(site: Site, samples: Path) -> str:
    """A job whose pods have less memory than Python needs.

    It is tried again for over a minute, beside the other tests.

    Its samples are a collection of their own, or it would lock out others.
    """
    tiny = {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "24Mi"}}
    site.job("starved", "samples", workerTemplate={"resources": tiny})
    return "starved"


def test_the_operator_is_up(fpj: Installation) -> None:
    pods = fpj.operators
    assert len(pods) == 2
    addresses = [pod["status"]["podIP"] for pod in pods]
    assert [fetched(f"http://{address}:8080/healthz") for address in addresses] == ["ok\n"] * 2
    assert sorted(fpj.metric("fpj_operator_leader", address) for address in addresses) == [0, 1]
    for pod in pods:
        assert pod["status"]["containerStatuses"][0]["ready"]
        check_confined(process_of(pod["metadata"]["name"]))
    namespace = fpj.api.get(f"/api/v1/namespaces/{SYSTEM}")
    assert namespace is not None
    assert namespace["metadata"]["labels"].items() >= RESTRICTED.items()


def test_the_command_runs_in_the_image(site: Site, samples: Path) -> None:
    """With a root file system that nobody can write to."""
    commands = (
        "fpj --help && fpj run /source --out /tmp/out --store /tmp/fpj.db --workers 1 --json 2>"
        " /dev/null"
    )
    site.kube.apply(bare_pod("alone", commands, claim="samples"))
    site.kube.wait("jsonpath={.status.phase}=Succeeded", "pod/alone", seconds=90)
    # A log is of both streams, in no certain order, and its end may come a moment after the
    # container's.
    site.until(
        lambda: site.kube("logs", "alone").rstrip().endswith("\n}"),
        "the whole summary is in the log",
    )
    usage, _, summary = site.kube("logs", "alone").partition("\n{")
    assert "Usage: fpj" in usage
    progress = json.loads("{" + summary)["progress"]
    assert (progress["total"], progress["completed"]) == (len(sizes_in(samples)),) * 2


def test_samples_are_made_and_then_skipped(site: Site, samples: Path) -> None:
    sizes = sizes_in(samples)
    assert len(sizes) == 16 and all(sizes.values())
    before = {result: images(site, result) for result in ("completed", "skipped")}
    site.job("first", "samples", collection="album", jobType="Both", sharding={"parallelism": 1})
    site.wait_end("first")
    site.kube.wait("condition=Complete", "fpj/first", seconds=5)
    status = site.check("first", sizes, BOXES)
    assert (status["phase"], status["shards"]["succeeded"]) == ("Completed", 1)
    made = {path: path.stat().st_mtime_ns for path in site.out.rglob("*.*")}

    site.job("second", "samples", collection="album", jobType="Both")
    site.wait_end("second")
    status = site.check("second", sizes, BOXES, skipped=True)
    assert status["shards"]["total"] == 0
    assert {path: path.stat().st_mtime_ns for path in site.out.rglob("*.*")} == made

    header, *lines = site.kube("get", "fpj", "first", "second").splitlines()
    assert header.split() == [
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
    assert [line.split()[:6] for line in lines] == [
        [name, "Both", "Completed", "100%", "16/16", "0"] for name in ("first", "second")
    ]
    wide = site.kube("get", "fpj", "first", "-o", "wide").splitlines()[0].split()
    assert wide[8:11] == ["SKIPPED", "SHARDS", "LAST-PROGRESS"]
    assert images(site, "completed") == before["completed"] + 16
    assert images(site, "skipped") == before["skipped"] + 16


def test_what_a_collection_no_longer_needs_goes(site: Site) -> None:
    """Files of deleted photographs, and those of another format; `check` allows no other file."""
    folder = site.folder / "thinning"
    photographs(folder, 8, broken=0)
    site.claim("thinning", folder)
    site.job("thick", "thinning", **TIERS)
    site.wait_end("thick")
    site.check("thick", sizes_in(folder), LITTLE)
    for path in sorted(folder.rglob("*.jpg"))[:3]:
        path.unlink()
    site.job("thin", "thinning", collection="thick", **TIERS)
    site.wait_end("thin")
    site.check("thin", sizes_in(folder), LITTLE, skipped=True)

    webp = {"cache": {"tiers": [TIERS["cache"]["tiers"][0] | {"format": "webp"}]}}
    site.job("webp", "thinning", collection="thick", **TIERS | webp)
    site.wait_end("webp")
    site.check("webp", sizes_in(folder), LITTLE)


def images(site: Site, result: str) -> float:
    """How many images of ended jobs the leading operator has counted."""
    return site.fpj.metric(f'fpj_images_total{{result="{result}"}}')


def test_no_image_is_lost_whatever_befalls_pods_and_store(site: Site) -> None:
    """A worker is killed, one is evicted, the database is killed,
    while four pods work on a thousand images.
    """
    folder = site.folder / "photographs"
    photographs(folder, 1_000, broken=7)
    site.claim("photographs", folder)
    sizes = sizes_in(folder)
    assert sum(size is None for size in sizes.values()) == 7
    sharding = {"parallelism": 4, "workersPerPod": 1, "shardSize": 125, "batchSize": 20}
    site.job(
        "thousand",
        "photographs",
        sharding=sharding,
        workerTemplate=misbehaving(slowness=0.1),
        **TIERS,
    )
    site.until(lambda: len(running(site, "thousand")) == 4, "four pods work", 120)
    uid = site.uid("thousand")
    site.until(lambda: site.fpj.store.job_counts(uid, 1)[0].done >= 60, "work is recorded")
    killed, evicted, witness = running(site, "thousand")[:3]
    check_confined(process_of(witness))
    process_of(killed).kill()
    site.evict(evicted)
    site.until(lambda: not {killed, evicted} & set(running(site, "thousand")), "both are gone")
    assert site.fpj.store.job_counts(uid, 1)[0].done < 900, "there is work left"
    site.fpj.database.kill()
    site.fpj.database.start()

    site.wait_end("thousand", "CompletedWithErrors", seconds=240)
    status = site.check("thousand", sizes, LITTLE)
    assert status["errorBreakdown"] == {"CorruptImage": 4, "UnsupportedFormat": 3}
    assert status["shards"] == {"total": 8, "active": 0, "succeeded": 8, "failed": 0}
    assert (status["attempt"]["number"], status["recoveryAttempts"]) == (
        1,
        0,
    ), "the pods themselves recover from that"
    assert failures_shown(site, "thousand") == {key for key, size in sizes.items() if size is None}


def failures_shown(site: Site, job: str) -> set[str]:
    """Paths of the failed images by `fpj failures`,
    which asks the store through a pod of the operator.
    """
    command = [
        sys.executable,
        "-m",
        "fpj_cli.main",
        "failures",
        job,
        "-n",
        site.namespace,
        "-o",
        "json",
    ]
    environment = os.environ | {"KUBECONFIG": str(site.fpj.kubeconfig), "FPJ_CLUSTER": "1"}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return {each["key"] for each in json.loads(ended.stdout)}


def test_images_that_hang_or_need_too_much_memory_cost_nothing_else(site: Site) -> None:
    folder = site.folder / "bad"
    photographs(folder, 12, broken=0)
    for name in ("hangs", "fills-memory"):
        shutil.copy(folder / "0000.jpg", folder / f"{name}.jpg")
    for name in ("large.png", "progressive.jpg"):  # 243 MB of pixels in a pod of 256
        Image.new("RGB", (9_000, 9_000)).save(folder / name, progressive=True)
    site.claim("bad", folder)
    little = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
    site.job(
        "bad",
        "bad",
        limits={"imageTimeoutSeconds": 5, "maxAttemptsPerImage": 2},
        sharding={"parallelism": 1, "workersPerPod": 2, "backoffLimitPerShard": 1},
        workerTemplate=misbehaving() | {"resources": little},
        **TIERS,
    )
    site.wait_end("bad", "CompletedWithErrors", seconds=180)
    status = site.check(
        "bad",
        sizes_in(folder),
        LITTLE,
        without=["hangs.jpg", "fills-memory.jpg", "progressive.jpg"],
    )
    assert status["errorBreakdown"] == {"DecodeTimeout": 1, "OutOfMemory": 2}
    said = {failure.key: failure.message for failure in site.fpj.store.failures(site.uid("bad"))}
    assert "killed by the system" in said["fills-memory.jpg"], "by the kernel, that is"
    assert site.condition("bad", "Complete")[0] == "True"
    assert site.condition("bad", "Complete")[1] == "ImagesFailed"


def test_pods_without_enough_memory_end_the_job(site: Site, starved: str) -> None:
    site.wait_end(starved, "Failed", seconds=240)
    held, reason, message = site.condition(starved, "Failed")
    assert (held, reason) == ("True", "OutOfMemory"), message
    assert "OOMKilled" in message
    site.until(lambda: not site.pods(starved, "index"), "no pod is left")


def test_workers_may_patch_their_own_status_alone(site: Site, samples: Path) -> None:
    """And that only while their job is active."""
    sharding = {"parallelism": 1, "workersPerPod": 1}
    site.job(
        "first-of-two",
        "samples",
        sharding=sharding,
        workerTemplate=misbehaving(slowness=1),
        **TIERS,
    )
    site.until(lambda: running(site, "first-of-two"), "it runs")
    first = f"first-of-two-{site.uid('first-of-two')[:8]}"
    account = f"system:serviceaccount:{site.namespace}:{first}"
    plain = f"system:serviceaccount:{site.namespace}:default"

    def more() -> list[Document]:
        return [rule for rule in rights(site.kube, account) if rule not in rights(site.kube, plain)]

    assert more() == [
        {
            "apiGroups": ["fpj.dev"],
            "resources": ["fileprocessingjobs/status"],
            "resourceNames": ["first-of-two"],
            "verbs": ["patch"],
        }
    ]
    patch = ("patch", "fileprocessingjobs.fpj.dev/{}", "--subresource=status")
    assert may(site.kube, account, *patch, name="first-of-two")
    assert not may(site.kube, account, *patch, name="second")
    assert not may(site.kube, account, "patch", "fileprocessingjobs.fpj.dev/first-of-two")
    assert not may(site.kube, account, "get", "secrets")
    site.wait_end("first-of-two")
    site.until(lambda: not more(), "its rights are gone")


def rights(kube: Kube, account: str) -> list[Document]:
    """What the API server says an account may do with resources of the namespace."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    asked = json.dumps(review | {"spec": {"namespace": kube.namespace}})
    answer = kube.json("create", f"--as={account}", "--validate=false", "--filename=-", stdin=asked)
    return list(answer["status"]["resourceRules"])


def may(kube: Kube, account: str, verb: str, what: str, *options: str, name: str = "") -> bool:
    try:
        return (
            kube("auth", "can-i", verb, what.format(name), f"--as={account}", *options).strip()
            == "yes"
        )
    except KubectlError:  # how kubectl says no
        return False


def test_a_deleted_job_takes_its_files_along(
    fpj: Installation, node_namespace: str, tmp_path: Path
) -> None:
    """Also an active one: pods record what they have made before they end, so it is found."""
    site = Site(fpj, node_namespace, tmp_path)
    for name, number in (("done", 4), ("active", 40)):
        photographs(tmp_path / name, number, broken=0)
        site.claim(name, tmp_path / name)
    originals = sorted(path for path in tmp_path.rglob("*.jpg"))
    site.job("done", "done", deletionPolicy="Delete", **TIERS)
    site.wait_end("done")
    site.job(
        "active",
        "active",
        deletionPolicy="Delete",
        sharding={"parallelism": 1, "batchSize": 5},
        workerTemplate=misbehaving(slowness=2),
        **TIERS,
    )
    site.until(lambda: list(site.out.glob("*.active/**/*.jpg")), "files are made", 120)
    site.kube("delete", "fpj", "done", "active", "--timeout=150s", seconds=160)
    assert not [path for path in site.out.rglob("*.jpg") if path not in originals]
    assert sorted(path for path in originals if path.exists()) == originals


def test_deleted_jobs_and_namespaces_end_their_pods(
    fpj: Installation, node_namespace: str, tmp_path: Path
) -> None:
    site = Site(fpj, node_namespace, tmp_path)
    for name in ("one", "two"):
        photographs(tmp_path / name, 40, broken=0)
        site.claim(name, tmp_path / name)
        site.job(
            name, name, sharding={"parallelism": 1}, workerTemplate=misbehaving(slowness=2), **TIERS
        )
    site.until(lambda: all(running(site, name) for name in ("one", "two")), "both work", 120)
    kept = running(site, "two")
    site.kube("delete", "fpj", "one", "--timeout=50s")
    site.until(
        lambda: all(kept[0] == pod["metadata"]["name"] for pod in site.alive()), "its pods end"
    )
    assert running(site, "two") == kept
    fpj.kube("delete", "namespace", node_namespace, "--timeout=150s", seconds=160)
    assert fpj.api.get(f"/api/v1/namespaces/{node_namespace}") is None


def bare_pod(name: str, script: str, *, claim: str) -> dict[str, Any]:
    """A pod of the image that runs a script, as confined as the operator's and the workers' are."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-ec", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "source", "mountPath": "/source", "readOnly": True},
        ],
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "source", "persistentVolumeClaim": {"claimName": claim}},
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
