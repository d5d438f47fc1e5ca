"""Plain manifests of an operator's installation: ``python -m fpj_operator.install [--check] DIR``."""

from __future__ import annotations

import sys
from typing import Any

import fpj_core
from fpj_core.generated import write_or_check, yaml_text
from fpj_core.names import MANAGER
from fpj_operator.admission import binding, lists_of, worker_reports, worker_templates
from fpj_operator.rights import OPERATOR, PEOPLE, RBAC, Where, people_role, rules
from fpj_operator.settings import OperatorSettings
from fpj_operator.templatepolicy import RESERVED_VARIABLES

NAMESPACE = "fpj-system"
IMAGE = f"fpj:{fpj_core.__version__}"
_LABELS = {"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/part-of": "fpj"}
_LIVENESS, _METRICS = 8080, 9090


def files() -> dict[str, str]:
    """File name to YAML text."""
    people = [people_role(name, _LABELS) for name in PEOPLE]
    documents = [_namespace(), _account(), _cluster_role(), _cluster_role_binding(), *people, _deployment()]
    return {"operator.yaml": _text(documents), "policies.yaml": _text(_policies())}


def _text(documents: list[dict[str, Any]]) -> str:
    return _HEADER + "---\n".join(yaml_text(each) for each in documents)


def _policies() -> list[dict[str, Any]]:
    """With the lists of the default settings. Who changes the settings changes them here, too."""
    lists = lists_of(OperatorSettings(store_url="", worker_image=""), RESERVED_VARIABLES)
    made = [
        worker_templates("fpj-worker-templates", lists),
        worker_reports("fpj-worker-reports", f"system:serviceaccount:{NAMESPACE}:{MANAGER}"),
    ]
    documents = [each for policy in made for each in (policy, binding(policy["metadata"]["name"]))]
    return [each | {"metadata": each["metadata"] | {"labels": _LABELS}} for each in documents]


_HEADER = "# Generated from operator/fpj_operator/install.py by `make deploy`. Do not edit.\n"


def _namespace() -> dict[str, Any]:
    labels = _LABELS | {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()}


def _cluster_role() -> dict[str, Any]:
    metadata = {"name": MANAGER, "labels": _LABELS}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules(OPERATOR, *Where)}


def _cluster_role_binding() -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": MANAGER, "labels": _LABELS},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": MANAGER},
        "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": NAMESPACE}],
    }


def _deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(),
        "spec": {
            "replicas": 2,  # one leads, the other takes over
            "selector": {"matchLabels": {"app.kubernetes.io/name": MANAGER}},
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
        },
    }


def _pod() -> dict[str, Any]:
    store = {"secretKeyRef": {"name": "fpj-store", "key": "url"}}
    return {
        "serviceAccountName": MANAGER,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 20,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "operator",
                "image": IMAGE,
                "command": ["fpj-operator"],
                "env": [
                    {"name": "FPJ_STORE", "valueFrom": store},
                    {"name": "FPJ_WORKER_IMAGE", "value": IMAGE},
                    {"name": "FPJ_OWN_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "ports": [
                    {"name": "health", "containerPort": _LIVENESS},
                    {"name": "metrics", "containerPort": _METRICS},
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/healthz", "port": "health"},
                    "periodSeconds": 5,
                    "timeoutSeconds": 5,
                },
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": "health"},
                    "periodSeconds": 10,
                    "timeoutSeconds": 5,
                    "failureThreshold": 3,
                },
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the container
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _metadata() -> dict[str, Any]:
    return {"name": MANAGER, "namespace": NAMESPACE, "labels": _LABELS}


if __name__ == "__main__":
    sys.exit(write_or_check(files(), "Generate the manifests of an installation."))
