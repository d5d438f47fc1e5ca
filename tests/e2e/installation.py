"""fpj on a real node, installed from its manifests, and namespaces there whose jobs work on folders
of this machine.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from e2e.conftest import INJECTED
from e2e.truth import Size, fitted, size_of
from mongodb_server import free_port, start_server
from planes import IS_WORKER, ROOT, with_crds
from podrunner import Api
from waiting import T, wait_for
from world import FINISHED, MOST_STATUS_BYTES, UID_LABEL, Document, job_manifest, resource

from fpj_cluster import Cluster, Kube
from fpj_cluster.layout import NODE_ADDRESS
from fpj_core.kube.names import SYSTEM_NAMESPACE
from fpj_core.sources.local import CACHE_TAG
from fpj_core.store import Store, open_store
from fpj_generate import install

IMAGE = "localhost/fpj:e2e"
SYSTEM = SYSTEM_NAMESPACE
USER = 65_532
"""The user that all pods run as."""
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Resources of a worker of which two cores run several."""


def build_image(tar: Path, tag: str = IMAGE) -> None:
    """Build the Dockerfile, from what earlier builds left in the cache."""
    command = [str(ROOT / "hack" / "image.sh"), "--tag", tag, str(tar)]
    built = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-10_000:]


@contextmanager
def only_installation(factory: pytest.TempPathFactory) -> Iterator[None]:
    """All workers of a run share one node, and two installations would take each other's jobs:
    one waits.
    """
    common = factory.getbasetemp().parent if IS_WORKER else factory.getbasetemp()
    with (common / "installation.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def installed(
    cluster: Cluster, factory: pytest.TempPathFactory, kind: type[Installation] | None = None
) -> Iterator[Any]:
    """fpj as its manifests install it, from an image of this checkout.

    An `Installation`, or another kind of one.
    """
    folder = factory.mktemp("fpj")
    build_image(folder / "fpj.tar")
    cluster.import_image(folder / "fpj.tar")
    (folder / "fpj.tar").unlink()
    with only_installation(factory), (kind or Installation)(cluster, folder) as installation:
        yield installation


