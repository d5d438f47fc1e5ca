"""A cluster's life: started, waited for, restarted in part, ended,
and cleaned up after where that went wrong.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fpj_cluster import binaries, controlplane
from fpj_cluster.errors import ClusterError
from fpj_cluster.kube import Kube
from fpj_cluster.layout import NODE, Layout
from fpj_cluster.node import Node
from fpj_cluster.probe import Probe
from fpj_cluster.processes import Process, end, wait_until
from fpj_cluster.state import State, free_ports_by_use

READY_SECONDS = 120.0
"""How long a component may take to become ready.

A bound: on two idle cores all of them need some 8 s together.
"""
_ATTEMPTS = 3
"""Starts, each with ports of its own, until we give up because others take them meanwhile."""
_APISERVER = "kube-apiserver"
_GUARD = "guard"
_COMMAND = Path(__file__).parent.parent / "cluster.py"
_NODE_CLAIM = Path("/run/fpj-node")
"""Names the directory of the cluster whose node this machine is."""


class Cluster:
    """A cluster in a directory. Any process that knows the directory may use it and end it.

    Args:
        root: the cluster's directory; it is made.
        node: also run a node. Needs root, and a machine can have one.
        arguments: further command-line arguments by component, say `{"kube-apiserver":
            ["--max-requests-inflight=9"]}`.
        say: called with a line about each step.
    """

    def __init__(
        self,
        root: Path,
        *,
        node: bool = False,
        arguments: Mapping[str, Sequence[str]] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.layout = Layout(root.absolute())
        self._node = node
        self._arguments = {name: list(given) for name, given in (arguments or {}).items()}
        self._say = say
        self._state = State.read(self.layout.state)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{controlplane.api_address(node=self._state.node)}:{self._state.ports['apiserver']}"

    @property
    def kube(self) -> Kube:
        """Calls of kubectl as the administrator."""
        return Kube(binaries.locate(node=False)["kubectl"], self.kubeconfig)

    def status(self) -> dict[str, bool]:
        """Which components were started, and whether they are alive."""
        state = State.read(self.layout.state)
        return {name: process.is_alive for name, process in state.processes.items()}

    def up(self, *, owner: int | None = None) -> None:
        """Start the cluster and wait until it is ready. One that runs already is left as it is.

        What a cluster in this directory left behind when it crashed is removed first.

        Args:
            owner: the pid of a process whose end is to end the cluster, however it ends.

        Raises:
            ClusterError: it does not start; nothing of it runs any more, and its logs stay.
        """
        with self._locked():
            self._state = State.read(self.layout.state)
            same = (self._state.node, self._state.arguments) == (self._node, self._arguments)
            if self._state.is_running and same:
                return
            self._end()
            shutil.rmtree(self.layout.logs, ignore_errors=True)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._start(owner)
                except BaseException as error:
                    self._end()
                    if attempt == _ATTEMPTS or "address already in use" not in str(error):
                        raise
                else:
                    return

    def down(self) -> None:
        """End the cluster and remove what it kept, but for the logs.

        One that does not run is not an error.
        """
        with self._locked():
            self._end()

    def restart_apiserver(self) -> None:
        """End the API server as an upgrade does, start it at the same address and wait until it is
        ready.
        """
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """End the API server: with SIGTERM, or with SIGKILL as a crash would."""
        self.stop(_APISERVER, kill=kill)

    def start_apiserver(self) -> None:
        """Start the API server after `stop_apiserver`, and wait until it is ready."""
        self.start(_APISERVER)

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End a component: with SIGTERM, or with SIGKILL as a crash would."""
        process = State.read(self.layout.state).processes[name]
        if kill:
            process.signal(signal.SIGKILL)
        end([process], grace=30)

    def start(self, name: str) -> None:
        """Start a component after `stop`; of the API server, wait until it is ready."""
        self._state = State.read(self.layout.state)
        commands = self._control_plane()
        if self._state.node:
            commands |= Node(self.layout).commands(binaries.locate(node=True), self._state.ports)
        self._spawn(name, commands[name])
        if name == _APISERVER:
            self._wait_for(name, lambda: self._api.is_ok("/readyz"))

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A component stands still meanwhile: its connections stay open, and it answers nothing."""
        process = State.read(self.layout.state).processes[name]
        process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.signal(signal.SIGCONT)

    def import_image(self, tar: Path) -> None:
        """Give the node an image: a docker-archive or OCI tar file.

        Pods name it with `imagePullPolicy: Never`.
        """
        Node(self.layout).import_image(tar)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time starts or ends a cluster."""
        self.layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.layout.lock.open("a") as lock:
            deadline = time.monotonic() + 2 * READY_SECONDS
            while not _try_lock(lock.fileno()):
                if time.monotonic() > deadline:
                    raise ClusterError(f"{self.layout.root}: another process is busy with it")
                time.sleep(0.1)
            yield

    def _start(self, owner: int | None) -> None:
        started = time.monotonic()
        programs = binaries.locate(node=self._node)
        if self._node:
            self._claim_node()
        self._state = State(node=self._node, arguments=self._arguments, ports=free_ports_by_use())
        self._state.write(self.layout.state)
        controlplane.write_credentials(self.layout, self.server)
        if owner:
            guard = [
                sys.executable,
                _COMMAND,
                "guard",
                f"--dir={self.layout.root}",
                f"--owner={owner}",
            ]
            self._spawn(_GUARD, [str(word) for word in guard])
        if self._node:
            Node(self.layout).prepare()
        self._start_control_plane()
        if self._node:
            self._start_node(programs)
        self._say(f"ready after {time.monotonic() - started:.1f} s")

    def _start_control_plane(self) -> None:
        commands = self._control_plane()
        self._say(f"starting {', '.join(commands)}; logs in {self.layout.logs}")
        self._spawn("etcd", commands["etcd"])
        self._spawn(_APISERVER, commands[_APISERVER])  # waits for etcd by itself
        self._wait_for(_APISERVER, lambda: self._api.is_ok("/readyz"))
        clients = {"kube-controller-manager": "controller-manager", "kube-scheduler": "scheduler"}
        for name in clients:  # these give up where there is no API server after 10 s
            self._spawn(name, commands[name])
        for name, use in clients.items():
            probe = Probe("127.0.0.1", self._state.ports[use], self.layout.pki)
            self._wait_for(name, partial(probe.is_ok, "/healthz"))
        # Without it no pod can be created.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for("kube-controller-manager", lambda: self._api.resource(account))

    def _start_node(self, programs: Mapping[str, Path]) -> None:
        node = Node(self.layout)
        commands = node.commands(programs, self._state.ports)
        self._say(f"starting {', '.join(commands)}")
        self._spawn("containerd", commands["containerd"])
        self._wait_for("containerd", node.containerd_answers)
        node.import_pause(programs["pause"])
        for name in ("kubelet", "kube-proxy"):
            self._spawn(name, commands[name])
        self._wait_for("kubelet", lambda: _takes_pods(self._api.resource(f"/api/v1/nodes/{NODE}")))
        self._wait_for("kube-proxy", node.services_are_programmed)

    def _control_plane(self) -> dict[str, list[str]]:
        programs = binaries.locate(node=False)
        return controlplane.commands(
            self.layout, programs, self._state.ports, node=self._state.node
        )

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        further = self._state.arguments.get(name, [])
        self._state.processes[name] = Process.start(
            [*command, *further], self.layout.logs / f"{name}.log"
        )
        self._state.write(self.layout.state)

    @property
    def _api(self) -> Probe:
        address = controlplane.api_address(node=self._state.node)
        return Probe(address, self._state.ports["apiserver"], self.layout.pki)

    def _wait_for(self, name: str, is_ready: Callable[[], object]) -> None:
        def check() -> object:
            for other, process in self._state.processes.items():
                if not process.is_alive:
                    raise ClusterError(f"{other} ended by itself. {self._tail(other)}")
            return is_ready()

        if not wait_until(check, seconds=READY_SECONDS):
            raise ClusterError(f"{name} is not ready after {READY_SECONDS:g} s. {self._tail(name)}")

    def _tail(self, name: str) -> str:
        log = self.layout.logs / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        return "\n".join([f"The end of {log}:", *lines])

    def _claim_node(self) -> None:
        """Make this machine the node of this cluster, if that of another does not run."""
        if _NODE_CLAIM.exists():
            other = Cluster(Path(_NODE_CLAIM.read_text()))
            if State.read(other.layout.state).is_running:
                raise ClusterError(
                    f"this machine is the node of another cluster, {other.layout.root}: end that"
                    " first"
                )
            other.down()
        if os.geteuid() == 0:
            _NODE_CLAIM.write_text(str(self.layout.root))

    def _end(self) -> None:
        """End every process by its pid, then remove what they made.

        What has ended already is fine.
        """
        state = State.read(self.layout.state)
        processes = state.processes
        guard = processes.pop(_GUARD, None)
        if state.node:
            end(
                [
                    process
                    for name, process in processes.items()
                    if name in ("kubelet", "kube-proxy")
                ],
                grace=5,
            )
            Node(self.layout).end_containers()
        # What they keep is removed with them: no need for patience.
        end(processes.values(), grace=1)
        if state.node:
            Node(self.layout).clean_up()
            _NODE_CLAIM.unlink(missing_ok=True)
        if guard and guard.pid != os.getpid():
            end([guard], grace=5)
        for path in self.layout.made_here:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self._state = State()


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a node is ready and no longer tainted as one that is not."""
    conditions = node.get("status", {}).get("conditions", ())
    is_ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )
    return is_ready and not node["spec"].get("taints")
