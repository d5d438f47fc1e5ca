"""Connections through toxiproxy, which delays, cuts and throttles them; see hack/toxiproxy.sh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from mongodb_server import free_port
from planes import ROOT
from waiting import end, wait_for

TOXICS: dict[str, tuple[str, dict[str, int]]] = {
    "latency": ("latency", {"latency": 400, "jitter": 200}),
    "reset": ("reset_peer", {"timeout": 100}),
    "timeout": ("timeout", {"timeout": 0}),
    "bandwidth": ("bandwidth", {"rate": 8}),
}
"""Name of ours to type and attributes of toxiproxy's: milliseconds, KB/s.

A timeout of 0 closes nothing.
"""


class Toxiproxy:
    """A server of it, for as long as it is entered."""

    def __init__(self) -> None:
        self._port = free_port()
        self._http = urllib3.PoolManager(retries=False)

    def __enter__(self) -> Toxiproxy:
        command = [str(_binary()), "-host", "127.0.0.1", "-port", str(self._port)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers, "toxiproxy answers", 20)
        return self

    def __exit__(self, *_exception: object) -> None:
        end(self._process)
        self._http.clear()

    def proxy(self, name: str, host: str, upstream: str) -> int:
        """Pass connections to a new port of a host on to another address; that port."""
        port = free_port()
        self._call(
            "POST", "/proxies", {"name": name, "listen": f"{host}:{port}", "upstream": upstream}
        )
        return port

    @contextmanager
    def disturbed(self, name: str, toxic: str) -> Iterator[None]:
        """One of TOXICS in both directions of a proxy's connections meanwhile."""
        kind, attributes = TOXICS[toxic]
        ways = {way: f"{toxic}-{way}" for way in ("upstream", "downstream")}
        for way, called in ways.items():
            self._call(
                "POST",
                f"/proxies/{name}/toxics",
                {
                    "name": called,
                    "type": kind,
                    "stream": way,
                    "toxicity": 1.0,
                    "attributes": attributes,
                },
            )
        try:
            yield
        finally:
            for called in ways.values():
                self._call("DELETE", f"/proxies/{name}/toxics/{called}")

    def _answers(self) -> bool:
        try:
            self._call("GET", "/version")
        except urllib3.exceptions.HTTPError:
            return False
        return True

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        content = None if body is None else json.dumps(body).encode()
        answer = self._http.request(
            method, f"http://127.0.0.1:{self._port}{path}", body=content, timeout=10
        )
        assert answer.status < 300, (method, path, answer.data)


def _binary() -> Path:
    built = subprocess.run(
        [ROOT / "hack" / "toxiproxy.sh"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-5_000:]
    return Path(built.stdout.strip())
