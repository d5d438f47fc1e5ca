"""The real `helm` and this project's chart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from planes import ROOT

CHART = ROOT / "charts" / "fpj"
MATRIX = sorted((CHART / "ci").glob("*.yaml"))
"""Values that the chart must bear, from next to nothing to everything."""
SECOND: dict[str, Any] = {"crds": {"enabled": False}, "rbac": {"aggregate": False}}
"""What a second release in a cluster leaves to the first."""
URI = "mongodb://mongodb.example/fpj"


class HelmError(Exception):
    """What helm said, in one line: it wraps its messages."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))


class Helm:
    """Calls of helm against one cluster, or none, in one namespace."""

    def __init__(self, kubeconfig: Path | None, home: Path, namespace: str = "default") -> None:
        script = ROOT / "hack" / "cluster-binaries.sh"
        found = subprocess.run(
            [script, "--no-build", "helm"], capture_output=True, text=True, check=True
        )
        self._program = Path(found.stdout.strip()) / "helm"
        self._kubeconfig = kubeconfig
        self._home = home
        self.namespace = namespace

    def within(self, namespace: str) -> Helm:
        return Helm(self._kubeconfig, self._home, namespace)

    def __call__(
        self, *arguments: object, values: Mapping[str, Any] | None = None, seconds: float = 120
    ) -> str:
        """Run helm; what it prints. Values are Python's."""
        given = ["--values=-"] if values is not None else []
        environment = {
            "HOME": str(self._home),
            "PATH": "/usr/bin:/bin",
            "KUBECONFIG": str(self._kubeconfig or self._home / "none"),
        }
        ran = subprocess.run(
            [self._program, f"--namespace={self.namespace}", *map(str, arguments), *given],
            input=json.dumps(values) if values is not None else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if ran.returncode:
            raise HelmError(ran.stderr + ran.stdout)
        return ran.stdout

    def install(self, release: str, *options: object, **values: Any) -> str:
        """Install the chart, with a database unless the values say otherwise."""
        return self("install", release, CHART, *options, values=with_database(values))

    def render(self, release: str = "fpj", *options: object, **values: Any) -> list[dict[str, Any]]:
        """The manifests that an install would apply, hooks included."""
        text = self("template", release, CHART, *options, values=with_database(values))
        return [document for document in yaml.safe_load_all(text) if document]

    @property
    def releases(self) -> list[str]:
        """The releases of all namespaces, whatever their state."""
        return [
            found["name"] for found in json.loads(self("list", "--all-namespaces", "--output=json"))
        ]


def with_database(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"mongodb": {"uri": URI}} | dict(values)


def environment(rendered: list[dict[str, Any]], container: str = "operator") -> dict[str, str]:
    """The variables of the operator, or of another container.

    Of those from elsewhere, where from.
    """
    deployments = [each for each in rendered if each["kind"] == "Deployment"]
    names = [each["spec"]["template"]["spec"]["containers"][0]["name"] for each in deployments]
    deployment = deployments[names.index(container)]
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    elsewhere = {"secretKeyRef": "from a Secret", "fieldRef": "the release's"}
    return {
        each["name"]: each["value"] if "value" in each else elsewhere[next(iter(each["valueFrom"]))]
        for each in variables
    }


def name_of(document: dict[str, Any]) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]
