"""What is known of a running cluster, in a file: another process may end it,
and one that died is cleaned up after.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fpj_cluster.errors import ClusterError
from fpj_cluster.ports import free_ports
from fpj_cluster.processes import Process

_PORTS = range(20000, 30000)
"""Below what Linux hands out for outgoing connections (from 32768),
so that a restarted server finds its port free, and below the NodePorts (from 30000).
"""
_CONTROL_PLANE = ("etcd", "etcd-peer", "apiserver", "controller-manager", "scheduler")
_NODE = ("kubelet", "kubelet-health", "proxy-health", "proxy-metrics")
_USES = _CONTROL_PLANE + _NODE


@dataclass
class State:
    """Written whenever a process is started, before anything is waited for."""

    node: bool = False
    ports: dict[str, int] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    """Further command-line arguments of components."""
    processes: dict[str, Process] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> State:
        """What a cluster's file says; where there is none, that nothing runs."""
        try:
            raw = json.loads(path.read_text())
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise ClusterError(
                f"{path} cannot be read ({error}): end that cluster by hand and remove it"
            ) from None
        processes = {name: Process(**process) for name, process in raw.pop("processes").items()}
        return cls(**raw, processes=processes)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)

    @property
    def is_running(self) -> bool:
        """Whether every process that was started is alive."""
        return bool(self.processes) and all(process.is_alive for process in self.processes.values())


def free_ports_by_use() -> dict[str, int]:
    """A free port for each use."""
    return dict(zip(_USES, free_ports(len(_USES), _PORTS), strict=True))
