"""One pod's life, as a kubelet leads it; each pod has a thread.

Only the first container is a process. Others, which somebody's webhook adds, are said to run until
the pod is deleted.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from podrunner.api import Api, Document
from podrunner.container import ConfigError, environment_of, mounts_of, write_service_account
from podrunner.process import ContainerProcess

PROGRAMS = {"fpj-worker": [sys.executable, "-m", "fpj_worker.pod"]}
"""Programs of the worker image, and what stands for them here."""
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_ROOTS = {"/source": "FPJ_SOURCE_ROOT", "/cache": "FPJ_CACHE_ROOT"}
_POLL_SECONDS = 0.02


class Wishes(Protocol):
    """What a test wants of pods; see `runner.PodRunner`."""

    environment: dict[str, str]

    def refusal(self, pod: Pod) -> tuple[str, str] | None:
        """(reason, message) of why its image is not pulled now."""

    def held(self, pod: Pod) -> bool:
        """Whether it may not start yet."""

    def started(self, pod: Pod) -> None:
        """Its process runs now."""


class Pod:
    """A pod bound to our node. Tests reach into it to do what the world does to pods."""

    def __init__(self, api: Api, document: Document, folder: Path, wishes: Wishes) -> None:
        self.document = document
        self.process: ContainerProcess | None = None
        self._api = api
        self._folder = folder
        self._wishes = wishes
        self._deleted = threading.Event()
        self._stop = threading.Event()
        self._silent = False
        self._oom = False
        self._started_at = ""
        # Short: paths of sockets in it are bounded.
        self._scratch = tempfile.mkdtemp(prefix="fpj-pod-")
        self._thread = threading.Thread(target=self._live, name=self.name)
        self.error: BaseException | None = None

    # What it is -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.document["metadata"]["namespace"])

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self.document["metadata"].get("labels", {}))

    @property
    def job(self) -> str:
        """Name of the child Job that it is of."""
        return self.labels.get("batch.kubernetes.io/job-name", "")

    @property
    def index(self) -> int:
        """Its completion index; -1 where it has none."""
        return int(self.labels.get("batch.kubernetes.io/job-completion-index", -1))

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.code is None

    @property
    def log(self) -> str:
        return self.process.log if self.process else ""

    # What befalls it ------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL to the worker's own process; as in a container, the others go with it."""
        if self.process:
            self.process.signal(signal.SIGKILL)

    def run_out_of_memory(self) -> None:
        """The kernel kills it, and the kubelet says why."""
        self._oom = True
        self.kill()

    def hang(self) -> None:
        """No process of it does anything any more, nor ends when it is asked to."""
        if self.process:
            self.process.signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """The reverse of `hang`."""
        if self.process:
            self.process.signal_all(signal.SIGCONT)

    def cut_off(self) -> None:
        """Its node is lost: the process goes on, but nobody hears of it,
        and no deletion reaches it.
        """
        self._silent = True

    def evict(self) -> None:
        """Through the eviction API, as a drain does."""
        metadata = {"name": self.name, "namespace": self.namespace}
        self._api.call(
            "POST", f"{self._path}/eviction", {"apiVersion": "policy/v1", "metadata": metadata}
        )

    # Its life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def seen(self, document: Document) -> None:
        """The watch shows it again."""
        self.document = document
        if "deletionTimestamp" in document["metadata"]:
            self._deleted.set()

    def gone(self) -> None:
        """It is no more in the API server; a process that nobody cut off goes with it."""
        self._deleted.set()

    def stop(self) -> None:
        """The runner stops: no grace."""
        self._stop.set()
        if self.process:
            self.process.signal_all(signal.SIGKILL)

    def join(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def _live(self) -> None:
        try:
            if self._wait_until_startable():
                self._run()
            elif not self._stop.is_set():
                self._report("Failed", {})
                self._forget()
        except BaseException as error:  # noqa: BLE001 - shown by the runner, which fails the test
            self.error = error
        finally:
            if self.process:
                self.process.end_rest()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _wait_until_startable(self) -> bool:
        """Wait for what holds it back. False: it was deleted meanwhile."""
        said: tuple[str, str] | None = None
        while not (self._deleted.is_set() or self._stop.is_set()):
            problem = self._wishes.refusal(self)
            if problem is None and not self._wishes.held(self):
                try:
                    self._prepare()
                except ConfigError as error:
                    problem = ("CreateContainerConfigError", str(error))
                else:
                    return True
            if problem and problem != said:
                self._report("Pending", {"waiting": {"reason": problem[0], "message": problem[1]}})
            said = problem
            self._deleted.wait(0.1)
        return False

    def _prepare(self) -> None:
        mounts = mounts_of(self._api, self.document)
        host, port = self._api.address
        account = self._folder / "serviceaccount"
        account.mkdir(parents=True, exist_ok=True)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        environment |= {"FPJ_SERVICEACCOUNT_DIR": str(account), "TMPDIR": self._scratch}
        environment |= {
            variable: str(mounts.folders[path])
            for path, variable in _ROOTS.items()
            if path in mounts.folders
        }
        if mounts.token:
            write_service_account(self._api, self.document, account)
        self._environment = (
            environment | environment_of(self._api, self.document) | self._wishes.environment
        )

    def _run(self) -> None:
        container = self.document["spec"]["containers"][0]
        line: list[str] = [*container.get("command", []), *container.get("args", [])]
        program, *arguments = line
        self.process = ContainerProcess(
            [*PROGRAMS.get(program, [program]), *arguments], self._environment, self._folder
        )
        self._started_at = _now()
        self._report("Running", {"running": {"startedAt": self._started_at}})
        self._wishes.started(self)
        while (
            self.process.code is None
            and (self._silent or not self._deleted.is_set())
            and not self._stop.is_set()
        ):
            self.process.wait(_POLL_SECONDS)
        if self._stop.is_set():
            return
        if self.process.code is None:
            self._terminate(self.process)
        self.process.end_rest()
        self._report_end(self.process, alone=not self._others)
        self._deleted.wait(0)
        while not (self._deleted.is_set() or self._stop.is_set()):
            self._deleted.wait(0.2)
        if self._others:
            self._report_end(self.process, alone=True)
        self._forget()

    def _terminate(self, process: ContainerProcess) -> None:
        """SIGTERM, and SIGKILL when the grace period is over.

        The period may be shortened meanwhile.
        """
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        while (
            process.code is None
            and time.monotonic() - began < self._grace
            and not self._stop.is_set()
        ):
            process.wait(_POLL_SECONDS)
        process.signal_all(signal.SIGKILL)
        process.wait(10)

    @property
    def _grace(self) -> float:
        given = self.document["metadata"].get("deletionGracePeriodSeconds")
        return float(
            self.document["spec"].get("terminationGracePeriodSeconds", 30)
            if given is None
            else given
        )

    @property
    def _others(self) -> list[dict[str, Any]]:
        """The containers beside the first."""
        return list(self.document["spec"]["containers"][1:])

    def _report_end(self, process: ContainerProcess, *, alone: bool) -> None:
        """The first container has ended; the pod has too if it is ``alone``."""
        code = process.code
        reason = "Completed" if code == 0 else "OOMKilled" if self._oom else "Error"
        terminated = {
            "exitCode": code,
            "reason": reason,
            "startedAt": self._started_at,
            "finishedAt": _now(),
        }
        message = process.message
        if not message and code and self._policy == "FallbackToLogsOnError":
            message = process.tail
        if message:
            terminated["message"] = message
        phase = ("Succeeded" if code == 0 else "Failed") if alone else "Running"
        self._report(phase, {"terminated": terminated})

    @property
    def _policy(self) -> str:
        return str(self.document["spec"]["containers"][0].get("terminationMessagePolicy", "File"))

    def _report(self, phase: str, state: Mapping[str, Any]) -> None:
        if self._silent:
            return
        ready = "running" in state
        container = self.document["spec"]["containers"][0]
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "state": state or {"waiting": {"reason": "ContainerCreating"}},
        }
        runs = phase == "Running"
        beside = [
            status
            | {"name": each["name"], "image": each["image"], "ready": runs, "started": runs}
            | {"state": {"running": {"startedAt": self._started_at}} if runs else state}
            for each in self._others
        ]
        flag = "True" if ready else "False"
        conditions = [{"type": name, "status": flag} for name in ("Ready", "ContainersReady")]
        whole = {"phase": phase, "startTime": self._started_at or _now(), "conditions": conditions}
        self._api.patch(
            f"{self._path}/status", {"status": whole | {"containerStatuses": [status, *beside]}}
        )

    def _forget(self) -> None:
        """A kubelet's last word on a deleted pod: now it may go."""
        if not self._silent and not self._stop.is_set():
            uid = self.document["metadata"]["uid"]
            self._api.delete(self._path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
