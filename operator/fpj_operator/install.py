"""Plain manifests of an operator's installation: ``python -m fpj_operator.install [--check] DIR``.

What the operator may do is written here once; every right has its use beside it.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

import fpj_core
from fpj_core.generated import write_or_check
from fpj_operator.names import MANAGER

NAMESPACE = "fpj-system"
IMAGE = f"fpj:{fpj_core.__version__}"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/part-of": "fpj"}
_LIVENESS, _METRICS = 8080, 9090

RIGHTS: tuple[tuple[str, str, str], ...] = (
    # API group, resources, verbs
    # create: a schedule's runs; patch: kopf's finalizer; delete: time to live, and a schedule's history
    ("fpj.dev", "fileprocessingjobs", "get list watch create patch delete"),
    ("fpj.dev", "fileprocessingjobs/status cachefolders/status fileprocessingschedules/status", "get patch"),
    ("fpj.dev", "cachefolders fileprocessingschedules", "get list watch"),
    ("batch", "jobs", "get list watch create patch delete"),  # the index Job and the Indexed Jobs
    ("", "pods", "list"),  # why a child Job's pods do not start
    ("", "events", "list create"),  # list: why a Job may make no pods
    ("", "serviceaccounts", "get create patch"),  # one per job, for reporting
    (_RBAC, "roles rolebindings", "get create patch"),  # one per job: patch of its own status, which we hold ourselves
    ("coordination.k8s.io", "leases", "get create update"),  # one per collection, one for the leader
    ("apiextensions.k8s.io", "customresourcedefinitions", "list watch"),  # kopf notices resources that appear later
    ("", "namespaces", "get list watch"),  # get: whether one is being deleted; the rest kopf, when it watches all
)


def files() -> dict[str, str]:
    """File name to YAML text."""
    documents = [_namespace(), _account(), _cluster_role(), _cluster_role_binding(), _deployment()]
    return {"operator.yaml": _HEADER + "---\n".join(yaml.safe_dump(each, sort_keys=False) for each in documents)}


_HEADER = "# Generated from operator/fpj_operator/install.py by `make deploy`. Do not edit.\n"


def _namespace() -> dict[str, Any]:
    labels = _LABELS | {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()}


def _cluster_role() -> dict[str, Any]:
    rules = [
        {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
        for group, resources, verbs in RIGHTS
    ]
    metadata = {"name": MANAGER, "labels": _LABELS}
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def _cluster_role_binding() -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": MANAGER, "labels": _LABELS},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": MANAGER},
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
