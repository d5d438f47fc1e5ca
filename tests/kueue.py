"""Kueue's own controller as a process beside a control plane, its webhooks included.

It stands in a mount namespace of its own: it wants its metrics' certificate below /etc, where
nothing of this machine's is touched. The API server calls its webhooks by address instead of by a
Service, which would need a node.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from mongodb_server import free_port
from planes import ROOT
from waiting import end, wait_for

from fpj_cluster import Cluster

_OURS = ("kueue.x-k8s.io", "batch")
"""API groups whose webhooks are wanted; the others' resources are not installed."""


class Kueue:
    """Started by `with`; ended at its end."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._log = folder / "kueue.log"
        self._port, self._health = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Kueue:
        try:
            self._up()
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._down()

    def _up(self) -> None:
        built = subprocess.run(
            [ROOT / "hack" / "kueue.sh"], capture_output=True, text=True, check=True, timeout=1800
        )
        root = Path(built.stdout.strip())
        kube = self._cluster.kube
        crds = sorted((root / "config").glob("*.yaml"))
        kube.apply(*crds, server_side=True)
        names = [
            f"crd/{yaml.safe_load(path.read_text('utf-8'))['metadata']['name']}" for path in crds
        ]
        kube.wait("condition=Established", *names)
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kueue-system"}})
        self._start(root / "kueue")
        wait_for(self._is_ready, lambda: f"Kueue is not ready\n{self.log}", 60)
        kube.apply(*self._webhooks(root / "webhooks.yaml"))

    def _down(self) -> None:
        if self._process is not None:
            end(self._process)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-10_000:] if self._log.exists() else ""

    def _start(self, binary: Path) -> None:
        pki = self._cluster.layout.pki
        etc = self._folder / "etc"
        certificates = etc / "kueue" / "metrics" / "certs"
        certificates.mkdir(parents=True)
        shutil.copy(pki / "server.crt", certificates / "tls.crt")
        shutil.copy(pki / "server.key", certificates / "tls.key")
        settings = self._folder / "kueue.yaml"
        settings.write_text(json.dumps(self._settings(certificates)), "utf-8")
        script = 'mount --bind "$0" /etc && exec "$1" "--config=$2" "--kubeconfig=$3"'
        files = map(str, (etc, binary, settings, self._cluster.kubeconfig))
        command = ["unshare", "--mount", "sh", "-c", script, *files]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _settings(self, certificates: Path) -> dict[str, Any]:
        return {
            "apiVersion": "config.kueue.x-k8s.io/v1beta1",
            "kind": "Configuration",
            "namespace": "kueue-system",
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._health}"},
            "metrics": {"bindAddress": f"127.0.0.1:{free_port()}"},
            "webhook": {"host": "127.0.0.1", "port": self._port, "certDir": str(certificates)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["batch/job"]},
            # Its server wants certificates and a Service.
            "featureGates": {"VisibilityOnDemand": False},
        }

    def _is_ready(self) -> bool:
        assert self._process and self._process.poll() is None, f"Kueue has ended\n{self.log}"
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._health}/readyz", timeout=5
            ) as answer:
                return bool(answer.status == 200)
        except OSError:  # URLError is one
            return False

    def _webhooks(self, path: Path) -> list[dict[str, Any]]:
        """Those of Kueue and of Jobs, by address."""
        authority = base64.b64encode((self._cluster.layout.pki / "ca.crt").read_bytes()).decode()
        found = list(yaml.safe_load_all(path.read_text("utf-8")))
        for document in found:
            document["webhooks"] = [each for each in document["webhooks"] if self._is_wanted(each)]
            for each in document["webhooks"]:
                url = f"https://127.0.0.1:{self._port}{each['clientConfig']['service']['path']}"
                each["clientConfig"] = {"url": url, "caBundle": authority}
        return found

    @staticmethod
    def _is_wanted(webhook: dict[str, Any]) -> bool:
        return all(group in _OURS for rule in webhook["rules"] for group in rule["apiGroups"])
