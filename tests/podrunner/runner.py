"""The node: one object in the API server, kept Ready; and the pods that the scheduler binds to it.

Tests direct it: `refuse` and `hold` keep pods from starting, `environment` adds variables, and what
befalls a pod that runs (killed, hung, evicted, cut off) is asked of the `Pod`. Volumes are `local`
ones with this node's affinity, so that several runners may share a control plane.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from typing_extensions import override

from podrunner.api import MERGE, Api, ApiError, Document
from podrunner.pod import Pod, Wishes

_LEASE_SECONDS = 40
_RENEW_SECONDS = 5.0
_WATCH_SECONDS = 2


class PodRunner(Wishes):
    """A node with a name of its own. Use it as a context manager.

    Args:
        kubeconfig: an administrator's.
        name: of the node.
        folder: where logs and scratch folders of the pods lie.
        capacity: what pods may request of it.
    """

    def __init__(
        self, kubeconfig: Path, name: str, folder: Path, capacity: dict[str, str] | None = None
    ) -> None:
        self.api = Api(kubeconfig)
        self.name = name
        self.folder = folder
        self.environment: dict[str, str] = {}
        """Further variables of every pod that starts from now on."""
        self.on_start: Callable[[Pod], None] = lambda _pod: None
        """Called in the pod's thread when its process has been started."""
        self._capacity = {
            "cpu": "64",
            "memory": "256Gi",
            "pods": "1000",
            "ephemeral-storage": "100Gi",
        } | (capacity or {})
        self._refused: list[tuple[str, str]] = []
        self._held: list[str] = []
        self._pods: dict[str, Pod] = {}
        self._volumes: list[str] = []
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"{name}-{work.__name__}")
            for work in (self._watch, self._beat)
        ]

    # For tests ------------------------------------------------------------------------------------

    def pods(self, text: str = "", *, running: bool = False) -> list[Pod]:
        """The pods whose name holds a text, in the order of their creation.

        Also those that ended.
        """
        found = [pod for pod in list(self._pods.values()) if text in pod.name]
        return [pod for pod in found if pod.running or not running]

    def wait_for_pod(self, text: str = "", seconds: float = 60.0) -> Pod:
        """A pod that runs and whose name holds a text."""
        deadline = time.monotonic() + seconds
        while not (found := self.pods(text, running=True)):
            self.check()
            assert time.monotonic() < deadline, f"no pod {text!r} ran within {seconds:g} s"
            time.sleep(0.02)
        return found[-1]

    def refuse(self, text: str = "", reason: str = "ImagePullBackOff") -> None:
        """The image of pods whose name holds a text cannot be pulled, until `accept`."""
        self._refused.append((text, reason))

    def hold(self, text: str = "") -> None:
        """Pods whose name holds a text do not start, until `accept`."""
        self._held.append(text)

    def accept(self) -> None:
        """The end of every `refuse` and `hold`."""
        self._refused.clear()
        self._held.clear()

    def lose(self) -> None:
        """The node is lost to the control plane: no heartbeat, no report; its processes go on."""
        self._lost.set()
        for pod in self.pods():
            pod.cut_off()

    def claim(self, namespace: str, name: str, folder: Path) -> None:
        """A PersistentVolumeClaim for a folder of this machine,
        bound to a volume that only this node has.
        """
        volume = f"{namespace}-{name}"
        affinity = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [self.name]}]
        size = {"storage": "1Gi"}
        shared: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": name,
        }
        specification = shared | {
            "capacity": size,
            "local": {"path": str(folder)},
            "claimRef": reference,
            "persistentVolumeReclaimPolicy": "Retain",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": affinity}]}},
        }
        document = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}}
        self.api.call("POST", "/api/v1/persistentvolumes", document | {"spec": specification})
        self._volumes.append(volume)
        # Else binding may take 15 s longer.
        self._wait_for_phase(f"/api/v1/persistentvolumes/{volume}", "Available")
        asked = shared | {"resources": {"requests": size}, "volumeName": volume}
        document = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
        claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self.api.call("POST", claims, document | {"spec": asked})
        self._wait_for_phase(f"{claims}/{name}", "Bound")

    def _wait_for_phase(self, path: str, phase: str) -> None:
        deadline = time.monotonic() + 60
        while self.api.call("GET", path).get("status", {}).get("phase") != phase:
            assert time.monotonic() < deadline, f"{path} is not {phase} within 60 s"
            time.sleep(0.05)

    def check(self) -> None:
        """Raise what went wrong in a thread of the runner."""
        for error in (*self._errors, *[pod.error for pod in self.pods() if pod.error]):
            raise AssertionError(f"the pod runner failed: {error!r}") from error

    def logs(self) -> str:
        """The output of every pod, for whoever looks why a test failed."""
        return "\n".join(f"--- pod {pod.name}\n{pod.log}" for pod in self.pods())

    # Wishes of tests, asked by pods ---------------------------------------------------------------

    @override
    def refusal(self, pod: Pod) -> tuple[str, str] | None:
        image = pod.document["spec"]["containers"][0]["image"]
        reasons = [reason for text, reason in self._refused if text in pod.name]
        return (reasons[0], f'Back-off pulling image "{image}"') if reasons else None

    @override
    def held(self, pod: Pod) -> bool:
        return any(text in pod.name for text in self._held)

    @override
    def started(self, pod: Pod) -> None:
        self.on_start(pod)

    # The node -------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        document = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
        }
        self.api.call("POST", "/api/v1/nodes", document)
        self._report_ready()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for pod in self.pods():
            pod.stop()
        deadline = time.monotonic() + 30
        late = [
            pod.name for pod in self.pods() if not pod.join(max(deadline - time.monotonic(), 0.1))
        ]
        self._remove()
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.1))
        self.api.close()
        assert not late, f"pods that do not end: {late}"

    def _remove(self) -> None:
        """What the node leaves behind in the API server: itself, its pods, its volumes."""
        for pod in self.api.items(f"/api/v1/pods?fieldSelector=spec.nodeName={self.name}"):
            metadata = pod["metadata"]
            self.api.delete(
                f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}",
                {"gracePeriodSeconds": 0},
            )
        for volume in self._volumes:
            self.api.delete(f"/api/v1/persistentvolumes/{volume}")
            self.api.patch(
                f"/api/v1/persistentvolumes/{volume}", {"metadata": {"finalizers": None}}, MERGE
            )
        self.api.delete(f"/api/v1/nodes/{self.name}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _report_ready(self) -> None:
        now = _now()
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "plays the kubelet",
        }
        conditions = [ready | {"lastHeartbeatTime": now, "lastTransitionTime": now}]
        info = {"kubeletVersion": "v1.35.4", "operatingSystem": "linux", "architecture": "amd64"}
        blank = (
            "machineID",
            "systemUUID",
            "bootID",
            "kernelVersion",
            "osImage",
            "containerRuntimeVersion",
        )
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": conditions,
        }
        status["nodeInfo"] = info | dict.fromkeys((*blank, "kubeProxyVersion"), "")
        self.api.patch(f"/api/v1/nodes/{self.name}/status", {"status": status})

    def _beat(self) -> None:
        """Renew the node's lease, as the node controller wants it."""
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": _LEASE_SECONDS}
        document = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name},
        }
        while not self._stop.is_set() and not self._lost.is_set():
            renewed = {"spec": spec | {"renewTime": _now(micro=True)}}
            if self.api.patch(f"{path}/{self.name}", renewed, MERGE) is None:
                self.api.call("POST", path, document | renewed)
            self._stop.wait(_RENEW_SECONDS)

    # Its pods -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        path = f"/api/v1/pods?fieldSelector=spec.nodeName={self.name}"
        while not self._stop.is_set():
            listed = self.api.call("GET", path)
            for document in listed["items"]:
                self._see(document)
            present = {document["metadata"]["uid"] for document in listed["items"]}
            for uid, pod in list(self._pods.items()):
                if uid not in present:
                    pod.gone()
            self._follow(path, listed["metadata"]["resourceVersion"])

    def _follow(self, path: str, version: str) -> None:
        """Take events until the watch must start again."""
        while not self._stop.is_set():
            try:
                for event in self.api.watch(path, version, _WATCH_SECONDS):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] == "DELETED" and (
                        pod := self._pods.get(event["object"]["metadata"]["uid"])
                    ):
                        pod.gone()
                    elif event["type"] in ("ADDED", "MODIFIED"):
                        self._see(event["object"])
                    if self._stop.is_set():
                        return
            except ApiError:
                self._stop.wait(0.1)
                return

    def _see(self, document: Document) -> None:
        uid = document["metadata"]["uid"]
        if known := self._pods.get(uid):
            known.seen(document)
            return
        if document["status"].get("phase") in ("Succeeded", "Failed"):
            return
        pod = self._pods[uid] = Pod(self.api, document, self.folder / uid, self)
        pod.seen(document)
        if self._lost.is_set():
            pod.cut_off()
        pod.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by `check`
            if not self._stop.is_set():
                self._errors.append(error)


def _now(*, micro: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S" + (".%f" if micro else "") + "Z")
