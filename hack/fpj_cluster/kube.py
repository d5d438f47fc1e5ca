"""`kubectl` against one cluster, for people who write tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpj_cluster.errors import ClusterError
from fpj_cluster.processes import run

Resource = Mapping[str, Any]


class KubectlError(ClusterError):
    """What the API server, or kubectl, would not do."""


class Kube:
    """Calls of kubectl, in one namespace if one is given."""

    def __init__(self, kubectl: Path, kubeconfig: Path, namespace: str | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._kubectl = kubectl
        # What kubectl remembers of a server is filed under its address, and another cluster may
        # have that one later.
        self._options = [
            f"--kubeconfig={kubeconfig}",
            f"--cache-dir={kubeconfig.parent / 'discovery'}",
        ]
        if namespace:
            self._options.append(f"--namespace={namespace}")

    def within(self, namespace: str) -> Kube:
        """The same cluster, another namespace."""
        return Kube(self._kubectl, self.kubeconfig, namespace)

    def command(self, *arguments: str) -> list[str]:
        """The command line of a call, for whoever runs it otherwise."""
        return [str(self._kubectl), *self._options, *arguments]

    def __call__(
        self, *arguments: str | Path, stdin: str | None = None, seconds: float = 60.0
    ) -> str:
        """Run kubectl and return what it prints.

        Raises:
            KubectlError: it failed or took longer than `seconds`.
        """
        try:
            return run(self._kubectl, *self._options, *arguments, stdin=stdin, seconds=seconds)
        except ClusterError as error:
            raise KubectlError(
                str(error).partition(f" {' '.join(self._options)} ")[2] or str(error)
            ) from None

    def json(
        self, *arguments: str | Path, stdin: str | None = None, seconds: float = 60.0
    ) -> dict[str, Any]:
        """Run kubectl with `--output=json` and return what that says."""
        return dict(json.loads(self(*arguments, "--output=json", stdin=stdin, seconds=seconds)))

    def items(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """The resources that `kubectl get` lists."""
        return list(self.json("get", *arguments)["items"])

    def apply(
        self, *resources: Resource | Path, server_side: bool = False, dry_run: bool = False
    ) -> str:
        """Apply manifests: files, or resources as Python has them."""
        options = ["--server-side"] if server_side else []
        options += ["--dry-run=server"] if dry_run else []
        files = [f"--filename={resource}" for resource in resources if isinstance(resource, Path)]
        inline = _as_list([resource for resource in resources if not isinstance(resource, Path)])
        return self("apply", *options, *files, *(["--filename=-"] if inline else []), stdin=inline)

    def wait(self, condition: str, *resources: str, seconds: float = 60.0) -> None:
        """Wait for what `kubectl wait --for` understands."""
        self(
            "wait",
            f"--for={condition}",
            f"--timeout={seconds:g}s",
            *resources,
            seconds=seconds + 10,
        )


def _as_list(resources: Sequence[Resource]) -> str | None:
    if not resources:
        return None
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": resources})
