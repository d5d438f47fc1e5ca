"""The command lines of the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fpj_cluster.certificates import make_certificates
from fpj_cluster.kubeconfig import write_kubeconfig
from fpj_cluster.layout import NODE_ADDRESS, SERVICE_RANGE, Layout

Commands = dict[str, list[str]]


def api_address(*, node: bool) -> str:
    """Where the API server listens: with a node, at an address that pods can reach too."""
    return NODE_ADDRESS if node else "127.0.0.1"


def write_credentials(layout: Layout, server: str) -> None:
    """The certificates of a new cluster, and a kubeconfig for each client."""
    make_certificates(layout.pki)
    for client in ("controller-manager", "scheduler", "kubelet", "proxy"):
        write_kubeconfig(layout.config / f"{client}.kubeconfig", server, layout.pki, client)
    write_kubeconfig(layout.kubeconfig, server, layout.pki, "admin")


def commands(
    layout: Layout, binaries: Mapping[str, Path], ports: Mapping[str, int], *, node: bool
) -> Commands:
    """Each component's command, in the order in which they start."""
    etcd = f"http://127.0.0.1:{ports['etcd']}"
    peer = f"http://127.0.0.1:{ports['etcd-peer']}"
    return {
        "etcd": [
            str(binaries["etcd"]),
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # what a crash of the machine loses here, nobody misses
            f"--quota-backend-bytes={8 << 30}",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            str(binaries["kube-apiserver"]),
            *_apiserver(layout.pki, etcd, ports, node=node),
        ],
        "kube-controller-manager": [
            str(binaries["kube-controller-manager"]),
            *_client(layout, "controller-manager", ports["controller-manager"]),
            # Of 15: a claim that just missed its volume is bound at the next look.
            "--pvclaimbinder-sync-period=1s",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={layout.pki}/service-accounts.key",
            f"--root-ca-file={layout.pki}/ca.crt",
            f"--cluster-signing-cert-file={layout.pki}/ca.crt",
            f"--cluster-signing-key-file={layout.pki}/ca.key",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
        ],
        "kube-scheduler": [
            str(binaries["kube-scheduler"]),
            *_client(layout, "scheduler", ports["scheduler"]),
        ],
    }


def _apiserver(pki: Path, etcd: str, ports: Mapping[str, int], *, node: bool) -> list[str]:
    address = api_address(node=node)
    arguments = [
        f"--etcd-servers={etcd}",
        f"--bind-address={address}",
        f"--secure-port={ports['apiserver']}",
        f"--tls-cert-file={pki}/server.crt",
        f"--tls-private-key-file={pki}/server.key",
        f"--client-ca-file={pki}/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # Else it waits a minute for those who watch to leave.
        "--shutdown-watch-termination-grace-period=1s",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
    ]
    if not node:
        # No pod will call the Service `kubernetes`, and the loopback address may not be advertised
        # behind it.
        return [*arguments, "--endpoint-reconciler-type=none"]
    return [
        *arguments,
        f"--advertise-address={address}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
    ]


def _client(layout: Layout, name: str, port: int) -> list[str]:
    kubeconfig = layout.config / f"{name}.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.pki}/server.crt",
        f"--tls-private-key-file={layout.pki}/server.key",
        "--leader-elect=false",
    ]
