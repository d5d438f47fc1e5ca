"""The programs of a cluster: those of KUBEBUILDER_ASSETS first,
then those that hack/cluster-binaries.sh built.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fpj_cluster.errors import ClusterError

_SCRIPT = Path(__file__).parent.parent / "cluster-binaries.sh"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = ("kubelet", "kube-proxy", "pause")


def needed(*, node: bool) -> tuple[str, ...]:
    """The programs of a cluster with or without a node."""
    return CONTROL_PLANE + NODE if node else CONTROL_PLANE


def build(*, node: bool) -> None:
    """Build what is missing, showing how far it is. It may take a quarter of an hour."""
    command = [str(_SCRIPT), *needed(node=node)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:  # noqa: S603
        raise ClusterError("the cluster's programs could not be built; see above")


def locate(*, node: bool) -> dict[str, Path]:
    """Where the programs are.

    Raises:
        ClusterError: one of them is missing.
    """
    names = needed(node=node)
    command = [str(_SCRIPT), "--no-build", *names]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if asked.returncode:
        raise ClusterError(asked.stderr.strip())
    folders = [Path(asked.stdout.strip())]
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        folders.insert(0, Path(given).resolve())
    return {
        name: next(folder / name for folder in folders if (folder / name).exists())
        for name in names
    }
