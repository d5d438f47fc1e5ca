"""A real control plane, a real store and the real operator, for the benchmarks of the operator."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from operator_process import OperatorProcess
from planes import fresh_namespace, with_crds
from podrunner import Api, ApiError

from bench.cache import cache_folder
from bench.mongodb import mongodb_uri
from bench.result import SkippedError
from fpj_cluster import Cluster, ClusterError
from fpj_cluster.layout import NODE_ADDRESS
from fpj_cluster.state import State

T = TypeVar("T")
Document = dict[str, Any]

APPLY = "application/apply-patch+yaml"
SETTINGS = {
    "CHECK_SECONDS": "15",
    "LEASE_SECONDS": "300",
    "LEADER_SECONDS": "15",
    "STORE_SECRET": "fpj-store",
}
"""What the operator has by default; the tests' operator is more impatient."""
CLIENTS = 16
NODE_HOST = NODE_ADDRESS
"""Where pods reach what listens on this machine."""
_REQUESTS = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_WATCH_SECONDS = 30
_SAMPLE_SECONDS = 0.02


class Plane:
    """A control plane with one namespace, and a store."""

    def __init__(self, cluster: Cluster, namespace: str, store: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.store = store
        self.folder = folder
        self.api = Api(cluster.kubeconfig)

    # Objects --------------------------------------------------------------------------------------

    def path(self, plural: str, name: str = "", group: str = "apis/fpj.dev/v1alpha1") -> str:
        """Where the API server has an object, or all of a kind."""
        return f"/{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    @property
    def jobs(self) -> str:
        """The path of all FileProcessingJobs."""
        return self.path("fileprocessingjobs")

    @property
    def children(self) -> str:
        """The path of all child Jobs."""
        return self.path("jobs", group="apis/batch/v1")

    def cache_folder(self) -> None:
        """A cache folder; its claim need not exist where no pod runs."""
        storage = {"persistentVolumeClaim": {"claimName": "cache"}}
        self.api.call(
            "POST",
            self.path("cachefolders"),
            _resource("CacheFolder", "cache", {"storage": storage}),
        )

    def volume(self, name: str, folder: Path) -> None:
        """A claim for a folder of this machine."""
        size = {"storage": "10Gi"}
        shared: Document = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": self.namespace,
            "name": name,
        }
        volume = {"capacity": size, "hostPath": {"path": str(folder)}, "claimRef": claim, **shared}
        metadata = {"name": f"{self.namespace}-{name}"}
        self.api.call("POST", "/api/v1/persistentvolumes", {"metadata": metadata, "spec": volume})
        wanted = {"resources": {"requests": size}, "volumeName": metadata["name"], **shared}
        claims = self.path("persistentvolumeclaims", group="api/v1")
        self.api.call("POST", claims, {"metadata": {"name": name}, "spec": wanted})
        until(
            lambda: self.api.call("GET", f"{claims}/{name}")["status"].get("phase") == "Bound",
            "a bound claim",
            60,
        )

    def create(self, name: str, **spec: Any) -> Document:
        """A FileProcessingJob over a collection of its own."""
        return self.api.call("POST", self.jobs, job(name, **spec))

    def create_finished(self, name: str) -> None:
        """One that ended in the past, with all that the operator and
        its workers say in a status.
        """
        made = self.create(name)
        metadata = {"name": name, "namespace": self.namespace, "uid": made["metadata"]["uid"]}
        for manager, status in (("fpj-operator", _FINISHED), ("fpj-worker", _REPORTED)):
            body = {
                "apiVersion": "fpj.dev/v1alpha1",
                "kind": "FileProcessingJob",
                "metadata": metadata,
            }
            path = (
                f"{self.path('fileprocessingjobs', name)}/status?fieldManager={manager}&force=true"
            )
            self.api.call("PATCH", path, body | {"status": status}, APPLY)

    # Who works ------------------------------------------------------------------------------------

    @contextmanager
    def operator(
        self, *, start: bool = True, python: Path | None = None, **settings: object
    ) -> Iterator[OperatorProcess]:
        """The operator, with its default settings; others without their `FPJ_`."""
        given = SETTINGS | {name.upper(): str(value) for name, value in settings.items()}
        environment = {f"FPJ_{name}": value for name, value in given.items()}
        made = OperatorProcess(
            self.cluster.kubeconfig, self.namespace, self.store, self.folder, environment, python
        )
        try:
            if start:
                made.start()
            yield made
        finally:
            made.close()

    @contextmanager
    def watching(self, path: str, see: Callable[[str, Document, float], None]) -> Iterator[None]:
        """Call ``see(type, object, monotonic time)`` in a thread for each event of a path from now
        on.
        """
        api = Api(self.cluster.kubeconfig)
        ended = threading.Event()
        first = f"{path}{'&' if '?' in path else '?'}limit=1"
        version = api.call("GET", first)["metadata"]["resourceVersion"]

        def follow(version: str) -> None:
            while not ended.is_set():
                with suppress(ApiError):
                    for event in api.watch(path, version, _WATCH_SECONDS):
                        see(event["type"], event["object"], time.monotonic())
                        version = event["object"]["metadata"]["resourceVersion"]
                        if ended.is_set():
                            return

        thread = threading.Thread(target=follow, args=(version,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            api.close()

    def requests(self) -> Requests:
        """What the API server has answered so far."""
        text = self.api._pool.request("GET", f"{self.api.url}/metrics").data.decode()
        return Requests(
            [
                (dict(_LABEL.findall(labels)), float(value))
                for labels, value in _REQUESTS.findall(text)
            ]
        )

    def control_cpu(self) -> float:
        """CPU seconds of the control plane's own processes so far."""
        return sum(self.component_cpu().values())

    def component_cpu(self) -> dict[str, float]:
        """The same by component."""
        processes = State.read(self.cluster.layout.state).processes
        return {
            name: cpu_seconds(process.pid) for name, process in processes.items() if name != "guard"
        }


@dataclass(frozen=True, slots=True)
class Requests:
    """The API server's counts, by their labels."""

    counts: Sequence[tuple[Mapping[str, str], float]]

    def writes(self, resource: str = "fileprocessingjobs", subresource: str | None = None) -> int:
        """Requests that change something, of one resource.

        Of one subresource if it is named, else of all.
        """
        return self._sum(_WRITES, resource, subresource)

    def reads(self, resource: str) -> int:
        """Requests that read one object or list them; watches are none."""
        return self._sum(frozenset({"GET", "LIST"}), resource, None)

    def _sum(self, verbs: frozenset[str], resource: str, subresource: str | None) -> int:
        return round(
            sum(
                value
                for labels, value in self.counts
                if labels["verb"] in verbs
                and labels["resource"] == resource
                and subresource in (None, labels["subresource"])
            )
        )


@contextmanager
def control_plane(
    store: str | None = None,
    *,
    node: bool = False,
    arguments: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Plane]:
    """A control plane, by default without a node, with the CRDs, a namespace and a store.

    Raises `SkippedError`.

    ``arguments`` are further ones of its components, by name.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="plane-", dir=cache_folder())
        )
        cluster = Cluster(Path(folder, "cluster"), node=node, arguments=arguments)
        try:
            cluster.up(owner=os.getpid())
        except ClusterError as error:
            raise SkippedError(f"no cluster: {error}") from error
        stack.callback(cluster.down)
        with_crds(cluster.kube)
        namespace = stack.enter_context(fresh_namespace(cluster.kube))
        plane = Plane(cluster, namespace, store or stack.enter_context(mongodb_uri()), Path(folder))
        stack.callback(plane.api.close)
        yield plane


def job(name: str, **spec: Any) -> Document:
    """A small manifest."""
    where = {"source": {"persistentVolumeClaim": {"claimName": "photographs"}}}
    return _resource("FileProcessingJob", name, {"jobType": "Both", "collection": where} | spec)


def at_once(work: Callable[[T], object], items: Sequence[T]) -> None:
    """As fast as some clients can. Raises what one of them raised."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        for _ in clients.map(work, items):
            pass


def until(condition: Callable[[], object], what: str, seconds: float, pause: float = 0.05) -> float:
    """Wait; the seconds that it took. Raises TimeoutError."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
    return time.monotonic() - started


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process, as a container's limit counts it."""
    return int(psutil.Process(pid).memory_info().rss)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


@dataclass
class Peak:
    """The most resident memory of a process so far, in bytes."""

    bytes: int = 0


@contextmanager
def memory_peak(pid: int) -> Iterator[Peak]:
    """The most resident memory of a process meanwhile, sampled."""
    peak, ended = Peak(), threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak.bytes = max(peak.bytes, memory_bytes(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def load() -> str:
    """The load average, for the note of a row that a busy machine spoils."""
    return f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"


def healthy(operator: OperatorProcess) -> bool:
    """Whether its liveness probe is green."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{operator.liveness_port}/healthz", timeout=5
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def _condition(name: str, holds: bool, reason: str, message: str) -> Document:
    status = "True" if holds else "False"
    when = {"lastTransitionTime": "2026-01-01T00:10:00Z", "observedGeneration": 1}
    return {"type": name, "status": status, "reason": reason, "message": message} | when


_SAID = ("AllImagesDone", "1,000 made, 0 up to date, 0 failed")
_FINISHED: Document = {
    "observedGeneration": 1,
    "phase": "Completed",
    "stage": "Finish",
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:10:00Z",
    "recoveryAttempts": 0,
    "attempt": {
        "number": 1,
        "startedAt": "2026-01-01T00:00:00Z",
        "cacheFolder": "cache",
        "fence": 1,
    },
    "conditions": [
        *[_condition(name, True, *_SAID) for name in ("Ready", "Complete")],
        *[
            _condition(name, False, *_SAID)
            for name in ("Failed", "Suspended", "Progressing", "Reconciling", "Stalled")
        ],
        _condition("CollectionLocked", False, "NotLocked", "not locked"),
    ],
}
_REPORTED: Document = {
    "progress": {
        "total": 1000,
        "completed": 1000,
        "skipped": 0,
        "failed": 0,
        "percent": 100,
        "imagesPerSecond": 12.5,
        "bytesWritten": 410_000_000,
        "averageProcessingMs": 150,
    },
    "lastProgressAt": "2026-01-01T00:09:58Z",
    "shards": {"total": 4, "active": 0, "succeeded": 4, "failed": 0},
}

assert sys.platform == "linux", "the benchmarks read /proc"
