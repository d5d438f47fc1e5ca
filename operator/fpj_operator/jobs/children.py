"""The objects that a job owns: its index Job, its Indexed Jobs,
and the right of its workers to report. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpj_core.kube import names
from fpj_core.kube.exits import ExitCode
from fpj_core.kube.names import WAVE, lease_name
from fpj_core.v1alpha1 import API_VERSION, CacheFolder, resolve_sharding
from fpj_core.v1alpha1.common import PersistentVolumeClaim
from fpj_operator.jobs.state import Attempt, Observed
from fpj_operator.settings import OperatorSettings
from fpj_operator.workerpod import (
    CACHE,
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    credentials,
    failure_policy,
    folder_manifest,
    literal,
    on_exit,
    owner,
    variables,
    worker_container,
    worker_pod,
)

_CHILD_MEMORY = 256
"""MiB that one worker process is given by default: 160 at most for usual images,
and room for large ones.
"""
_SOURCE = "/source"


def index_job(
    observed: Observed, folder: CacheFolder, attempt: Attempt, settings: OperatorSettings
) -> dict[str, Any]:
    """The one-pod Job that lists the source and plans."""
    spec = {
        "backoffLimit": 3,
        "podFailurePolicy": failure_policy("FailJob", on_exit("Ignore", ExitCode.ENVIRONMENT)),
    }
    base = names.base_name(observed.key.name, observed.uid)
    name = names.index_job_name(base, attempt.number)
    return _job(
        observed,
        folder,
        attempt,
        settings,
        name=name,
        role=names.ROLE_INDEX,
        spec=spec,
        shards=None,
    )


def shards_job(
    observed: Observed,
    folder: CacheFolder,
    attempt: Attempt,
    settings: OperatorSettings,
    wave: int,
    total: int,
    *,
    failed: int = 0,
) -> dict[str, Any]:
    """The Indexed Job of wave ``wave`` (from 0) of ``total`` shards; ``failed`` shards of earlier
    waves failed.
    """
    first, last = wave * WAVE, min((wave + 1) * WAVE, total) - 1
    sharding = resolve_sharding(observed.understood.spec, 0)
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": last - first + 1,
        "parallelism": min(sharding.parallelism, last - first + 1),
        "backoffLimitPerIndex": sharding.backoff_limit_per_shard,
        "podFailurePolicy": failure_policy("FailIndex", on_exit("Ignore", ExitCode.ENVIRONMENT)),
    }
    if sharding.max_failed_shards is not None:
        spec["maxFailedIndexes"] = min(
            max(sharding.max_failed_shards - failed, 0), last - first + 1
        )
    base = names.base_name(observed.key.name, observed.uid)
    name = names.shards_job_name(base, attempt.number, wave)
    job = _job(
        observed,
        folder,
        attempt,
        settings,
        name=name,
        role=names.ROLE_SHARDS,
        spec=spec,
        shards=(first, last),
    )
    job["metadata"]["labels"][names.LABEL_WAVE] = str(wave)
    return job


RIGHTS = ("ServiceAccount", "Role", "RoleBinding")
"""Kinds of `reporting_rights`, in the order in which they are applied."""


def reporting_rights(observed: Observed) -> list[dict[str, Any]]:
    """ServiceAccount, Role and RoleBinding: a worker may patch the status of its own resource,
    and nothing else.
    """
    name = names.base_name(observed.key.name, observed.uid)
    metadata = {
        "name": name,
        "namespace": observed.key.namespace,
        "labels": names.MANAGED_BY | {names.LABEL_UID: observed.uid},
        "ownerReferences": [_owner(observed)],
    }
    rbac = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": [names.GROUP],
        "resources": [f"{names.JOBS}/status"],
        "resourceNames": [observed.key.name],
        "verbs": ["patch"],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [
                {"kind": "ServiceAccount", "name": name, "namespace": observed.key.namespace}
            ],
        },
    ]


def workers_report(observed: Observed, settings: OperatorSettings) -> bool:
    """Whether this job's workers report: not with an account of the user's own,
    whose rights are not ours to know.
    """
    template = observed.understood.spec.worker_template
    return settings.worker_reports and not (template and template.service_account_name)


# The Job ------------------------------------------------------------------------------------------


def _job(
    observed: Observed,
    folder: CacheFolder,
    attempt: Attempt,
    settings: OperatorSettings,
    *,
    name: str,
    role: str,
    spec: Mapping[str, Any],
    shards: tuple[int, int] | None,
) -> dict[str, Any]:
    labels = names.labels(observed.key.name, observed.uid, role, attempt.number)
    labels[names.LABEL_LOCK] = lease_name(collection_of(observed))
    queue = observed.understood.spec.queue_name
    pod = _pod(
        observed,
        folder,
        settings,
        role=role,
        task=_task(observed, folder, attempt, settings, shards),
    )
    template = template_of(observed)
    pod_labels = NO_SIDECAR_LABELS | dict(template.get("labels", {})) | labels
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": observed.key.namespace,
            "labels": labels | ({names.LABEL_QUEUE: queue} if queue else {}),
            "ownerReferences": [_owner(observed)],
        },
        "spec": {
            "ttlSecondsAfterFinished": settings.child_ttl_seconds,
            **({"suspend": True} if queue else {}),  # Kueue starts it when there is room
            **spec,
            "template": {
                "metadata": {
                    "labels": pod_labels,
                    "annotations": NO_SIDECAR_ANNOTATIONS | dict(template.get("annotations", {})),
                },
                "spec": pod,
            },
        },
    }


def _pod(
    observed: Observed,
    folder: CacheFolder,
    settings: OperatorSettings,
    *,
    role: str,
    task: Mapping[str, Any],
) -> dict[str, Any]:
    template = template_of(observed)
    reports = workers_report(observed, settings)
    account = template.get("serviceAccountName") or (
        names.base_name(observed.key.name, observed.uid) if reports else "default"
    )
    volumes, mounts = _storage(observed, folder)
    container = worker_container(
        settings,
        "index" if role == names.ROLE_INDEX else "shard",
        _environment(observed, folder, settings, task) + _own_variables(template),
    ) | {
        "resources": template.get("resources") or _resources(observed),
        "volumeMounts": [*mounts, *template.get("volumeMounts", [])],
    }
    pod = worker_pod(settings, container) | {
        "serviceAccountName": account,
        "automountServiceAccountToken": reports,
        "volumes": [*volumes, *template.get("volumes", [])],
    }
    for name in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "imagePullSecrets",
        "priorityClassName",
    ):
        if name in template:
            pod[name] = template[name]
    return pod


def _task(
    observed: Observed,
    folder: CacheFolder,
    attempt: Attempt,
    settings: OperatorSettings,
    shards: tuple[int, int] | None,
) -> dict[str, Any]:
    """What a pod must know; see `fpj_worker.pod`."""
    return {
        "job": manifest(observed),
        "folder": folder_manifest(observed.key.namespace, folder),
        "collection": collection_of(observed),
        "attempt": attempt.number,
        "fence": attempt.fence,
        "report": workers_report(observed, settings),
    } | ({"shards": f"{shards[0]}-{shards[1]}"} if shards else {})


def manifest(observed: Observed) -> dict[str, Any]:
    """The job as the store and the pods get it: no status, and of the metadata what names it, nor
    the worker template: it shapes the pods and is of no use in them, its variables may be
    secret, and they may take more room than one variable has.
    """
    spec = observed.understood.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"worker_template"}
    )
    metadata: dict[str, Any] = {
        "name": observed.key.name,
        "namespace": observed.key.namespace,
        "uid": observed.uid,
    }
    if observed.requester not in ("", observed.key.name):
        metadata["annotations"] = {names.REQUESTER_ANNOTATION: observed.requester}
    return {
        "apiVersion": API_VERSION,
        "kind": "FileProcessingJob",
        "metadata": metadata,
        "spec": spec,
    }


def collection_of(observed: Observed) -> str:
    """The collection's id in the store."""
    return names.store_collection(observed.key.namespace, observed.understood.collection_id)


