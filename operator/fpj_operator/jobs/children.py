"""The objects that a job owns: its index Job, its Indexed Jobs,
and the right of its workers to report. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fpj_core.kube import names
from fpj_core.kube.exits import ExitCode
from fpj_core.kube.names import WAVE, lease_name
from fpj_core.v1alpha1 import API_VERSION, CacheFolder, resolve_sharding
from fpj_core.v1alpha1.common import S3, PersistentVolumeClaim
from fpj_operator.jobs.state import Attempt, Observed
from fpj_operator.settings import OperatorSettings

_GRACE_SECONDS = 30
_NO_SIDECAR_LABELS = {"sidecar.istio.io/inject": "false"}
_NO_SIDECAR_ANNOTATIONS = {"linkerd.io/inject": "disabled"}
"""Service meshes leave our pods alone: a container that they add would never end,
and neither would the pod.
"""
_CHILD_MEMORY = 256
"""MiB that one worker process is given by default: 160 at most for usual images,
and room for large ones.
"""
_SOURCE, _CACHE = "/source", "/cache"


def index_job(
    observed: Observed, folder: CacheFolder, attempt: Attempt, settings: OperatorSettings
) -> dict[str, Any]:
    """The one-pod Job that lists the source and plans."""
    spec = {
        "backoffLimit": 3,
        "podFailurePolicy": _failure_policy("FailJob", _on_exit("Ignore", ExitCode.ENVIRONMENT)),
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
        "podFailurePolicy": _failure_policy("FailIndex", _on_exit("Ignore", ExitCode.ENVIRONMENT)),
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
    pod_labels = _NO_SIDECAR_LABELS | dict(template.get("labels", {})) | labels
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
                    "annotations": _NO_SIDECAR_ANNOTATIONS | dict(template.get("annotations", {})),
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
    container: dict[str, Any] = {
        "name": "worker",
        "image": settings.worker_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["fpj-worker", "index" if role == names.ROLE_INDEX else "shard"],
        "env": _environment(observed, folder, settings, task) + _own_variables(template),
        "resources": template.get("resources") or _resources(observed),
        "volumeMounts": [*mounts, *template.get("volumeMounts", [])],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "automountServiceAccountToken": reports,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": _security(settings),
        "containers": [container],
        "volumes": [*volumes, *template.get("volumes", [])],
    }
    if not settings.worker_host_users:
        pod["hostUsers"] = False
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
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


def _security(settings: OperatorSettings) -> dict[str, Any]:
    """Of a pod: as the `restricted` level wants it.

    Without a user, the cluster or the image gives one.
    """
    user = settings.worker_user
    ids = {"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}
    kept = {"fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}}
    return {"runAsNonRoot": True} | ids | kept


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
        "folder": _folder_manifest(observed, folder),
        "collection": collection_of(observed),
        "attempt": attempt.number,
        "fence": attempt.fence,
        "report": workers_report(observed, settings),
    } | ({"shards": f"{shards[0]}-{shards[1]}"} if shards else {})


def _folder_manifest(observed: Observed, folder: CacheFolder) -> dict[str, Any]:
    """The folder as the pods get it."""
    spec = folder.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    metadata = {"name": folder.metadata.name, "namespace": observed.key.namespace}
    return {"apiVersion": API_VERSION, "kind": "CacheFolder", "metadata": metadata, "spec": spec}


def manifest(observed: Observed) -> dict[str, Any]:
    """The job as the store and the pods get it: no status, and of the metadata what names it, nor
    the worker template: it shapes the pods and is of no use in them, its variables may be
    secret, and they may take more room than one variable has.
    """
    spec = observed.understood.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"worker_template"}
    )
    metadata = {"name": observed.key.name, "namespace": observed.key.namespace, "uid": observed.uid}
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
    source = observed.understood.spec.collection.source
    store: dict[str, Any] = {"name": "FPJ_STORE"}
    if settings.worker_store_url is not None:
        store["value"] = _literal(settings.worker_store_url)
    else:
        store["valueFrom"] = {"secretKeyRef": {"name": settings.store_secret, "key": "url"}}
    return [
        store,
        {"name": "FPJ_TASK", "value": _literal(json.dumps(task, separators=(",", ":")))},
        {"name": "FPJ_GRACE_SECONDS", "value": str(_GRACE_SECONDS)},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *[
            {"name": name, "value": _literal(value)}
            for name, value in sorted(settings.worker_env.items())
        ],
        *_credentials("FPJ_SOURCE_", source.s3),
        *_credentials("FPJ_FOLDER_", folder.spec.storage.s3),
    ]


def _own_variables(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The job's own variables.

    Their values are taken literally: they must not show the value of one of ours.
    """
    return [
        each | ({"value": _literal(each["value"])} if "value" in each else {})
        for each in template.get("env", ())
    ]


def _literal(text: str) -> str:
    """A variable's value that is to arrive as it is: kubelets replace `$(NAME)`,
    and `$$` by a dollar sign.
    """
    return text.replace("$", "$$")


def _credentials(prefix: str, place: S3 | None) -> list[dict[str, Any]]:
    if place is None or place.credentials_secret_name is None:
        return []
    return [
        {
            "name": prefix + key,
            "valueFrom": {"secretKeyRef": {"name": place.credentials_secret_name, "key": key}},
        }
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
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
        ("cache", _CACHE, cache, False),
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


def _failure_policy(fenced: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Evictions cost no try. What no pod can do ends the Job; ``fenced`` is what a fenced pod ends.

    Kubernetes waits longer each time before it replaces a pod whose failure is ignored, too.
    """
    return {
        "rules": [
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            _on_exit("FailJob", ExitCode.PERMANENT),
            _on_exit(fenced, ExitCode.FENCED),
            *more,
        ]
    }


def _on_exit(action: str, code: ExitCode) -> dict[str, Any]:
    codes = {"containerName": "worker", "operator": "In", "values": [code.value]}
    return {"action": action, "onExitCodes": codes}


def _owner(observed: Observed) -> dict[str, Any]:
    """Not blocking: a deleted job goes at once, and the garbage collector takes its children."""
    return {
        "apiVersion": API_VERSION,
        "kind": "FileProcessingJob",
        "name": observed.key.name,
        "uid": observed.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def template_of(observed: Observed) -> dict[str, Any]:
    """The job's ``workerTemplate`` as a manifest has it; empty without one."""
    template = observed.understood.spec.worker_template
    return template.model_dump(mode="json", by_alias=True, exclude_none=True) if template else {}
