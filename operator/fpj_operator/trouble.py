"""Why the pods of a child Job do not work, or did not: in one word and one sentence."""

from __future__ import annotations

import time
from typing import Any

from fpj_core.cluster import Cluster, Document
from fpj_core.exits import parse_termination_message
from fpj_operator.conditions import seconds_of

_PATIENCE_SECONDS = 5.0
WAITING = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "PodConfigInvalid",
    "CreateContainerError": "PodConfigInvalid",
    "RunContainerError": "PodConfigInvalid",
}
"""Kubernetes' reasons why a container waits, to ours."""
_MOST = 300

WAITS_FOR_OTHERS = frozenset({"HeldByQueue", "PodsUnschedulable", "PodsForbidden"})
"""Reasons that a queue, an autoscaler or a quota must end: making new pods would only wait anew."""


async def trouble_of(cluster: Cluster, job: Document, *, failed: bool) -> tuple[str, str] | None:
    """(reason, message), or None for a Job that has pods at work. Looks at its pods only where something is amiss."""
    status = job.get("status", {})
    done = any(each["type"] == "Complete" and each["status"] == "True" for each in status.get("conditions", []))
    if done or (not failed and status.get("ready", 0)):
        return None
    if not failed and job["spec"].get("suspend"):
        return "HeldByQueue", "the child Job is suspended: its queue has not admitted it yet"
    age = time.time() - seconds_of(job["metadata"].get("creationTimestamp"))
    if not failed and age < _PATIENCE_SECONDS:
        return None
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    pods = await cluster.list("Pod", namespace, labels=f"batch.kubernetes.io/job-name={name}")
    if found := _of_pods(pods):
        return found
    if not failed:
        return await _cannot_create(cluster, job) if not pods else None
    said = [each for each in status.get("conditions", []) if each["type"] in ("Failed", "FailureTarget")]
    words = f"{said[0].get('reason')}: {said[0].get('message')}" if said else "the child Job failed"
    return "JobFailed", words[:_MOST]


def _of_pods(pods: list[Document]) -> tuple[str, str] | None:
    """The newest pod has the word: what went wrong before may have healed."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp")), reverse=True):
        status = pod.get("status", {})
        for container in status.get("containerStatuses", []):
            if found := _of_container(container.get("state", {})):
                return found
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return "PodsUnschedulable", str(condition.get("message", ""))[:_MOST]
    return None


def _of_container(state: dict[str, Any]) -> tuple[str, str] | None:
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") in WAITING:
        return WAITING[waiting["reason"]], str(waiting.get("message") or waiting["reason"])[:_MOST]
    if not terminated or terminated.get("exitCode") == 0:
        return None
    if said := parse_termination_message(terminated.get("message") or ""):
        return said[0].value, said[1][:_MOST]
    reason = "OutOfMemory" if terminated.get("reason") == "OOMKilled" else "WorkerFailed"
    return reason, f"a worker ended with {terminated.get('reason')} (exit code {terminated.get('exitCode')})"


async def _cannot_create(cluster: Cluster, job: Document) -> tuple[str, str] | None:
    """What the Job controller says when it may make no pods: a quota, or a policy."""
    uid = job["metadata"]["uid"]
    events = await cluster.list("Event", job["metadata"]["namespace"], fields=f"involvedObject.uid={uid}")
    said = [event for event in events if event.get("reason") == "FailedCreate"]
    return ("PodsForbidden", str(said[-1].get("message", ""))[:_MOST]) if said else None
