"""The Job of a purge: one pod, which removes what it names and tells the folder's webhook. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fpj_core.kube import names
from fpj_core.v1alpha1 import CacheFolder
from fpj_operator.purges.state import PurgeView
from fpj_operator.settings import OperatorSettings
from fpj_operator.workerpod import (
    CACHE,
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    credentials,
    failure_policy,
    folder_manifest,
    literal,
    owner,
    variables,
    worker_container,
    worker_pod,
)

_TRIES = 3
_DEADLINE_SECONDS = 21_600
_MOST_PART = 96 * 1024
"""Bytes of a variable; a kernel takes 128 KiB."""
_RESOURCES = {
    "requests": {"cpu": "250m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}
TOKEN = "FPJ_WEBHOOK_TOKEN"  # noqa: S105 - a name


def job_name(view: PurgeView) -> str:
    """The name of a purge's Job."""
    return names.purge_job_name(names.base_name(view.key.name, view.uid))


def purge_job(
    view: PurgeView, folder: CacheFolder, images: Sequence[str] | None, settings: OperatorSettings
) -> dict[str, Any]:
    """The Job; ``images`` are keys, None is all of the collection."""
    namespace, name = view.key.namespace, view.key.name
    labels = names.labels(name, view.uid, names.ROLE_PURGE, 1)
    storage = folder.spec.storage
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    if (claim := storage.persistent_volume_claim) is not None:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": claim.claim_name}})
        mounts.append({"name": "cache", "mountPath": CACHE})
    parts = None if images is None else list(_parts(images))
    task = {
        "folder": folder_manifest(namespace, folder),
        "collection": view.collection,
        "parts": None if parts is None else len(parts),
    }
    environment = [
        *variables(settings, task),
        *credentials("FPJ_FOLDER_", storage.s3),
        *[
            {"name": names.images_variable(number), "value": literal(part)}
            for number, part in enumerate(parts or ())
        ],
        *_token(folder),
    ]
    container = worker_container(settings, "purge", environment) | {
        "resources": _RESOURCES,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(view),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner("CachePurge", name, view.uid)],
        },
        "spec": {
            "ttlSecondsAfterFinished": settings.child_ttl_seconds,
            "backoffLimit": _TRIES - 1,
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "podFailurePolicy": failure_policy("Count"),
            "template": {
                "metadata": {
                    "labels": NO_SIDECAR_LABELS | labels,
                    "annotations": NO_SIDECAR_ANNOTATIONS,
                },
                "spec": worker_pod(settings, container) | {"volumes": volumes},
            },
        },
    }


def _parts(images: Sequence[str]) -> Iterator[str]:
    """JSON lists of all the keys."""
    some: list[str] = []
    size = 2
    for each in images:
        its = len(json.dumps(each, ensure_ascii=False).encode()) + 2
        if some and size + its > _MOST_PART:
            yield json.dumps(some, ensure_ascii=False)
            some, size = [], 2
        some.append(each)
        size += its
    yield json.dumps(some, ensure_ascii=False)


def _token(folder: CacheFolder) -> list[dict[str, Any]]:
    """Optional: without its Secret the webhook fails, and not the purge."""
    hook = folder.spec.purge_webhook
    if hook is None or hook.secret_ref is None:
        return []
    reference = {"name": hook.secret_ref.name, "key": hook.secret_ref.key, "optional": True}
    return [{"name": TOKEN, "valueFrom": {"secretKeyRef": reference}}]
