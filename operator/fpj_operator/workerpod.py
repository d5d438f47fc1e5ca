"""What all our pods have in common, those of jobs and those of cache folders. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fpj_core.kube.exits import ExitCode
from fpj_core.v1alpha1 import API_VERSION, CacheFolder
from fpj_core.v1alpha1.common import S3
from fpj_operator.settings import OperatorSettings

GRACE_SECONDS = 30
NO_SIDECAR_LABELS = {"sidecar.istio.io/inject": "false"}
NO_SIDECAR_ANNOTATIONS = {"linkerd.io/inject": "disabled"}
"""Service meshes leave our pods alone: a container that they add would never end,
and neither would the pod.
"""
CACHE = "/cache"
"""Where a claim that is a cache folder is mounted."""


def worker_container(
    settings: OperatorSettings, command: str, variables: list[dict[str, Any]]
) -> dict[str, Any]:
    """The container of a pod, without resources and mounts."""
    return {
        "name": "worker",
        "image": settings.worker_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["fpj-worker", command],
        "env": variables,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def worker_pod(settings: OperatorSettings, container: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that has no token and no volume."""
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _security(settings),
        "containers": [container],
    }
    if not settings.worker_host_users:
        pod["hostUsers"] = False
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return pod


def _security(settings: OperatorSettings) -> dict[str, Any]:
    """Of a pod: as the `restricted` level wants it.

    Without a user, the cluster or the image gives one.
    """
    user = settings.worker_user
    ids = {"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}
    kept = {"fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}}
    return {"runAsNonRoot": True} | ids | kept


def variables(settings: OperatorSettings, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The environment that every pod has, without credentials for buckets."""
    store: dict[str, Any] = {"name": "FPJ_STORE"}
    if settings.worker_store_url is not None:
        store["value"] = literal(settings.worker_store_url)
    else:
        store["valueFrom"] = {"secretKeyRef": {"name": settings.store_secret, "key": "url"}}
    return [
        store,
        {"name": "FPJ_TASK", "value": literal(json.dumps(task, separators=(",", ":")))},
        {"name": "FPJ_GRACE_SECONDS", "value": str(GRACE_SECONDS)},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *[
            {"name": name, "value": literal(value)}
            for name, value in sorted(settings.worker_env.items())
        ],
    ]


def literal(text: str) -> str:
    """A variable's value that is to arrive as it is: kubelets replace `$(NAME)`,
    and `$$` by a dollar sign.
    """
    return text.replace("$", "$$")


def credentials(prefix: str, place: S3 | None) -> list[dict[str, Any]]:
    """The variables of a bucket's keys."""
    if place is None or place.credentials_secret_name is None:
        return []
    return [
        {
            "name": prefix + key,
            "valueFrom": {"secretKeyRef": {"name": place.credentials_secret_name, "key": key}},
        }
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]


def folder_manifest(namespace: str, folder: CacheFolder) -> dict[str, Any]:
    """The folder as the pods get it."""
    spec = folder.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    metadata = {"name": folder.metadata.name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "CacheFolder", "metadata": metadata, "spec": spec}


def failure_policy(fenced: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Evictions cost no try. What no pod can do ends the Job; ``fenced`` is what a fenced pod ends.

    Kubernetes waits longer each time before it replaces a pod whose failure is ignored, too.
    """
    return {
        "rules": [
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            on_exit("FailJob", ExitCode.PERMANENT),
            on_exit(fenced, ExitCode.FENCED),
            *more,
        ]
    }


def on_exit(action: str, code: ExitCode) -> dict[str, Any]:
    """A rule of a Job's failure policy."""
    codes = {"containerName": "worker", "operator": "In", "values": [code.value]}
    return {"action": action, "onExitCodes": codes}


def owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    """Not blocking: what is deleted goes at once, and the garbage collector takes its children."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
