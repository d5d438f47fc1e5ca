"""Why pods do not work, in words from closed sets."""

from __future__ import annotations

WAITS_FOR_OTHERS = frozenset(
    {"HeldByQueue", "PodsUnschedulable", "PodsNotScheduled", "PodsForbidden"}
)
"""Reasons that a queue, an autoscaler, a scheduler or a quota must end:
new pods would only wait again.
"""
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
REPORTED = {
    "FailedMount": "MountFailed",
    "FailedAttachVolume": "MountFailed",
    "FailedMapVolume": "MountFailed",
    "FailedCreatePodSandBox": "PodSandboxFailed",
    "NetworkNotReady": "PodSandboxFailed",
}
"""Reasons of events about a pod that does not start, to ours."""
CANNOT_RUN = WAITS_FOR_OTHERS | {"PodsNotStarted", *WAITING.values(), *REPORTED.values()}
"""Reasons under which no pod of a job runs.

The job holds no slot, and ``preRunningDeadlineSeconds`` bounds it.
"""
REASONS = frozenset(
    {
        "HeldByQueue",
        "PodsUnschedulable",
        "PodsNotScheduled",
        "PodsForbidden",
        "PodsNotStarted",
        "JobFailed",
    }
    | {
        "SidecarPreventsCompletion",
        "NodeUnreachable",
        "OutOfMemory",
        "EphemeralStorageExceeded",
        "WorkerFailed",
    }
    | {*WAITING.values(), *REPORTED.values()}
)
"""All that are given here, beside those that a pod gives itself (`fpj_core.kube.exits.Reason`)."""
