"""How each kind of fault is brought about, and ended."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TypeVar

import psutil
from e2e.installation import SYSTEM, Site, process_of, stopped
from e2e.photographs import running
from experiments.disks import fill, mount
from podrunner.api import MERGE, ApiError
from world import Document

from chaos.injecting import MissedError
from chaos.place import Place
from chaos.schedule import CONNECTIONS, KINDS, TOXICS, Fault
from fpj_cluster import ClusterError

T = TypeVar("T")
Injection = Callable[[Place, Fault], AbstractContextManager[str]]
"""Begins a fault and says what it hit: a pod's name, or nothing; ends it at the exit."""

_FAILURES = (
    ApiError,
    AssertionError,
    ClusterError,
    OSError,
    psutil.Error,
    subprocess.SubprocessError,
)
"""What says that a fault could not be brought about."""
_RESTARTS = 2
"""After so many the kubelet waits longer and longer before it starts a container again."""


@contextmanager
def inject(place: Place, fault: Fault) -> Iterator[str]:
    """Begin a fault, and end it at the exit. Raises `MissedError` where there is nothing to hit."""
    with ExitStack() as stack:
        try:
            victim = stack.enter_context(INJECTIONS[fault.kind](place, fault))
        except _FAILURES as error:
            raise MissedError(f"{type(error).__name__}: {error}") from error
        yield victim


def _chosen(fault: Fault, among: Sequence[T]) -> T:
    if not among:
        raise MissedError(fault.kind)
    return among[int(fault.chance * len(among))]


# Pods of jobs -------------------------------------------------------------------------------------


def _worker(place: Place, fault: Fault) -> tuple[str, psutil.Process]:
    """A worker's pod and its first process; it lists the source, plans, or makes images."""

    def found() -> list[tuple[str, psutil.Process]]:
        names = [
            name for role in ("index", "shards") for name in running(place.site, place.job, role)
        ]
        return [pair for name in names if (pair := _alive(name))]

    return _chosen(fault, place.target(found, "a worker runs"))


def _alive(pod: str) -> tuple[str, psutil.Process] | None:
    try:
        return pod, process_of(pod)
    except AssertionError:
        return None


@contextmanager
def _worker_kill(place: Place, fault: Fault) -> Iterator[str]:
    pod, process = _worker(place, fault)
    process.kill()
    yield pod


@contextmanager
def _decoder_kill(place: Place, fault: Fault) -> Iterator[str]:
    def found() -> list[tuple[str, psutil.Process]]:
        pod, process = _worker(place, fault)
        return [(pod, each) for each in process.children(recursive=True) if not each.children()]

    pod, decoder = _chosen(fault, place.target(found, "a decoder runs"))
    decoder.kill()
    yield pod


@contextmanager
def _worker_stop(place: Place, fault: Fault) -> Iterator[str]:
    pod, _ = _worker(place, fault)
    with stopped(pod):
        yield pod


@contextmanager
def _pod_delete(place: Place, fault: Fault, grace: int) -> Iterator[str]:
    pod, _ = _worker(place, fault)
    place.fpj.api.delete(
        f"/api/v1/namespaces/{place.namespace}/pods/{pod}", {"gracePeriodSeconds": grace}
    )
    yield pod


@contextmanager
def _pod_evict(place: Place, fault: Fault) -> Iterator[str]:
    pod, _ = _worker(place, fault)
    _evict(place, place.namespace, pod)
    yield pod


def _evict(place: Place, namespace: str, pod: str) -> None:
    metadata = {"name": pod, "namespace": namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    place.fpj.api.call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)


# Operators ----------------------------------------------------------------------------------------


def _operators(place: Place, *, leads: bool) -> list[Document]:
    pods = [
        pod
        for pod in place.fpj.operators
        if "podIP" in pod["status"] and _alive(pod["metadata"]["name"])
    ]
    return [pod for pod in pods if leads == place.fpj.leads(pod["status"]["podIP"])]


