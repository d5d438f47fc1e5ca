"""Values of the pods that the chart runs for good. The operator's are at the top, the API's below ``api``."""

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
    """How the kubelet asks."""

    initial_delay_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds until it asks first."""
    period_seconds: Annotated[int, Field(ge=1)] = 10
    """Seconds from one question to the next."""
    timeout_seconds: Annotated[int, Field(ge=1)] = 5
    """Seconds that an answer may take."""
    failure_threshold: Annotated[int, Field(ge=1)] = 3
    """Consecutive failures before the probe counts as failed."""


class DisruptionBudget(Part):
    """Keeps some of the pods while nodes are drained."""

    enabled: bool = True
    """Whether it is made. It is left out with one replica, which it would nail to its node."""
    max_unavailable: Annotated[int, Field(ge=1)] = 1
    """How many may be away at a time."""


class ServiceAccount(Part):
    """An account of pods."""

    create: bool = True
    """Whether the chart makes it."""
    name: OptionalName = ""
    """Its name; that of the Deployment if empty, `default` if it is not made."""
    annotations: Strings = {}
    """Its annotations, as cloud providers want them."""
    labels: Strings = {}
    """Further labels of it."""


def _say_whose(schema: dict[str, Any], model: type[Pods]) -> None:
    for field in schema["properties"].values():
        if "description" in field:
            field["description"] = field["description"].replace("WHOSE", model.whose)


class Pods(Part):
    """What can be said of pods, of whichever component. `WHOSE` in the words below becomes the component's name."""

    model_config = ConfigDict(json_schema_extra=_say_whose)
    whose: ClassVar[str] = "the component"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """How many there are."""
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    """Keeps one of WHOSE's pods while nodes are drained."""
    resources: Free = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    """Of WHOSE's container."""
    liveness_probe: Probe = Probe()
    """When the kubelet restarts WHOSE."""
    readiness_probe: Probe = Probe(period_seconds=5)
    """When WHOSE counts as ready."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0)] = 20
    """What WHOSE has to end its work in order."""
    pod_security_context: Free = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    """Of WHOSE's pods. User and group are those of `user`, unless they are set here."""
    host_users: bool = True
    """Whether WHOSE's pods share the node's user ids. If not, the nodes must be able to map ids."""
    security_context: Free = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    """Of WHOSE's container."""
    node_selector: Strings = {}
    """Nodes for WHOSE."""
    tolerations: FreeList = []
    """Taints that WHOSE tolerates."""
    affinity: Free = {}
    """Affinity of WHOSE."""
    topology_spread_constraints: FreeList = []
    """How WHOSE's pods are spread; if empty over nodes and zones, as well as it goes."""
    priority_class_name: OptionalName = ""
    """Priority class of WHOSE."""
    pod_labels: Strings = {}
    """Further labels of WHOSE's pods."""
    pod_annotations: Strings = {}
    """Annotations of WHOSE's pods."""
    deployment_annotations: Strings = {}
    """Annotations of WHOSE's Deployment."""
    env: FreeList = []
    """Further environment variables of WHOSE."""
    env_from: FreeList = []
    """Sources of further environment variables of WHOSE."""
    volumes: FreeList = []
    """Further volumes of WHOSE's pods."""
    volume_mounts: FreeList = []
    """Where WHOSE's container has them."""
