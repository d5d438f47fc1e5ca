"""What Argo CD has to know of our resources.

Puts the health checks below resource_customizations/ into a patch of Argo CD's ConfigMap, as they
are.
"""

from __future__ import annotations

from pathlib import Path

import yaml

SCRIPTS = Path(__file__).parents[2] / "deploy" / "argocd" / "resource_customizations"
_HEADER = "# Generated from resource_customizations/ by `make deploy`. Do not edit.\n"


class _Dumper(yaml.SafeDumper):
    """YAML with scripts as blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _block)


def files() -> dict[str, str]:
    """File name to YAML text."""
    checks = {
        f"resource.customizations.health.{script.parent.parent.name}_{script.parent.name}": (
            script.read_text("utf-8")
        )
        for script in sorted(SCRIPTS.glob("*/*/health.lua"))
    }
    return {
        "argocd-cm-patch.yaml": (
            _HEADER + yaml.dump({"data": checks}, Dumper=_Dumper, width=120, sort_keys=False)
        )
    }
