"""What a kubelet makes of a container: its environment, its mounts,
and the rights of its service account.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podrunner.api import Api, Document

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_REFERENCE = re.compile(r"\$(\$|\([-._a-zA-Z0-9]+\))")


class ConfigError(Exception):
    """What the container refers to is not there."""


@dataclass(frozen=True)
class Mounts:
    """The folders of this machine that stand for the container's,
    by the path at which it sees them.
    """

    folders: Mapping[str, Path]
    token: bool
    """Whether it gets the token of its service account."""


def mounts_of(api: Api, pod: Document) -> Mounts:
    """Follow each mounted claim to its volume, and that to its folder."""
    namespace = pod["metadata"]["namespace"]
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    folders: dict[str, Path] = {}
    token = False
    for mount in pod["spec"]["containers"][0].get("volumeMounts", []):
        volume = volumes[mount["name"]]
        if claim := volume.get("persistentVolumeClaim"):
            folders[mount["mountPath"]] = _folder_of(api, namespace, claim["claimName"])
        token |= mount["mountPath"] == TOKEN_PATH and "projected" in volume
    return Mounts(folders, token)


def environment_of(api: Api, pod: Document) -> dict[str, str]:
    """The variables that the pod asks for, with `$(NAME)` and `$$` resolved as a kubelet does."""
    known: dict[str, str] = {}
    for variable in pod["spec"]["containers"][0].get("env", []):
        source = variable.get("valueFrom")
        value = (
            _expanded(variable.get("value", ""), known)
            if source is None
            else _value(api, pod, source)
        )
        if value is not None:
            known[variable["name"]] = value
    return known


def write_service_account(api: Api, pod: Document, folder: Path) -> None:
    """Token, certificate authority and namespace, as they would be mounted into the pod."""
    metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName", "default")
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    request = {"spec": {"expirationSeconds": 3607, "boundObjectRef": bound}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(api.call("POST", path, request)["status"]["token"])
    (folder / "ca.crt").write_bytes(api.ca)
    (folder / "namespace").write_text(metadata["namespace"])


def _folder_of(api: Api, namespace: str, claim: str) -> Path:
    found = api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
    volume = found and found["spec"].get("volumeName")
    if not volume:
        raise ConfigError(f"the claim {claim} is not bound")
    specification = api.call("GET", f"/api/v1/persistentvolumes/{volume}")["spec"]
    return Path((specification.get("local") or specification["hostPath"])["path"])


def _value(api: Api, pod: Document, source: Mapping[str, Any]) -> str | None:
    if field := source.get("fieldRef"):
        return _field(pod, field["fieldPath"])
    kind, plural = (
        ("secretKeyRef", "secrets")
        if "secretKeyRef" in source
        else ("configMapKeyRef", "configmaps")
    )
    reference = source[kind]
    found = api.get(
        f"/api/v1/namespaces/{pod['metadata']['namespace']}/{plural}/{reference['name']}"
    )
    content = (found or {}).get("data", {}).get(reference["key"])
    if content is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f"there is no {reference['key']} in {plural}/{reference['name']}")
    return base64.b64decode(content).decode() if plural == "secrets" else str(content)


def _field(pod: Document, path: str) -> str:
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(pod["metadata"].get(match[1], {}).get(match[2], ""))
    here: Any = pod
    for step in path.split("."):
        here = here[step]
    return str(here)


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """As a kubelet does it: `$$` is a dollar sign, and the name of an unknown variable stays as it
    stands.
    """
    return _REFERENCE.sub(lambda m: "$" if m[1] == "$" else known.get(m[1][1:-1], m[0]), text)
