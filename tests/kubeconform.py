"""The real kubeconform, by the schemas of the API server that the tests run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from planes import ROOT

from fpj_cluster import Kube

Schema = dict[str, Any]


class Kubeconform:
    """Checks manifests without a cluster, strictly.

    Args:
        kube: kubectl of the cluster whose OpenAPI is asked for, once.
        folder: for the schemas, a file for each kind.
    """

    def __init__(self, kube: Kube, folder: Path) -> None:
        script = ROOT / "hack" / "kubeconform.sh"
        built = subprocess.run([script], capture_output=True, text=True, check=True, timeout=900)
        self._program = built.stdout.strip()
        self._folder = folder
        for path in json.loads(kube("get", "--raw", "/openapi/v3"))["paths"]:
            if path.startswith(("api/", "apis/")):
                self._write(
                    json.loads(kube("get", "--raw", f"/openapi/v3/{path}")).get("components", {})
                )

    def _write(self, components: dict[str, dict[str, Schema]]) -> None:
        schemas = components.get("schemas", {})
        for schema in schemas.values():
            _close(schema)
        for name, schema in schemas.items():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                group, version = kind["group"] or kind["version"], kind["version"]
                file = f"{group}_{version}_{kind['kind'].lower()}.json"
                document = {
                    "$ref": f"#/components/schemas/{name}",
                    "components": {"schemas": schemas},
                }
                (self._folder / file).write_text(json.dumps(document), "utf-8")

    def knows(self, group: str, version: str, kind: str) -> bool:
        return (self._folder / f"{group}_{version}_{kind.lower()}.json").exists()

    def __call__(self, manifests: str) -> list[str]:
        """What is wrong, a line each; nothing if all is well. A kind without a schema is wrong."""
        location = (
            f"{self._folder}/{{{{ .Group }}}}_{{{{ .ResourceAPIVersion }}}}_{{{{ .ResourceKind"
            " }}.json"
        )
        ran = subprocess.run(
            [
                self._program,
                "-strict",
                "-summary",
                "-output=json",
                f"-schema-location={location}",
                "-",
            ],
            input=manifests,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = json.loads(ran.stdout)
        summary = said["summary"]
        assert summary["valid"] + summary["invalid"] + summary["errors"] > 0, "it read nothing"
        assert summary["skipped"] == 0
        return [
            f"{each['kind']} {each['name']}: {each['msg']}" for each in said.get("resources") or []
        ]


def _close(node: Any) -> None:
    """Let an object have no other fields than it says,
    as `kubectl apply --validate=strict` has it.
    """
    if isinstance(node, list):
        for each in node:
            _close(each)
    elif isinstance(node, dict):
        is_open = node.get("x-kubernetes-preserve-unknown-fields", False)
        if node.get("type") == "object" and "properties" in node and not is_open:
            node.setdefault("additionalProperties", False)
        for each in node.values():
            _close(each)
