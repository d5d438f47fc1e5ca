"""ServiceAccounts with given rights, and requests as one of them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3
import yaml
from podrunner import Api

from fpj_cluster import Kube

RBAC = "rbac.authorization.k8s.io"


def account(kube: Kube, namespace: str, name: str) -> str:
    """Make an account; its name as a user."""
    kube.within(namespace).apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    )
    return f"system:serviceaccount:{namespace}:{name}"


def grant(
    kube: Kube,
    role: str,
    user: str,
    rules: Sequence[Mapping[str, Any]] | None,
    namespace: str | None = None,
) -> None:
    """Bind a user to a role of these rules, in a namespace or in all.

    Without rules to a ClusterRole that is there.
    """
    kind = "Role" if namespace and rules is not None else "ClusterRole"
    binding = "RoleBinding" if namespace else "ClusterRoleBinding"
    _, _, owner, name = user.split(":")
    where = kube.within(namespace) if namespace else kube
    made: list[Mapping[str, Any]] = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": binding,
            "metadata": {"name": f"{role}-{name}"},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": owner, "name": name}],
        }
    ]
    if rules is not None:
        made.append(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": kind,
                "metadata": {"name": role},
                "rules": list(rules),
            }
        )
    where.apply(*made)


def token(kube: Kube, user: str) -> str:
    _, _, namespace, name = user.split(":")
    return kube.within(namespace)("create", "token", name).strip()


def kubeconfig(kube: Kube, user: str, path: Path) -> Path:
    """A kubeconfig with an account's token."""
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token(kube, user)}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


class Caller:
    """Single requests with an account's token."""

    def __init__(self, api: Api, bearer: str) -> None:
        context = ssl.create_default_context(cadata=api.ca.decode())
        self._pool = urllib3.PoolManager(ssl_context=context, retries=False)
        self._url = api.url
        self._headers = {"Authorization": f"Bearer {bearer}"}

    def status(
        self, method: str, path: str, body: object = None, content: str = "application/json"
    ) -> int:
        """The status of the answer. What is asked for should be a dry run."""
        return self.answer(method, path, body, content)[0]

    def answer(
        self, method: str, path: str, body: object = None, content: str = "application/json"
    ) -> tuple[int, str]:
        """The status and the text of the answer."""
        headers = self._headers | ({"Content-Type": content} if body is not None else {})
        text = None if body is None else json.dumps(body)
        found = self._pool.request(method, self._url + path, body=text, headers=headers, timeout=30)
        return int(found.status), found.data.decode()