@contextmanager
def _operator_kill(place: Place, fault: Fault, leads: bool) -> Iterator[str]:
    what = "an operator leads" if leads else "an operator waits"
    pod = _chosen(fault, place.target(lambda: _operators(place, leads=leads), what))
    name = pod["metadata"]["name"]
    process_of(name).kill()
    if (
        sum(each.get("restartCount", 0) for each in pod["status"].get("containerStatuses", []))
        >= _RESTARTS
    ):
        # Else Kubernetes would leave the operator out for minutes: that is not what is looked at
        # here.
        place.fpj.api.delete(f"/api/v1/namespaces/{SYSTEM}/pods/{name}", {"gracePeriodSeconds": 0})
    yield name


@contextmanager
def _leader_stop(place: Place, fault: Fault) -> Iterator[str]:
    pod = _chosen(fault, place.target(lambda: _operators(place, leads=True), "an operator leads"))
    with stopped(pod["metadata"]["name"]):
        yield pod["metadata"]["name"]


@contextmanager
def _operator_evict(place: Place, fault: Fault) -> Iterator[str]:
    pod = _chosen(fault, place.target(lambda: place.fpj.operators, "an operator is there"))[
        "metadata"
    ]["name"]
    _evict(place, SYSTEM, pod)
    yield pod


# The store, and Kubernetes itself -----------------------------------------------------------------


@contextmanager
def _store_kill(place: Place, _fault: Fault) -> Iterator[str]:
    place.fpj.database.kill()
    try:
        yield ""
    finally:
        place.fpj.database.start()


@contextmanager
def _store_stop(place: Place, _fault: Fault) -> Iterator[str]:
    with place.fpj.database.stopped():
        yield ""


@contextmanager
def _component_kill(place: Place, _fault: Fault, name: str) -> Iterator[str]:
    place.cluster.stop(name, kill=True)
    try:
        yield ""
    finally:
        place.cluster.start(name)


@contextmanager
def _component_stop(place: Place, _fault: Fault, name: str) -> Iterator[str]:
    with place.cluster.stopped(name):
        yield ""


# What people and their quotas do ------------------------------------------------------------------


@contextmanager
def _quota(place: Place, _fault: Fault, counted: str) -> Iterator[str]:
    path = f"/api/v1/namespaces/{place.namespace}/resourcequotas"
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    try:  # what was refused may have been done anyway, where the answer was lost
        place.fpj.api.call("POST", path, body | {"spec": {"hard": {counted: "0"}}})
        yield ""
    finally:
        place.fpj.api.delete(f"{path}/none")


def _unfinished(place: Place) -> str:
    """The name of a job that has not ended."""

    def found() -> str:
        return (
            place.job
            if place.site.status(place.job).get("phase") in ("Pending", "Indexing", "Running")
            else ""
        )

    return place.target(found, "a job is active")


@contextmanager
def _suspend(place: Place, _fault: Fault) -> Iterator[str]:
    job = _unfinished(place)
    try:
        _patch(place.site, job, {"spec": {"suspend": True}})
        yield ""
    finally:
        _patch(place.site, job, {"spec": {"suspend": False}})


def _patch(site: Site, job: str, change: Document) -> None:
    path = f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}/fileprocessingjobs/{job}"
    site.fpj.api.patch(path, change, MERGE)


@contextmanager
def _resume(place: Place, _fault: Fault) -> Iterator[str]:
    _patch(
        place.site,
        _unfinished(place),
        {"metadata": {"annotations": {"fpj.dev/resume": uuid.uuid4().hex}}},
    )
    yield ""


@contextmanager
def _lease_delete(place: Place, _fault: Fault) -> Iterator[str]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases"

    def held() -> list[str]:
        leases = place.fpj.api.items(path)
        return [each["metadata"]["name"] for each in leases if each["spec"].get("holderIdentity")]

    for name in place.target(held, "a lease is held"):
        place.fpj.api.delete(f"{path}/{name}")
    yield ""


@contextmanager
def _child_delete(place: Place, fault: Fault) -> Iterator[str]:
    def found() -> list[str]:
        return [each["metadata"]["name"] for each in unfinished_children(place.site)]

    name = _chosen(fault, place.target(found, "a child Job is active"))
    path = f"/apis/batch/v1/namespaces/{place.namespace}/jobs/{name}"
    place.fpj.api.delete(path, {"propagationPolicy": "Background"})
    yield ""


