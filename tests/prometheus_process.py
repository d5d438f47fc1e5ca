"""A real Prometheus that scrapes what a test tells it to, several times a second."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from mongodb_server import free_port
from monitoring_files import RULES, prometheus_program
from waiting import end, wait_for

Sample = tuple[dict[str, str], float]


class PrometheusProcess:
    """Scrapes ``targets``, as addresses by the job that they are.

    The rules of the chart are loaded.
    """

    def __init__(
        self, folder: Path, targets: Mapping[str, Iterable[str]], labels: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._targets = targets
        self._labels = labels
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(self._config()))
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                prometheus_program("prometheus"),
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        wait_for(self._is_ready, lambda: f"Prometheus is ready\n{self.log[-2_000:]}", 30)
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def query(self, query: str) -> list[Sample]:
        """What an instant query answers now: labels and value. What it refuses fails the test."""
        parameters = urllib.parse.urlencode({"query": query})
        result = self._get(f"/api/v1/query?{parameters}")["result"]
        return [(each["metric"], float(each["value"][1])) for each in result]

    def rules(self) -> list[dict[str, Any]]:
        """The loaded rules, with their state and what went wrong."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return dict(json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode(errors='replace')}") from None

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"Prometheus ended\n{self.log[-2_000:]}"
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _config(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": "500ms",
                "scrape_timeout": "500ms",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(file) for file in RULES],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": list(addresses), "labels": dict(self._labels)}],
                }
                for job, addresses in self._targets.items()
            ],
        }