class Database:
    """A server of MongoDB's protocol that pods reach, and that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"mongodb://{NODE_ADDRESS}:{self.port}/fpj"
        self._folder = folder
        self.start()

    def start(self) -> None:
        # An acknowledged write outlives a kill only with the option.
        self._process = start_server(self._folder, self.port, "--sync-on-commit", host=NODE_ADDRESS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile: connections stay open, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class Installation:
    """The resources, the operator, its store."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self.api = Api(self._cluster.kubeconfig)
            started.callback(self.api.close)
            self.database = Database(self._folder / "mongodb")
            started.callback(self.database.kill)
            self.store: Store = open_store(self.database.url)
            started.callback(self.store.close)
            self.kube: Kube = self._cluster.kube
            self.system = self.kube.within(SYSTEM)
            self._start_operator(started)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._started.close()

    def _start_operator(self, started: ExitStack) -> None:
        with_crds(self.kube)
        manifests = (ROOT / "deploy" / "operator.yaml").read_text()
        assert manifests.count(install.IMAGE) == 2, (
            "the operator's own, and the one that it gives to workers"
        )
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.give_store(SYSTEM)
        started.callback(self.system, "delete", "deployment", "fpj-operator", "--wait=false")
        self.kube("apply", "--filename=-", stdin=manifests.replace(install.IMAGE, IMAGE))
        allowed = [f"{name}={value}" for name, value in self.environment.items()]
        self.system("set", "env", "deployment/fpj-operator", *allowed)
        self.system("rollout", "status", "deployment/fpj-operator", "--timeout=120s", seconds=130)
        wait_for(lambda: self.leader, lambda: f"an operator leads\n{self.log}", 60)

    def give_store(self, namespace: str) -> None:
        """The Secret by which the pods of a namespace find the store."""
        secret = {
            "metadata": {"name": "fpj-store"},
            "stringData": {"url": self.store_url(namespace)},
        }
        self.kube.within(namespace).apply({"apiVersion": "v1", "kind": "Secret"} | secret)

    def store_url(self, namespace: str) -> str:
        """By which the pods of a namespace reach the store."""
        return self.database.url

    @property
    def environment(self) -> dict[str, str]:
        """Of the operator, beside what its manifest says."""
        return MISBEHAVING

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self._cluster.kubeconfig

    @property
    def operators(self) -> list[Document]:
        """The operator's pods, but for those that a rollout is about to end."""
        pods = self.api.items(f"/api/v1/namespaces/{SYSTEM}/pods")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    @property
    def leader(self) -> str:
        """The address of the operator that leads; empty for none."""
        addresses = [pod["status"]["podIP"] for pod in self.operators]
        return next((each for each in addresses if self.leads(each)), "")

    def leads(self, address: str) -> bool:
        """Whether the operator there says that it leads; one that has ended says nothing."""
        try:
            return self.metric("fpj_operator_leader", address) == 1
        except OSError:
            return False

    def metric(self, name: str, address: str = "") -> float:
        """A metric with its labels, as Prometheus gets it: the leader's,
        or that of a given operator.
        """
        text = fetched(f"http://{address or self.leader}:9090/metrics")
        return next(
            (float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")),
            0.0,
        )

    @property
    def log(self) -> str:
        return self.system(
            "logs", "--selector=app.kubernetes.io/name=fpj-operator", "--tail=200", "--prefix"
        )


class Site:
    """A namespace with a cache folder, and with claims on folders of this machine."""

    def __init__(self, fpj: Installation, namespace: str, folder: Path) -> None:
        self.fpj = fpj
        self.namespace = namespace
        self.kube = fpj.kube.within(namespace)
        self.folder = folder
        self.out = folder / "cache"
        self.out.mkdir()
        os.chown(self.out, USER, USER)
        fpj.give_store(namespace)
        self.claim("cache", self.out)
        self.kube.apply(
            resource(
                "CacheFolder",
                "cache",
                {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}},
            )
        )
        injected = {path.name: path.read_text() for path in (INJECTED / "decoder").glob("*.py")}
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "injected"},
                "data": injected,
            }
        )

    def claim(self, name: str, folder: Path) -> None:
        """A claim on a volume that is a folder of this machine."""
        folder.chmod(0o755)
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        size = {"storage": "1Gi"}
        claim_ref = {"namespace": self.namespace, "name": name}
        place = {
            "hostPath": {"path": str(folder), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        volume = f"{self.namespace}-{name}"
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": common | place | {"capacity": size, "claimRef": claim_ref},
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": common | {"volumeName": volume, "resources": {"requests": size}},
            },
        )

    # Jobs -----------------------------------------------------------------------------------------

    def job(self, name: str, source: str, *, collection: str | None = None, **spec: Any) -> None:
        """Apply a FileProcessingJob over a claim, of small pods unless the test says otherwise."""
        template = {"resources": SMALL} | spec.pop("workerTemplate", {})
        self.kube.apply(
            job_manifest(name, source, collection=collection, workerTemplate=template, **spec)
        )

    def get(self, name: str) -> Document | None:
        return self.fpj.api.get(
            f"/apis/fpj.dev/v1alpha1/namespaces/{self.namespace}/fileprocessingjobs/{name}"
        )

    def uid(self, name: str) -> str:
        return str((self.get(name) or {})["metadata"]["uid"])

    def status(self, name: str) -> Document:
        return dict((self.get(name) or {}).get("status", {}))

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        """(status, reason, message)."""
        found = [each for each in self.status(name).get("conditions", []) if each["type"] == kind]
        return (
            (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")
        )

    def wait_end(self, name: str, phase: str = "Completed", seconds: float = 120) -> Document:
        """Wait until the job has ended; it must have ended in that phase."""
        self.until(lambda: self.status(name).get("phase") in FINISHED, f"{name} ends", seconds)
        status = self.status(name)
        assert status["phase"] == phase, self._shown(str(status))()
        return status

    def until(self, condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
        """Wait for a condition; where it does not come, everything is shown."""
        return wait_for(condition, self._shown(what), seconds)

    def _shown(self, what: str) -> Callable[[], str]:
        def late() -> str:
            print(self.kube("get", "fpj,jobs,pods,events", "-o", "wide"))
            print(self.kube("get", "fpj", "-o", "yaml")[-20_000:])
            print(
                self.kube(
                    "logs", f"--selector={UID_LABEL}", "--tail=40", "--prefix", "--ignore-errors"
                )[-20_000:]
            )
            print(self.fpj.log[-20_000:])
            return what

        return late

    # Pods -----------------------------------------------------------------------------------------

    def pods(self, job: str, role: str = "shards") -> list[Document]:
        """The pods of a job that have not ended, the oldest first."""
        selector = f"{UID_LABEL}%3D{self.uid(job)},fpj.dev/role%3D{role}"
        return self.alive(f"?labelSelector={selector}")

    def alive(self, query: str = "") -> list[Document]:
        """The pods that have not ended, the oldest first."""
        found = self.fpj.api.items(f"/api/v1/namespaces/{self.namespace}/pods{query}")
        going = [pod for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        return sorted(going, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def evict(self, pod: str) -> None:
        """What draining a node does to each of its pods."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        self.fpj.api.call("POST", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", body)

    # The truth ------------------------------------------------------------------------------------

    def check(
        self,
        name: str,
        sizes: Mapping[str, Size | None],
        boxes: Mapping[str, Size],
        *,
        skipped: bool = False,
        without: Iterable[str] = (),
    ) -> Document:
        """All that a job says, recorded and wrote is what follows from its images' sizes.

        Nothing is there of images that cannot be decoded, nor of those that it was to go
        ``without``.
        """
        found = self.get(name)
        assert found
        status, uid = found["status"], found["metadata"]["uid"]
        left_out = {key for key, size in sizes.items() if size is None} | set(without)
        good = {key: size for key, size in sizes.items() if size and key not in left_out}
        counts = (0, len(good)) if skipped else (len(good), 0)
        wanted = (len(sizes), *counts, len(left_out))
        progress = status["progress"]
        assert (
            tuple(progress[each] for each in ("total", "completed", "skipped", "failed")) == wanted
        ), status
        assert sum(status["errorBreakdown"].values()) == len(left_out)
        assert len(str(status)) <= MOST_STATUS_BYTES
        record = self.fpj.store.get_job(uid)
        assert record
        shards, _ = self.fpj.store.job_counts(uid, record.planned_attempt)
        whole = record.base + shards
        assert (whole.completed, whole.skipped, whole.failed) == wanted[1:]
        failures = [failure.key for failure in self.fpj.store.failures(uid, limit=1_000)]
        assert sorted(failures) == sorted(left_out)
        self._check_files(found, good, boxes)
        return dict(status)

    def _check_files(
        self, job: Document, good: Mapping[str, Size], boxes: Mapping[str, Size]
    ) -> None:
        """One file for each image and tier, of the right size; and no other file."""
        store = self.fpj.store
        collection = (
            f"{self.namespace}.{job['spec']['collection'].get('id', job['metadata']['name'])}"
        )
        stop = store.next_ordinal(collection)
        keys = {image.ordinal: image.key for image in store.images(collection, 0, stop)}
        rows = store.derivatives(collection, 0, stop, list(boxes))
        made = {(keys[row.ordinal], row.tier): row for row in rows}
        assert len(rows) == len(made), "no image is made twice"
        assert set(made) == {(key, tier) for key in good for tier in boxes}
        for (key, tier), row in made.items():
            path = self.out / row.path
            assert (row.width, row.height) == size_of(path) == fitted(good[key], boxes[tier]), (
                key,
                tier,
            )
            assert row.bytes == path.stat().st_size
        found = [
            path
            for path in (self.out / collection).rglob("*")
            if path.is_file() and path.name != CACHE_TAG
        ]
        files = {str(path.relative_to(self.out)) for path in found}
        assert files == {row.path for row in rows}


MISBEHAVING = {
    "FPJ_TEMPLATE_VOLUMES": "configMap,emptyDir",
    "FPJ_TEMPLATE_MOUNT_PATHS": "/injected,/scratch",
    "FPJ_TEMPLATE_ENV": "PYTHONPATH,TEST_*,TMPDIR",
    "FPJ_TEMPLATE_ENV_SOURCES": "secretKeyRef",
}
"""What an operator must allow for `misbehaving`, for variables that come from a Secret,
and for a small TMPDIR.
"""
MISBEHAVING_SETTINGS = {
    "templateVolumes": ["configMap"],
    "templateMountPaths": ["/injected"],
    "templateEnv": ["PYTHONPATH", "TEST_*"],
}
"""The same as values of the chart."""


def misbehaving(slowness: float = 0.0) -> Document:
    """A worker template with the decoders of tests/e2e/injected: slow,
    and misbehaving over certain images.
    """
    environment = {"PYTHONPATH": "/injected", "TEST_SLOWNESS": str(slowness)}
    return {
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumes": [{"name": "injected", "configMap": {"name": "injected"}}],
        "volumeMounts": [{"name": "injected", "mountPath": "/injected"}],
    }


def process_of(pod: str) -> psutil.Process:
    """The first process of a pod that runs fpj, as this machine sees it."""
    found = [
        process
        for process in psutil.process_iter()
        if pod in (_environment(process).get(name) for name in ("POD_NAME", "HOSTNAME"))
    ]
    assert found, f"nothing runs in {pod}"
    return min(found, key=lambda process: process.create_time())


@contextmanager
def stopped(pod: str) -> Iterator[None]:
    """All processes of a pod stand still meanwhile."""
    first = process_of(pod)
    processes = [first, *first.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            try:
                process.send_signal(signal.SIGCONT)
            except psutil.NoSuchProcess:
                continue


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def check_confined(process: psutil.Process) -> None:
    """It is nobody of this machine, has no rights of root and can get none,
    and cannot change its own programs.
    """
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
    )
    assert set(status["Uid"].split() + status["Gid"].split()) == {str(USER)}
    assert status["NoNewPrivs"] == "1"
    assert {
        int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    } == {0}
    mounts = [
        line.split(" ") for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    ]
    assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
