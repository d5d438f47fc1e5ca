"""The Job of a run: one pod, which checks the cache folder and evicts. Pure."""

from __future__ import annotations

from typing import Any

from fpj_core.kube import names
from fpj_core.v1alpha1 import CacheFolder
from fpj_operator.folders.state import FolderView
from fpj_operator.settings import OperatorSettings
from fpj_operator.workerpod import (
    CACHE,
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    credentials,
    failure_policy,
    folder_manifest,
    owner,
    variables,
    worker_container,
    worker_pod,
)

_TRIES = 3
_DEADLINE_SECONDS = 21_600
"""Ten million files at 500 a second."""
_RESOURCES = {
    "requests": {"cpu": "250m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def run_job(
    view: FolderView, folder: CacheFolder, number: int, settings: OperatorSettings
) -> dict[str, Any]:
    """The Job of the folder's run of that number."""
    namespace, name = view.key.namespace, view.key.name
    labels = names.labels(name, view.uid, names.ROLE_EVICT, number)
    storage = folder.spec.storage
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    if (claim := storage.persistent_volume_claim) is not None:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": claim.claim_name}})
        mounts.append({"name": "cache", "mountPath": CACHE})
    environment = [
        *variables(settings, {"folder": folder_manifest(namespace, folder)}),
        *credentials("FPJ_FOLDER_", storage.s3),
    ]
    container = worker_container(settings, "evict", environment) | {
        "resources": _RESOURCES,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.evict_job_name(names.base_name(name, view.uid), number),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner("CacheFolder", name, view.uid)],
        },
        "spec": {
            "ttlSecondsAfterFinished": settings.child_ttl_seconds,
            "backoffLimit": _TRIES - 1,
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "podFailurePolicy": failure_policy("FailJob"),
            "template": {
                "metadata": {
                    "labels": NO_SIDECAR_LABELS | labels,
                    "annotations": NO_SIDECAR_ANNOTATIONS,
                },
                "spec": worker_pod(settings, container) | {"volumes": volumes},
            },
        },
    }
