"""The operator as a real process, which tests start, kill and look into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from mongodb_server import free_port
from podrunner import Api
from waiting import wait_for

_LEASES = "/apis/coordination.k8s.io/v1/namespaces"


class OperatorProcess:
    """One replica of the operator.

    Several may run at once, and each may be started again after its end.

    Args:
        kubeconfig: an administrator's.
        namespace: the one that it watches, and where its own lease is.
        store: URL of the store, for itself and for workers.
        folder: for its logs.
        settings: further environment variables.
        python: the interpreter, if not that of the tests.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        store: str,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        python: Path | None = None,
    ) -> None:
        self.namespace = namespace
        self.name = f"operator-{free_port()}"
        self.log_path = folder / f"{self.name}.log"
        self.metrics_port, self.liveness_port = free_port(), free_port()
        self._python = str(python or sys.executable)
        self._api = Api(kubeconfig)
        self._process: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FPJ_")}
        self._environment = kept | {
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": self.name,
            "FPJ_STORE": store,
            "FPJ_WORKER_STORE": store,
            "FPJ_WORKER_IMAGE": "localhost/fpj:test",
            "FPJ_NAMESPACES": namespace,
            "FPJ_OWN_NAMESPACE": namespace,
            "FPJ_LIVENESS_PORT": str(self.liveness_port),
            "FPJ_METRICS_PORT": str(self.metrics_port),
            "FPJ_CHECK_SECONDS": "1",
            "FPJ_LEASE_SECONDS": "10",
            "FPJ_LEADER_SECONDS": "6",
            "FPJ_WORKER_ENV_FPJ_SUSPECT_SECONDS": "5",
            **(settings or {}),
        }

    def add(self, environment: Mapping[str, str]) -> None:
        """Further environment variables, from its next start on."""
        self._environment |= environment

    def start(self, *, wait: bool = True) -> None:
        """Start it; by default, wait until it leads."""
        with self.log_path.open("ab") as log:
            command = [self._python, "-m", "fpj_operator.main"]
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            wait_for(self._is_up, lambda: f"the operator does not lead\n{self.log}", 60)

    def _is_up(self) -> bool:
        assert self.running, f"the operator ended with {self.code}\n{self.log}"
        return self.leads

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def holder(self) -> str:
        """Who leads, by the lease of the namespace; empty for nobody."""
        found = self._api.get(f"{_LEASES}/{self.namespace}/leases/fpj-operator")
        return str((found or {}).get("spec", {}).get("holderIdentity") or "")

    @property
    def leads(self) -> bool:
        """Whether the lease is its own."""
        return self.holder.startswith(f"{self.name}-")

    def scrape(self) -> str:
        """What Prometheus would get."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10
        ) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """A metric without labels."""
        return float(
            next(
                line.split()[1]
                for line in self.scrape().splitlines()
                if line.startswith(f"{name} ")
            )
        )

    @property
    def waits(self) -> bool:
        """Whether it is up and does not lead: it answers scrapes from its start on."""
        try:
            return self.metric("fpj_operator_leader") == 0
        except urllib.error.URLError:
            return False

    def healthz(self) -> int:
        """The status that a liveness probe gets."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.liveness_port}/healthz", timeout=10
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        if self._process and self.running:
            self._process.kill()
            self._process.wait(20)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, as Kubernetes does it; the exit code.

        An operator that does not end in time is killed, and fails.
        """
        assert self._process
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the operator does not end on SIGTERM\n{self.log}") from None

    def close(self) -> None:
        """After the test: end it whatever it does."""
        self.kill()
        self._api.close()

    def entries(self, level: str) -> list[dict[str, object]]:
        """What it logged at a level."""
        found = []
        for line in self.log.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") == level:
                found.append(entry)
        return found
