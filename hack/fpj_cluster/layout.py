"""Where a cluster keeps its files, and the addresses that never change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NODE = "fpj-node"
"""The node's name."""
BRIDGE = "fpj0"
"""The network bridge that the node's pods hang on."""
NODE_ADDRESS = "10.244.0.1"
"""The bridge's own address: the node's, and with a node the API server's too,
so that pods reach it.
"""
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
"""The first address of SERVICE_RANGE is the one of the Service `kubernetes`."""


def cache_folder() -> Path:
    """Where everything that this project keeps outside its checkout lies."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpj"


def default_directory() -> Path:
    """The directory of the cluster that `make cluster-up` starts."""
    return cache_folder() / "dev-cluster"


@dataclass(frozen=True)
class Layout:
    """The files of one cluster, all below its directory."""

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def state(self) -> Path:
        """Which processes run, for whoever ends them."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Held while the cluster is started or ended."""
        return self.root / ".lock"

    @property
    def logs(self) -> Path:
        """One file per component.

        They stay when the cluster is ended, until the next one starts.
        """
        return self.root / "logs"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Kubeconfigs and configuration files of the components."""
        return self.root / "config"

    @property
    def etcd(self) -> Path:
        """All that the API server remembers."""
        return self.root / "etcd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root directory: the volumes of pods are mounted below it."""
        return self.root / "kubelet"

    @property
    def containerd(self) -> Path:
        """Images, containers, sockets and the mounts of running containers."""
        return self.root / "containerd"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.containerd / "containerd.sock"

    @property
    def made_here(self) -> tuple[Path, ...]:
        """What ending a cluster removes."""
        discovery = self.root / "discovery"
        return (
            self.pki,
            self.config,
            self.etcd,
            self.kubelet,
            self.containerd,
            discovery,
            self.kubeconfig,
            self.state,
        )
