"""The chart on a real node: installed as the guide says, tested,
upgraded and rolled back under a job, uninstalled.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from accounts import account, grant, token
from e2e.installation import (
    MISBEHAVING_SETTINGS,
    SYSTEM,
    USER,
    Installation,
    Site,
    build_image,
    check_confined,
    misbehaving,
    only_installation,
    process_of,
)
from e2e.photographs import LITTLE, RESTRICTED, TIERS, photographs
from e2e.truth import sizes_in
from helm import CHART, Helm, HelmError
from planes import ROOT, fresh_namespace
from podrunner.api import MERGE
from typing_extensions import override
from waiting import wait_for
from world import Document, resource

import fpj_core
from fpj_cluster import Cluster, binaries

# The first test waits for the image, and for the other installation.
pytestmark = pytest.mark.timeout(900)

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide" / "helm.md"
IMAGE = "localhost/fpj"
CRDS = (
    "crd/cachefolders.fpj.dev",
    "crd/cachepurges.fpj.dev",
    "crd/fileprocessingjobs.fpj.dev",
    "crd/fileprocessingschedules.fpj.dev",
)


class HelmInstallation(Installation):
    """fpj as the guide to the chart installs it."""

    @override
    def _start_operator(self, started: ExitStack) -> None:
        self._remove_what_is_there()
        self.helm = Helm(self.kube.kubeconfig, self._folder, SYSTEM)
        # Its policies hold for the whole cluster, that is for the tests that come after a failed
        # one, too.
        started.callback(self.helm, "uninstall", "fpj", "--ignore-not-found", seconds=120)
        self._give_volumes()
        self.first_commands = commands_of(README, "On a cluster")
        environment = os.environ | {
            "PATH": f"{self._programs()}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kube.kubeconfig),
            "HOME": str(self._folder),
            "FPJ_IMAGE": IMAGE,
            "MONGODB_URL": self.database.url,
        }
        for command in self.first_commands:
            ran = subprocess.run(
                ["bash", "-euc", command],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}\n{self.shown()}"
        self.helm(
            "upgrade",
            "fpj",
            CHART,
            "--reuse-values",
            "--wait",
            values={"settings": MISBEHAVING_SETTINGS},
        )
        wait_for(lambda: self.leader, lambda: f"an operator leads\n{self.log}", 60)

    @property
    @override
    def operators(self) -> list[Document]:
        """Its pods that are not about to end: beside them are those
        of the sample and of its job.
        """
        pods = self.api.items(
            f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/name%3Dfpj-operator"
        )
        return [
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("podIP")
        ]

    def shown(self) -> str:
        """What there is in the operator's namespace."""
        return self.system("get", "all,fpj,events,pvc", "-o", "wide") + self.log

    def _programs(self) -> Path:
        """A folder with kubectl and helm of the cluster's version."""
        folder = self._folder / "bin"
        folder.mkdir()
        built = binaries.locate(node=True)["kubectl"].parent
        for name in ("kubectl", "helm"):
            (folder / name).symlink_to(built / name)
        return folder

    def _remove_what_is_there(self) -> None:
        """The manifests' installation of other tests, whose operator has ended."""
        if self.kube("get", "crd/fileprocessingjobs.fpj.dev", "--ignore-not-found"):
            for job in self.api.items("/apis/fpj.dev/v1alpha1/fileprocessingjobs"):
                where = job["metadata"]
                jobs = f"/apis/fpj.dev/v1alpha1/namespaces/{where['namespace']}/fileprocessingjobs"
                path = f"{jobs}/{where['name']}"
                self.api.delete(path)
                self.api.patch(path, {"metadata": {"finalizers": None}}, MERGE)
        self.kube(
            "delete",
            f"--filename={ROOT / 'deploy'}",
            f"--filename={ROOT / 'crds'}",
            "--ignore-not-found",
        )

    def _give_volumes(self) -> None:
        """What a storage class would make for the claims of the sample."""
        for name in ("pictures", "cache"):
            folder = self._folder / name
            folder.mkdir()
            os.chown(folder, USER, USER)
            spec = {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "claimRef": {"namespace": SYSTEM, "name": name},
                "hostPath": {"path": str(folder), "type": "Directory"},
            }
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"sample-{name}"},
            }
            self.kube.apply(volume | {"spec": spec})

    def crd_names(self) -> list[str]:
        return [
            name
            for name in self.kube("get", "crd", "-o", "name").split()
            if name.endswith(".fpj.dev")
        ]


