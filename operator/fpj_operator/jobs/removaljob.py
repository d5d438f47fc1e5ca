"""The one-pod Job that removes the files of a job that is being deleted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fpj_core.kube import names
from fpj_core.kube.exits import ExitCode
from fpj_core.kube.names import lease_name
from fpj_core.v1alpha1 import API_VERSION, CacheFolder, FileProcessingJob
from fpj_operator.settings import OperatorSettings
from fpj_operator.workerpod import (
    CACHE,
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    credentials,
    failure_policy,
    folder_manifest,
    on_exit,
    owner,
    variables,
    worker_container,
    worker_pod,
)

_LONGEST_SECONDS = 3_600
"""A pod that hangs is replaced; one that has much to do is gone on with."""
_TRIES = 3
_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}
_FROM_TEMPLATE = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "imagePullSecrets",
    "priorityClassName",
)
"""Of the job's ``workerTemplate``: where its pods may run, and how their image is pulled."""


def removal_job(
    job: FileProcessingJob,
    folder: CacheFolder,
    fence: int,
    attempt: int,
    keep: Sequence[str],
    settings: OperatorSettings,
    requester: str = "",
) -> dict[str, Any]:
    """See `fpj_worker.pod.remove`. The source is not mounted: it may be gone already.

    ``requester`` is in whose name the job asked for its tiers, where that is not its own.
    """
    namespace, uid = job.metadata.namespace or "", job.metadata.uid or ""
    collection = names.store_collection(namespace, job.collection_id)
    labels = names.labels(job.metadata.name, uid, names.ROLE_REMOVAL, attempt)
    labels[names.LABEL_LOCK] = lease_name(collection)
    task = {
        "job": _manifest(job, requester),
        "folder": folder_manifest(namespace, folder),
        "collection": collection,
        "attempt": attempt,
        "fence": fence,
        "keep": list(keep),
    }
    base = names.base_name(job.metadata.name, uid)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.removal_job_name(base, fence, folder.metadata.name),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner("FileProcessingJob", job.metadata.name, uid)],
        },
        "spec": {
            "ttlSecondsAfterFinished": settings.child_ttl_seconds,
            "backoffLimit": _TRIES,
            "activeDeadlineSeconds": _LONGEST_SECONDS,
            "podFailurePolicy": failure_policy("FailJob", on_exit("FailJob", ExitCode.ENVIRONMENT)),
            "template": {
                "metadata": {
                    "labels": NO_SIDECAR_LABELS | labels,
                    "annotations": NO_SIDECAR_ANNOTATIONS,
                },
                "spec": _pod(job, folder, task, settings),
            },
        },
    }


def _pod(
    job: FileProcessingJob, folder: CacheFolder, task: dict[str, Any], settings: OperatorSettings
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    if (claim := folder.spec.storage.persistent_volume_claim) is not None:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": claim.claim_name}})
        mounts.append({"name": "cache", "mountPath": CACHE})
    environment = [
        *variables(settings, task),
        *credentials("FPJ_FOLDER_", folder.spec.storage.s3),
    ]
    container = worker_container(settings, "remove", environment) | {
        "resources": _RESOURCES,
        "volumeMounts": mounts,
    }
    template = job.spec.worker_template
    given = template.model_dump(mode="json", by_alias=True, exclude_none=True) if template else {}
    return (
        worker_pod(settings, container)
        | {"volumes": volumes}
        | {name: given[name] for name in _FROM_TEMPLATE if name in given}
    )


def _manifest(job: FileProcessingJob, requester: str) -> dict[str, Any]:
    """The job as the pod gets it; see `fpj_operator.jobs.children.manifest`."""
    spec = job.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"worker_template"}
    )
    metadata = {name: getattr(job.metadata, name) for name in ("name", "namespace", "uid")}
    if requester:
        metadata["annotations"] = {names.REQUESTER_ANNOTATION: requester}
    return {
        "apiVersion": API_VERSION,
        "kind": "FileProcessingJob",
        "metadata": metadata,
        "spec": spec,
    }
