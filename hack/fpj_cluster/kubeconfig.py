"""Kubeconfigs, with the certificates in them, so that one file is all that a client needs."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def write_kubeconfig(path: Path, server: str, pki: Path, client: str) -> None:
    """Write the kubeconfig of one client. JSON, which is YAML too."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fpj",
        "contexts": [{"name": "fpj", "context": {"cluster": "fpj", "user": client}}],
        "clusters": [
            {
                "name": "fpj",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _inline(pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": _inline(pki / f"{client}.crt"),
                    "client-key-data": _inline(pki / f"{client}.key"),
                },
            }
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
