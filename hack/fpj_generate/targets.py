"""What is generated, into which folder, and by which module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """Files of one folder. The module's ``files()`` maps their names to texts."""

    module: str
    folder: Path

    def files(self) -> Mapping[str, str]:
        """File name to text.

        Imports no other target's module: some need more packages than others.
        """
        found: Mapping[str, str] = import_module(f"fpj_generate.{self.module}").files()
        return found


TARGETS = {
    "crds": Target("crd", Path("crds")),
    "reference": Target("reference", Path("docs/reference")),
    "metrics": Target("metrics", Path("docs/reference")),
    "schemas": Target("schemas", Path("docs/reference/schemas")),
    "capacity": Target("capacity", Path("docs/guide")),
    "resilience": Target("resilience", Path("docs")),
    "licences": Target("licences", Path("docs")),
    "deploy": Target("install", Path("deploy")),
    "argocd": Target("argocd", Path("deploy/argocd")),
    "chart": Target("chart.files", Path("charts/fpj")),
    "grafana": Target("grafana", Path("charts/fpj/files")),
    "man": Target("manpage", Path("cli/man")),
}