OF_JOBS = "?labelSelector=fpj.dev/role%21%3Devict"
"""Not what checks a cache folder: that begins and ends by itself."""


def unfinished_children(site: Site) -> list[Document]:
    """Child Jobs that have not ended."""
    jobs = site.fpj.api.items(f"/apis/batch/v1/namespaces/{site.namespace}/jobs{OF_JOBS}")
    return [
        job
        for job in jobs
        if not any(each["status"] == "True" for each in job["status"].get("conditions", []))
    ]


# The source and the cache folder ------------------------------------------------------------------


@contextmanager
def _source_add(place: Place, fault: Fault) -> Iterator[str]:
    place.keep_busy()
    for number in range(2):
        place.current.paint(f"added-{fault.number:03}-{number}.jpg", fault.number * 2 + number)
    yield ""


@contextmanager
def _source_touch(place: Place, fault: Fault) -> Iterator[str]:
    place.keep_busy()
    for number in range(2):
        place.current.paint(
            _chosen(fault, place.current.keys[number:]), 10_000 + fault.number * 2 + number
        )
    yield ""


@contextmanager
def _source_delete(place: Place, fault: Fault) -> Iterator[str]:
    place.keep_busy()
    if not place.current.may_shrink:
        raise MissedError("enough images are deleted")
    place.current.delete(_chosen(fault, place.current.keys))
    yield ""


@contextmanager
def _cache_full(place: Place, _fault: Fault) -> Iterator[str]:
    filler = place.site.out / "filler"
    fill(filler)
    try:
        yield ""
    finally:
        filler.unlink()


@contextmanager
def _cache_readonly(place: Place, _fault: Fault) -> Iterator[str]:
    _remount_readonly(place)
    try:
        yield ""
    finally:
        mount(place.site.out, "-o", "remount,rw")


def _remount_readonly(place: Place) -> None:
    """Not while a file is open for writing, which is soon over."""
    for _ in range(40):
        try:
            mount(place.site.out, "-o", "remount,ro")
        except subprocess.CalledProcessError:
            time.sleep(0.05)
        else:
            return
    raise MissedError("files are open for writing all the time")


@contextmanager
def _connection(place: Place, _fault: Fault, connection: str, toxic: str) -> Iterator[str]:
    with place.fpj.disturbed(connection, toxic):
        yield ""


INJECTIONS: dict[str, Injection] = {
    "worker-kill": _worker_kill,
    "decoder-kill": _decoder_kill,
    "worker-stop": _worker_stop,
    "pod-delete": partial(_pod_delete, grace=30),
    "pod-delete-now": partial(_pod_delete, grace=0),
    "pod-evict": _pod_evict,
    "leader-kill": partial(_operator_kill, leads=True),
    "leader-stop": _leader_stop,
    "standby-kill": partial(_operator_kill, leads=False),
    "operator-evict": _operator_evict,
    "store-kill": _store_kill,
    "store-stop": _store_stop,
    "apiserver-kill": partial(_component_kill, name="kube-apiserver"),
    "apiserver-stop": partial(_component_stop, name="kube-apiserver"),
    "kubelet-kill": partial(_component_kill, name="kubelet"),
    "kubelet-stop": partial(_component_stop, name="kubelet"),
    "manager-kill": partial(_component_kill, name="kube-controller-manager"),
    "scheduler-kill": partial(_component_kill, name="kube-scheduler"),
    "quota-pods": partial(_quota, counted="pods"),
    "quota-jobs": partial(_quota, counted="count/jobs.batch"),
    "suspend": _suspend,
    "resume": _resume,
    "lease-delete": _lease_delete,
    "child-delete": _child_delete,
    "source-add": _source_add,
    "source-touch": _source_touch,
    "source-delete": _source_delete,
    "cache-full": _cache_full,
    "cache-readonly": _cache_readonly,
    **{
        f"{connection} {toxic}": partial(_connection, connection=connection, toxic=toxic)
        for connection in CONNECTIONS
        for toxic in TOXICS
    },
}
assert set(INJECTIONS) == set(KINDS)
