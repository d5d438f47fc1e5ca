"""The configuration files of what runs on the node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpj_cluster.errors import ClusterError
from fpj_cluster.layout import BRIDGE, NODE, NODE_ADDRESS, POD_RANGE, Layout
from fpj_cluster.processes import run

PAUSE = "localhost/fpj-pause:1"
"""The image that holds a pod's namespaces open."""
_CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")


def cni_programs() -> str:
    """The folder of the CNI plugins."""
    for folder in _CNI_FOLDERS:
        if Path(folder, "bridge").exists():
            return folder
    raise ClusterError(
        f"there are no CNI plugins in {' or '.join(_CNI_FOLDERS)}: run hack/node-packages.sh"
    )


def snapshotter(folder: Path) -> str:
    """How containerd stacks layers below a folder: overlays, but not on top of an overlay."""
    return (
        "native"
        if run("stat", "--file-system", "--format=%T", folder).strip() == "overlayfs"
        else "overlayfs"
    )


def containerd(layout: Layout) -> str:
    """Everything of this containerd lies below the cluster's directory.

    Another on this machine is left alone.
    """
    folder = layout.containerd
    return f"""\
version = 2
root = "{folder}/root"
state = "{folder}/state"
oom_score = 0

[grpc]
address = "{layout.socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without CAP_SYS_RESOURCE every pod would fail: "can't get final child's PID from pipe".
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true # so that they are known to be ours

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni_programs()}"
conf_dir = "{layout.config}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter(layout.root)}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{folder}/runc"
SystemdCgroup = false
"""


def cni(layout: Layout) -> dict[str, Any]:
    """Pods hang on the bridge and get addresses of its range.

    No host ports: their rules would outlive the pods.
    """
    addresses = {
        "type": "host-local",
        "dataDir": f"{layout.containerd}/addresses",
        "ranges": [[{"subnet": POD_RANGE, "gateway": NODE_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {"cniVersion": "0.4.0", "name": "fpj", "plugins": [bridge]}


def kubelet(layout: Layout, ports: Mapping[str, int]) -> dict[str, Any]:
    """A kubelet that evicts nobody for a full disk of the machine it shares,
    and that takes cgroup v1 as it is.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": ports["kubelet"],
        "healthzPort": ports["kubelet-health"],
        "tlsCertFile": f"{layout.pki}/server.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/server.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": _own_oom_score(),
        "podLogsDir": f"{layout.kubelet}/logs",
        "volumePluginDir": f"{layout.kubelet}/plugins",
        "resolvConf": "/etc/resolv.conf",
        "makeIPTablesUtilChains": False,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "volumeStatsAggPeriod": "10s",  # not a minute, until a volume over its limit is seen
        "imageGCHighThresholdPercent": 100,  # never: a removed image could not be pulled again
        "imageGCLowThresholdPercent": 99,
    }


def proxy(layout: Layout, ports: Mapping[str, int]) -> dict[str, Any]:
    """A kube-proxy in iptables mode that leaves conntrack's limits, which may not be writable,
    alone.
    """
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": f"{layout.config}/proxy.kubeconfig"},
        "clusterCIDR": POD_RANGE,
        "healthzBindAddress": f"127.0.0.1:{ports['proxy-health']}",
        "metricsBindAddress": f"127.0.0.1:{ports['proxy-metrics']}",
        "oomScoreAdj": _own_oom_score(),
        # Pods of one bridge would answer each other directly, past the Service's address, where no
        # br_netfilter is.
        "iptables": {"masqueradeAll": True},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def _own_oom_score() -> int:
    """What we have: a lower one is not everyone's to set."""
    return int(Path(f"/proc/{os.getpid()}/oom_score_adj").read_text())