def _environment(
    observed: Observed, folder: CacheFolder, settings: OperatorSettings, task: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
        *variables(settings, task),
        *credentials("FPJ_SOURCE_", observed.understood.spec.collection.source.s3),
        *credentials("FPJ_FOLDER_", folder.spec.storage.s3),
    ]


def _own_variables(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The job's own variables.

    Their values are taken literally: they must not show the value of one of ours.
    """
    return [
        each | ({"value": literal(each["value"])} if "value" in each else {})
        for each in template.get("env", ())
    ]


def _storage(
    observed: Observed, folder: CacheFolder
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and where they are mounted.

    A claim that is both source and cache folder is one volume, mounted twice.
    """
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    source = observed.understood.spec.collection.source.persistent_volume_claim
    cache = folder.spec.storage.persistent_volume_claim
    places: Sequence[tuple[str, str, PersistentVolumeClaim | None, bool]] = (
        ("source", _SOURCE, source, True),
        ("cache", CACHE, cache, False),
    )
    claims: dict[str, str] = {}
    for name, path, claim, read_only in places:
        if claim is None:
            continue
        if claim.claim_name not in claims:
            claims[claim.claim_name] = name
            volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim.claim_name}})
        mounts.append({"name": claims[claim.claim_name], "mountPath": path, "readOnly": read_only})
    return volumes, mounts


def _resources(observed: Observed) -> dict[str, Any]:
    workers = resolve_sharding(observed.understood.spec, 0).workers_per_pod
    memory = f"{128 + _CHILD_MEMORY * workers}Mi"
    return {
        "requests": {"cpu": f"{250 * workers}m", "memory": memory},
        "limits": {"memory": f"{(128 + _CHILD_MEMORY * workers) * 2}Mi"},
    }


def _owner(observed: Observed) -> dict[str, Any]:
    return owner("FileProcessingJob", observed.key.name, observed.uid)


def template_of(observed: Observed) -> dict[str, Any]:
    """The job's ``workerTemplate`` as a manifest has it; empty without one."""
    template = observed.understood.spec.worker_template
    return template.model_dump(mode="json", by_alias=True, exclude_none=True) if template else {}
