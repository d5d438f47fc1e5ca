"""Rules for the pods' network, and the removal of all that a node adds to the machine's rules."""

from __future__ import annotations

import itertools
import re

from fpj_cluster.layout import BRIDGE, POD_RANGE
from fpj_cluster.processes import run

_MARK = "fpj-node"
_TABLES = tuple(itertools.product(("iptables", "ip6tables"), ("filter", "nat", "mangle", "raw")))
_KUBERNETES = re.compile(r"^:(KUBE-\S+)", re.MULTILINE)


def add_rules() -> None:
    """Let pods through where forwarding is forbidden by default,
    and out to other networks under our address.
    """
    comment = ("-m", "comment", "--comment", _MARK)
    run("iptables", "-w", "-I", "FORWARD", "-i", BRIDGE, *comment, "-j", "ACCEPT")
    run("iptables", "-w", "-I", "FORWARD", "-o", BRIDGE, *comment, "-j", "ACCEPT")
    leaving = ("-s", POD_RANGE, "!", "-o", BRIDGE)
    run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *leaving, *comment, "-j", "MASQUERADE")


def remove_rules() -> None:
    """Remove our rules and Kubernetes' chains, table by table, each in one step.

    The rest stays as it is.
    """
    for program, table in _TABLES:
        if commands := _removal(_saved(program, table)):
            lines = "\n".join([f"*{table}", *commands, "COMMIT", ""])
            run(f"{program}-restore", "--wait", "--noflush", stdin=lines)


def rules() -> list[str]:
    """What `remove_rules` would do."""
    return [
        f"{table}: {line}"
        for program, table in _TABLES
        for line in _removal(_saved(program, table))
    ]


def _saved(program: str, table: str) -> str:
    return run(f"{program}-save", f"--table={table}", may_fail=True)


def _removal(saved: str) -> list[str]:
    """The input for `iptables-restore`, given what `iptables-save` printed of a table."""
    chains = _KUBERNETES.findall(saved)
    others = [
        line
        for line in saved.splitlines()
        if line.startswith("-A ") and not line.startswith("-A KUBE-")
    ]
    ours = [line for line in others if "-j KUBE-" in line or f"--comment {_MARK}" in line]
    removed = [f"-D{line.removeprefix('-A')}" for line in ours]
    return removed + [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
