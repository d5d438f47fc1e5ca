"""The node: its network, container runtime and kubelet,
and how the machine is left as it was found.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from fpj_cluster import firewall, nodeconfig
from fpj_cluster.errors import ClusterError
from fpj_cluster.layout import API_SERVICE_ADDRESS, BRIDGE, NODE, NODE_ADDRESS, Layout
from fpj_cluster.processes import all_pids, command_of, plain_environment, run, with_descendants
from fpj_cluster.scratchimage import write_image

_LONGEST_ROOT = 60
"""Characters of the cluster's directory; sockets below it may have 107."""
_PROGRAMS = ("containerd", "ctr", "runc", "iptables", "ip", "conntrack", "umount")


class Node:
    """The node of the cluster in a directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def prepare(self) -> None:
        """Set up the network, and the files that containerd reads.

        Raises:
            ClusterError: this machine cannot run a node; the message says why.
        """
        self._check()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        firewall.add_rules()
        layout = self._layout
        (layout.config / "cni").mkdir(parents=True)
        layout.containerd.mkdir()
        layout.kubelet.mkdir()
        (layout.config / "cni" / "10-fpj.conflist").write_text(json.dumps(nodeconfig.cni(layout)))
        (layout.config / "containerd.toml").write_text(nodeconfig.containerd(layout))

    def commands(
        self, binaries: Mapping[str, Path], ports: Mapping[str, int]
    ) -> dict[str, list[str]]:
        """Each component's command, in the order in which they start."""
        config = self._layout.config
        _write_once(config / "kubelet.json", nodeconfig.kubelet(self._layout, ports))
        _write_once(config / "proxy.json", nodeconfig.proxy(self._layout, ports))
        return {
            "containerd": [_path_of("containerd"), f"--config={config}/containerd.toml"],
            "kubelet": [
                str(binaries["kubelet"]),
                f"--config={config}/kubelet.json",
                f"--kubeconfig={config}/kubelet.kubeconfig",
                f"--root-dir={self._layout.kubelet}",
                f"--cert-dir={self._layout.pki}",
                f"--hostname-override={NODE}",
                f"--node-ip={NODE_ADDRESS}",
            ],
            "kube-proxy": [str(binaries["kube-proxy"]), f"--config={config}/proxy.json"],
        }

    def containerd_answers(self) -> bool:
        """Whether containerd is ready."""
        return bool(self._layout.socket.exists() and self._ctr("version", may_fail=True))

    def services_are_programmed(self) -> bool:
        """Whether kube-proxy has written the rules of the Service `kubernetes`."""
        return f"{API_SERVICE_ADDRESS}/32" in run("iptables-save", "--table=nat")

    def import_image(self, tar: Path) -> None:
        """Load a docker-archive or an OCI archive."""
        if not self._layout.socket.exists():
            raise ClusterError(
                f"the cluster in {self._layout.root} has no node to give an image to"
            )
        self._ctr(
            "images",
            "import",
            f"--snapshotter={nodeconfig.snapshotter(self._layout.root)}",
            str(tar),
        )

    def import_pause(self, program: Path) -> None:
        """Make and load the image that every pod begins with."""
        tar = self._layout.containerd / "pause.tar"
        write_image(tar, nodeconfig.PAUSE, {"pause": program}, ["/pause"])
        self.import_image(tar)

    def end_containers(self) -> None:
        """Kill all containers: the shims that belong to our containerd, and what they started."""
        deadline = time.monotonic() + 20
        while shims := self._shims():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the containers of processes {shims} do not end, not even when killed"
                )
            for process in with_descendants(shims):
                process.signal(signal.SIGKILL)
            time.sleep(0.05)

    def clean_up(self) -> None:
        """Undo what containers, the kubelet and kube-proxy did to the machine.

        All of their processes have ended.
        """
        self._remove_notes()
        self._unmount()
        run("ip", "link", "delete", BRIDGE, may_fail=True)
        firewall.remove_rules()
        for folder in _cgroups():
            _remove_empty_folders(folder)
        for link in Path("/var/log/containers").glob("*"):
            if link.is_symlink() and link.readlink().is_relative_to(self._layout.root):
                link.unlink(missing_ok=True)

    def traces(self) -> list[str]:
        """What there is of a node on this machine; nothing after `clean_up`."""
        found = [f"process {pid}" for pid in self._shims()]
        found += [f"mount {mount}" for mount in _mounts_below(self._layout.root)]
        found += [f"cgroup {folder}" for folder in _cgroups()]
        found += [f"rule {rule}" for rule in firewall.rules()]
        if Path(f"/sys/class/net/{BRIDGE}").exists():
            found.append(f"bridge {BRIDGE}")
        return found

    def _check(self) -> None:
        if os.geteuid() != 0:
            raise ClusterError("a node needs root")
        missing = [program for program in _PROGRAMS if not _path_of(program)]
        if missing:
            raise ClusterError(f"a node needs {', '.join(missing)}: run hack/node-packages.sh")
        if len(str(self._layout.root)) > _LONGEST_ROOT:
            raise ClusterError(
                f"{self._layout.root} is too long a name for the sockets in it: name a shorter one"
            )
        if Path(f"/sys/class/net/{BRIDGE}").exists():
            raise ClusterError(
                f"there is a bridge {BRIDGE} that is not ours; remove it: ip link delete {BRIDGE}"
            )
        network = os.stat("/proc/self/ns/net").st_ino
        for pid in all_pids():
            with contextlib.suppress(OSError):
                name = Path((command_of(pid) or [""])[0]).name
                if name in ("kubelet", "k3s") and os.stat(f"/proc/{pid}/ns/net").st_ino == network:
                    raise ClusterError(
                        f"this machine is a Kubernetes node already: process {pid}, {name}"
                    )

    def _ctr(self, *arguments: str, may_fail: bool = False) -> str:
        address = f"--address={self._layout.socket}"
        return run("ctr", address, "--namespace=k8s.io", *arguments, seconds=300, may_fail=may_fail)

    def _shims(self) -> list[int]:
        ours = str(self._layout.socket)
        found = []
        for pid in all_pids():
            command = command_of(pid)
            if command and Path(command[0]).name.startswith("containerd-shim") and ours in command:
                found.append(pid)
        return found

    def _remove_notes(self) -> None:
        """Remove what is kept of our containers outside of the cluster's directory."""
        for pod in self._layout.containerd.glob("state/io.containerd.grpc.v1.cri/sandboxes/*"):
            for result in Path("/var/lib/cni/results").glob(f"*-{pod.name}-*"):
                result.unlink(missing_ok=True)
        for note in self._layout.containerd.glob(
            "state/io.containerd.runtime.v2.task/k8s.io/*/address"
        ):
            with contextlib.suppress(OSError):
                Path(note.read_text().removeprefix("unix://")).unlink(missing_ok=True)

    def _unmount(self) -> None:
        """Unmount all below the cluster's directory.

        Nothing may be deleted through a mount that is left.
        """
        for mount in reversed(_mounts_below(self._layout.root)):
            run("umount", "--lazy", mount, may_fail=True)
        if left := _mounts_below(self._layout.root):
            raise ClusterError(
                f"these do not let themselves be unmounted; nothing was deleted: {', '.join(left)}"
            )


def _write_once(path: Path, content: Mapping[str, object]) -> None:
    """kube-proxy ends when its configuration is written again, even if it is the same."""
    if not path.exists():
        path.write_text(json.dumps(content, indent=1))


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    # A space is written as \040.
    decoded = [point.encode().decode("unicode_escape") for point in points]
    return [
        point for point in decoded if Path(point) != folder and Path(point).is_relative_to(folder)
    ]


def _cgroups() -> list[Path]:
    """Those of pods: one with cgroup v2, one per controller with v1."""
    every = Path("/sys/fs/cgroup")
    return [folder for folder in (every / "kubepods", *every.glob("*/kubepods")) if folder.exists()]


def _remove_empty_folders(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _path_of(program: str) -> str:
    return shutil.which(program, path=plain_environment()["PATH"]) or ""
