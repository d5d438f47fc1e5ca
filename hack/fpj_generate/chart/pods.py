"""Values of the long-running pods of the chart.

The operator's are at the top, the API's below ``api``.
"""

# ruff: noqa: RUF012 - pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from fpj_generate.chart.base import Free, FreeList, Name, OptionalName, Part, Strings


class PullSecret(Part):
    """A Secret of type `kubernetes.io/dockerconfigjson`."""

    name: Name
    """Its name."""


class Probe(Part):
    """How the kubelet probes."""

    initial_delay_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds before the first probe."""
    period_seconds: Annotated[int, Field(ge=1)] = 10
    """Seconds between probes."""
    timeout_seconds: Annotated[int, Field(ge=1)] = 5
    """Timeout of a probe in seconds."""
    failure_threshold: Annotated[int, Field(ge=1)] = 3
    """Consecutive failures before the probe counts as failed."""


class DisruptionBudget(Part):
    """Keeps some of the pods running while nodes are drained."""

    enabled: bool = True
    """Whether the PodDisruptionBudget is created.

    With one replica it is left out: it would block the node's drain.
    """
    max_unavailable: Annotated[int, Field(ge=1)] = 1
    """How many pods may be unavailable at a time."""


class ServiceAccount(Part):
    """An account of pods."""

    create: bool = True
    """Whether the chart creates it."""
    name: OptionalName = ""
    """Its name; if empty, the Deployment's name, or `default` if the chart does not create it."""
    annotations: Strings = {}
    """Annotations of the ServiceAccount, for example for a cloud provider's workload identity."""
    labels: Strings = {}
    """Additional labels of the ServiceAccount."""


def _say_whose(schema: dict[str, Any], model: type[Pods]) -> None:
    for field in schema["properties"].values():
        if "description" in field:
            field["description"] = field["description"].replace("WHOSE", model.whose)


class Pods(Part):
    """Values of any component's pods. `WHOSE` in the texts below becomes the component's name."""

    model_config = ConfigDict(json_schema_extra=_say_whose)
    whose: ClassVar[str] = "the component"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """Number of pods."""
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    """Keeps one of WHOSE's pods running while nodes are drained."""
    resources: Free = {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    """Resources of WHOSE's container."""
    liveness_probe: Probe = Probe()
    """When the kubelet restarts WHOSE."""
    readiness_probe: Probe = Probe(period_seconds=5)
    """When WHOSE counts as ready."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0)] = 20
    """Seconds that WHOSE has to shut down gracefully."""
    pod_security_context: Free = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    """Security context of WHOSE's pods.

    User and group are those of `user`, unless they are set here.
    """
    host_users: bool = True
    """Whether WHOSE's pods share the node's user ids. If not, the nodes must be able to map ids."""
    security_context: Free = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    """Security context of WHOSE's container."""
    node_selector: Strings = {}
    """Node selector of WHOSE."""
    tolerations: FreeList = []
    """Taints that WHOSE tolerates."""
    affinity: Free = {}
    """Affinity of WHOSE."""
    topology_spread_constraints: FreeList = []
    """How WHOSE's pods are spread; if empty, over nodes and zones, as far as possible."""
    priority_class_name: OptionalName = ""
    """Priority class of WHOSE."""
    pod_labels: Strings = {}
    """Additional labels of WHOSE's pods."""
    pod_annotations: Strings = {}
    """Annotations of WHOSE's pods."""
    deployment_annotations: Strings = {}
    """Annotations of WHOSE's Deployment."""
    env: FreeList = []
    """Additional environment variables of WHOSE."""
    env_from: FreeList = []
    """Sources of additional environment variables of WHOSE."""
    volumes: FreeList = []
    """Additional volumes of WHOSE's pods."""
    volume_mounts: FreeList = []
    """Volume mounts of WHOSE's container."""
