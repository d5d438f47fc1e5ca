"""The Job of a run: one pod, which checks the cache folder, and evicts or compares. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpj_core.kube import names
from fpj_core.v1alpha1 import CacheFolder
from fpj_core.v1alpha1.cachefolderstatus import Operation
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


def operation_of(run: Mapping[str, Any]) -> Operation:
    """What a run is for, as the status has it; another version's are unknown, and evict."""
    said = run.get("operation")
    return Operation(said) if said in list(Operation) else Operation.EVICT


def run_name(folder: str, uid: str, run: Mapping[str, Any]) -> str:
    """The name of a run's Job."""
    base = names.base_name(folder, uid)
    return names.folder_job_name(base, operation_of(run).value, int(run.get("number") or 0))


def _work(operation: Operation) -> tuple[str, dict[str, Any]]:
    """The pod's command, and what its task says beside the folder."""
    if operation is Operation.EVICT:
        return "evict", {}
    return "verify", {"repair": operation is Operation.REPAIR}


def run_job(
    view: FolderView,
    folder: CacheFolder,
    run: Mapping[str, Any],
    settings: OperatorSettings,
) -> dict[str, Any]:
    """The Job of a run, as the status has it."""
    number, operation = int(run["number"]), operation_of(run)
    command, task = _work(operation)
    namespace, name = view.key.namespace, view.key.name
    labels = names.labels(name, view.uid, names.ROLE_EVICT, number)
    storage = folder.spec.storage
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    if (claim := storage.persistent_volume_claim) is not None:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": claim.claim_name}})
        mounts.append({"name": "cache", "mountPath": CACHE})
    environment = [
        *variables(settings, {"folder": folder_manifest(namespace, folder)} | task),
        *credentials("FPJ_FOLDER_", storage.s3),
    ]
    container = worker_container(settings, command, environment) | {
        "resources": _RESOURCES,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": run_name(name, view.uid, run),
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
