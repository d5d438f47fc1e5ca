"""The bed of the experiments: a real node with fpj from its chart, real pods,
and a log of what clients asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import Audit
from e2e.installation import MISBEHAVING_SETTINGS, SYSTEM, Database, Installation, process_of
from helm import CHART, Helm
from planes import ROOT
from typing_extensions import override
from waiting import wait_for
from world import Document

from fpj_cluster import Cluster
from fpj_core.store import Store

REPOSITORY = "localhost/fpj"
OPERATOR = f"system:serviceaccount:{SYSTEM}:fpj"
VOLUMES = ["configMap", "emptyDir", "persistentVolumeClaim", "secret"]
SETTINGS: dict[str, Any] = MISBEHAVING_SETTINGS | {"templateVolumes": VOLUMES}


@dataclass(frozen=True)
class Version:
    """What is installed: a chart, the tag of an image that the node has,
    and values of the chart.
    """

    tag: str
    chart: Path = CHART
    values: Mapping[str, Any] | None = None


class Bed(Installation):
    """fpj of some version, from its chart."""

    database: Database
    store: Store

    def __init__(self, cluster: Cluster, folder: Path, audit: Audit, version: Version) -> None:
        super().__init__(cluster, folder)
        self.cluster = cluster
        self.audit = audit
        self.version = version

    @override
    def _start_operator(self, started: ExitStack) -> None:
        self.helm = Helm(self.kube.kubeconfig, self._folder, SYSTEM)
        started.callback(self.helm, "uninstall", "fpj", "--ignore-not-found", seconds=120)
        self.to(self.version)

    def to(self, version: Version, **settings: Any) -> None:
        """Install or upgrade to a version, and wait until an operator leads."""
        image = {"repository": REPOSITORY, "tag": version.tag, "pullPolicy": "Never"}
        given = {"mongodb": {"uri": self.database.url}, "image": image} | dict(version.values or {})
        given["settings"] = dict(given.get("settings", {})) | settings
        options = ("--create-namespace", "--wait", "--timeout=120s")
        self.helm("upgrade", "--install", "fpj", version.chart, *options, values=given, seconds=150)
        self.version = version
        wait_for(lambda: self.leader, lambda: f"an operator leads\n{self.log}", 60)

    def set(self, **settings: Any) -> None:
        """Other settings of the operator; without any, those of the beginning."""
        self.to(self.version, **settings)

    @property
    @override
    def operators(self) -> list[Document]:
        pods = self.api.items(
            f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/name%3Dfpj-operator"
        )
        return [
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("podIP")
        ]

    def leader_pod(self) -> str:
        """Its name."""
        address = self.leader
        return next(
            str(pod["metadata"]["name"])
            for pod in self.operators
            if pod["status"]["podIP"] == address
        )

    def replace_operators(self) -> None:
        """Kill every operator; those that follow know nothing."""
        for pod in self.operators:
            process_of(pod["metadata"]["name"]).kill()

    def memory(self) -> int:
        """Bytes of the leader's cgroup that the kernel could not just drop."""
        process = process_of(self.leader_pod())
        lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        groups = dict(line.split(":", 2)[1:] for line in lines)
        root = Path("/sys/fs/cgroup")
        unified = "memory" not in groups
        folder = root / (groups[""] if unified else f"memory{groups['memory']}").lstrip("/")
        used = int(
            (folder / ("memory.current" if unified else "memory.usage_in_bytes")).read_text()
        )
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return used - int(stat["inactive_file" if unified else "total_inactive_file"])

    def status_writes(self, since: str, namespace: str) -> int:
        """How many writes of statuses of jobs the operator asked for from then on."""
        return sum(
            entry["requestReceivedTimestamp"] >= since
            for entry in self.audit.entries(OPERATOR, "fileprocessingjobs", "patch", "update")
            if entry["objectRef"].get("subresource") == "status"
            and entry["objectRef"]["namespace"] == namespace
        )


@contextmanager
def bed(folder: Path, images: Mapping[str, Path], version: Version) -> Iterator[Bed]:
    """A node with these images (tag: docker-archive of ``localhost/fpj:TAG``),
    and one of them installed.
    """
    audit = Audit(folder)
    cluster = Cluster(folder / "node", node=True, arguments={"kube-apiserver": audit.arguments})
    cluster.up(owner=os.getpid())
    try:
        for tar in images.values():
            cluster.import_image(tar)
        with Bed(cluster, folder, audit, version) as found:
            yield found
    finally:
        cluster.down()


def today(tag: str = "today") -> Version:
    """This checkout."""
    return Version(tag, CHART, {"settings": SETTINGS})


def patch_spec(bed: Bed, namespace: str, name: str, **spec: Any) -> None:
    bed.kube(
        "patch",
        "fpj",
        name,
        f"--namespace={namespace}",
        "--type=merge",
        "--patch",
        json.dumps({"spec": spec}),
    )


__all__ = ["ROOT", "Bed", "Version", "bed", "patch_spec", "today"]