def commands_of(page: Path, heading: str) -> list[str]:
    """The commands of the first console block below a heading."""
    section = page.read_text().split(f"## {heading}\n")[1]
    block = re.findall(r"```console\n(.*?)```", section, re.DOTALL)[0]
    return [
        command.replace("\\\n", "") for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]


@pytest.fixture(scope="module")
def fpj(
    node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HelmInstallation]:
    folder = tmp_path_factory.mktemp("helm")
    build_image(folder / "fpj.tar", f"{IMAGE}:{fpj_core.__version__}")
    node_cluster.import_image(folder / "fpj.tar")
    (folder / "fpj.tar").unlink()
    with only_installation(tmp_path_factory), HelmInstallation(node_cluster, folder) as installed:
        yield installed


@pytest.fixture(scope="module")
def site(fpj: HelmInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fresh_namespace(fpj.kube, RESTRICTED) as namespace:
        site = Site(fpj, namespace, tmp_path_factory.mktemp("site"))
        photographs(site.folder / "photographs", 90, 0)
        site.claim("photographs", site.folder / "photographs")
        yield site


def test_three_commands_lead_to_a_finished_job(fpj: HelmInstallation) -> None:
    assert len(fpj.first_commands) == 3
    assert fpj.first_commands == commands_of(GUIDE, "From nothing to a finished job")
    assert [shlex.split(command)[:2] for command in fpj.first_commands] == [
        ["helm", "install"],
        ["kubectl", "apply"],
        ["kubectl", "wait"],
    ]
    job = fpj.system.json("get", "fpj", "first")
    assert job["status"]["phase"] == "Completed"
    assert job["status"]["progress"]["completed"] == 24
    made = [path for path in (fpj._folder / "cache").rglob("*") if path.suffix in (".jpg", ".jpeg")]
    assert len(made) == 48
    assert len(fpj.operators) == 2
    for pod in fpj.operators:
        check_confined(process_of(pod["metadata"]["name"]))


def test_helm_test_says_what_works(fpj: HelmInstallation) -> None:
    said = fpj.helm("test", "fpj", "--logs")
    for name in ("an operator leads", "the resources can be listed", "the store answers"):
        assert f"{name}: ok" in said


def test_a_running_job_outlives_whatever_is_done_to_the_release(
    fpj: HelmInstallation, site: Site
) -> None:
    """Upgrade, rollback, removal, and another installation: its pods go on,
    and nothing is lost or done again.
    """
    slow(site, "carried", 1.5)
    uid, children, pods = site.uid("carried"), uids(site, "jobs"), uids(site, "pods")
    before = names(fpj.operators)
    fpj.helm(
        "upgrade", "fpj", CHART, "--reuse-values", "--wait", "--set=podAnnotations.test=upgraded"
    )
    assert not before & names(fpj.operators), "every operator is a new one"
    fpj.helm("rollback", "fpj", "2", "--wait")
    history = json.loads(fpj.helm("history", "fpj", "--output=json"))
    assert [entry["status"] for entry in history] == ["superseded"] * 3 + ["deployed"]
    assert site.status("carried")["phase"] == "Running", "all of it happened while the job ran"

    fpj.helm("uninstall", "fpj", "--wait")
    assert fpj.crd_names() == [
        "customresourcedefinition.apiextensions.k8s.io/" + name[4:] for name in CRDS
    ]
    assert site.uid("carried") == uid and children <= uids(site, "jobs")

    missing = {"mongodb": {"existingSecret": "nowhere"}, "image": {"repository": IMAGE}}
    with pytest.raises(HelmError, match='there is no Secret "nowhere"'):
        fpj.helm("install", "fpj", CHART, values=missing)
    wanted = {
        "mongodb": {"uri": fpj.database.url},
        "image": {"repository": IMAGE},
        "crds": {"keep": False},
    }
    fpj.helm("install", "fpj", CHART, "--wait", values=wanted | {"settings": MISBEHAVING_SETTINGS})
    site.wait_end("carried", seconds=180)
    status = site.check("carried", sizes_in(site.folder / "photographs"), LITTLE)
    assert status["attempt"]["number"] == 1 and not status.get("recoveryAttempts")
    assert children <= uids(site, "jobs") and pods <= uids(site, "pods"), (
        "what ran before is what ended"
    )
    assert len(uids(site, "pods")) == len(pods), "and nothing else ran"


def names(pods: list[Document]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def slow(site: Site, name: str, slowness: float) -> None:
    """A job of two pods, each of which takes ``slowness`` seconds for each of its 45 images.

    Active.
    """
    sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 45}
    site.job(
        name,
        "photographs",
        collection=name,
        sharding=sharding,
        workerTemplate=misbehaving(slowness=slowness),
        **TIERS,
    )
    site.until(lambda: len(site.pods(name)) == 2, f"{name} runs")


def uids(site: Site, plural: str) -> set[str]:
    """Of what there is in the namespace."""
    group = "apis/batch/v1" if plural == "jobs" else "api/v1"
    return {
        each["metadata"]["uid"]
        for each in site.fpj.api.items(f"/{group}/namespaces/{site.namespace}/{plural}")
    }


def test_the_api_answers_whoever_the_cluster_lets(fpj: HelmInstallation, site: Site) -> None:
    """Through its Service: nobody without a token, and with one what `fpj-view` shows,
    in that namespace alone.
    """
    fpj.helm(
        "upgrade", "fpj", CHART, "--reuse-values", "--wait", "--set=api.enabled=true", seconds=180
    )
    selector = "?labelSelector=app.kubernetes.io/name%3Dfpj-api"
    pods = fpj.api.items(f"/api/v1/namespaces/{SYSTEM}/pods{selector}")
    assert len(pods) == 2
    for pod in pods:
        assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}[
            "Ready"
        ] == "True"
        check_confined(process_of(pod["metadata"]["name"]))
    service = fpj.system.json("get", "service", "fpj-api")["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/api/v1/jobs"

    viewer = account(fpj.kube, site.namespace, "viewer")
    grant(fpj.kube, "fpj-view", viewer, None, site.namespace)
    theirs = token(fpj.kube, viewer)
    # Helm waits for the pods alone: kube-proxy refuses connections until it knows of them too, a
    # moment later.
    address = (service["clusterIP"], service["ports"][0]["port"])
    wait_for(lambda: is_open(address), "the Service leads to the pods", 30)
    assert asked(f"{url}?namespace={site.namespace}")[0] == 401
    assert asked(f"{url}?namespace={site.namespace}", "made.up.token")[0] == 401
    assert asked(f"{url}?namespace={SYSTEM}", theirs)[0] == 403
    wait_for(
        lambda: asked(f"{url}?namespace={site.namespace}", theirs)[0] == 200,
        "the binding holds",
        30,
    )
    _, found = asked(f"{url}?namespace={site.namespace}", theirs)
    assert [job["name"] for job in found["items"]] == ["carried"]
    assert "the API is ready: ok" in fpj.helm("test", "fpj", "--logs")


def is_open(address: tuple[str, int]) -> bool:
    """Whether connections are accepted there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True


def asked(url: str, bearer: str = "") -> tuple[int, Document]:
    """Status and document of an answer."""
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {bearer}"} if bearer else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_uninstalling_without_keeping_leaves_nothing(fpj: HelmInstallation, site: Site) -> None:
    """Of active jobs neither; and nothing waits for an operator that is gone."""
    slow(site, "doomed", 1)
    site.kube.apply(
        resource(
            "CacheFolder", "more", {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}}
        )
    )
    fpj.helm("uninstall", "fpj", "--wait", seconds=240)
    wait_for(lambda: not fpj.crd_names(), "the CustomResourceDefinitions go", 30)
    wait_for(lambda: not uids(site, "jobs") and not site.alive(), "the children go", 60)
    kinds = (
        "clusterroles,clusterrolebindings,"
        "validatingadmissionpolicies,validatingadmissionpolicybindings"
    )
    left = fpj.kube("get", kinds, "-o", "name").split()
    assert [name for name in left if "/fpj" in name] == []
    kinds = (
        "deployments,replicasets,jobs,serviceaccounts,services,secrets,"
        "roles,rolebindings,poddisruptionbudgets"
    )
    mine = "app.kubernetes.io/part-of=fpj,app.kubernetes.io/managed-by=Helm"
    wait_for(
        lambda: (
            not fpj.kube(
                "get", kinds, "--all-namespaces", f"--selector={mine}", "-o", "name"
            ).strip()
        ),
        lambda: fpj.kube("get", kinds, "--all-namespaces", f"--selector={mine}"),
        30,
    )
    leases = [
        each["metadata"]["name"] for each in fpj.kube.items("leases", "--namespace", site.namespace)
    ]
    assert leases == []
