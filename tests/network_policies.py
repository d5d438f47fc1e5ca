"""kube-router's firewall: what enforces network policies on the test cluster's node.

Nothing else of kube-router runs: routes and Services stay with the node's own network and
kube-proxy.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mongodb_server import free_port
from planes import ROOT
from waiting import end, wait_for

from fpj_cluster import Cluster
from fpj_cluster.layout import NODE, SERVICE_RANGE
from fpj_cluster.processes import plain_environment, run

_CHAINS = re.compile(r"^:(KUBE-(?:ROUTER|POD-FW|NWPLCY)-\S+)", re.MULTILINE)
_SETS = re.compile(r"^KUBE-(?:SRC|DST)-\S+", re.MULTILINE)
_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""Whether what pods of one bridge send each other meets the machine's rules at all."""


@contextmanager
def enforced(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Have the cluster's node heed network policies. Pods that none selects do not notice."""
    if not _BRIDGED.exists():
        pytest.skip("nothing can come between pods of one bridge: the kernel has no br_netfilter")
    before = _BRIDGED.read_text()
    _BRIDGED.write_text("1")
    try:
        with _kube_router(cluster, folder / "kube-router.log"):
            yield
    finally:
        _remove_rules()
        _BRIDGED.write_text(before)
    assert not _chains() and not _sets()


@contextmanager
def _kube_router(cluster: Cluster, log: Path) -> Iterator[None]:
    script = ROOT / "hack" / "network-policies.sh"
    built = subprocess.run([script], capture_output=True, text=True, check=True, timeout=900)
    command = [
        *("setpriv", "--pdeathsig=TERM"),  # it does not outlive tests that are killed
        built.stdout.strip(),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--hostname-override={NODE}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--health-port={free_port()}",
        *(
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--enable-cni=false",
        ),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=plain_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_for(
            lambda: process.poll() is not None or "KUBE-NWPLCY-DEFAULT" in _chains(),
            lambda: f"kube-router writes its rules\n{log.read_text()}",
        )
        assert process.poll() is None, log.read_text()
        yield
    finally:
        end(process)


def _chains() -> list[str]:
    return _CHAINS.findall(run("iptables-save", "--table=filter"))


def _sets() -> list[str]:
    return _SETS.findall(run("ipset", "list", "-name"))


def _remove_rules() -> None:
    """What kube-router leaves behind.

    Its own way to clean up would take away other programs' rules as well.
    """
    chains = _chains()
    saved = run("iptables-save", "--table=filter").splitlines()
    removal = [f"-D{line.removeprefix('-A')}" for line in saved if "-j KUBE-ROUTER-" in line]
    removal += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
    run(
        "iptables-restore",
        "--wait",
        "--noflush",
        stdin="\n".join(["*filter", *removal, "COMMIT", ""]),
    )
    for name in _sets():
        run("ipset", "destroy", name)
