"""Values below ``api``: the REST API and the dashboard, which are not installed by default."""

# ruff: noqa: RUF012 - pydantic copies defaults

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from fpj_generate.chart.base import Free, FreeList, Hostname, OptionalName, Part, Port, Strings
from fpj_generate.chart.pods import DisruptionBudget, Pods, PullSecret, ServiceAccount

Address = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$")]
Audience = Annotated[str, StringConstraints(pattern=r"^[^,\s]+$")]


class ApiService(Part):
    """The Service in front of the API, of type `ClusterIP`."""

    port: Port = 80
    """Port of the Service."""
    labels: Strings = {}
    """Additional labels of the Service."""
    annotations: Strings = {}
    """Annotations of the Service."""


class ApiIngress(Part):
    """An Ingress.

    The stream of jobs stays open: a proxy must neither buffer it nor end it within 15 seconds.
    """

    enabled: bool = False
    """Whether it is created."""
    class_name: OptionalName = ""
    """IngressClass; the cluster's default if empty."""
    hosts: list[Hostname] = []
    """Hostnames of the API; at least one. The API is served at the path `/` of each."""
    tls: FreeList = []
    """`tls` of the Ingress: `hosts` and `secretName` of a certificate.

    Without it tokens are sent unencrypted.
    """
    labels: Strings = {}
    """Additional labels of the Ingress."""
    annotations: Strings = {}
    """Annotations of the Ingress, such as those for cert-manager and the ingress controller."""


class ApiHttpRoute(Part):
    """An HTTPRoute of the Gateway API."""

    enabled: bool = False
    """Whether it is created; the cluster must have its CustomResourceDefinition."""
    parent_refs: FreeList = []
    """Gateways that it attaches to (name, namespace, sectionName); at least one."""
    hostnames: list[Hostname] = []
    """Hostnames of the API; all of the Gateway's if empty."""
    labels: Strings = {}
    """Additional labels of the HTTPRoute."""
    annotations: Strings = {}
    """Annotations of the HTTPRoute."""


class ApiNetworkPolicy(Part):
    """The API's part of `networkPolicy`; applies only if that is enabled."""

    from_: FreeList = Field(
        default=[{"namespaceSelector": {}}],
        alias="from",
        description=(
            "`from` of the rule for the API's port; by default the pods of all namespaces. The"
            " node's own kubelet is always allowed. An ingress controller in the host network needs"
            " an `ipBlock`. Anywhere if empty."
        ),
    )


class ApiItself(Part):
    """Values that only the API has."""

    enabled: bool = False
    """Whether API and dashboard are installed, with their own ServiceAccount and roles."""
    audiences: list[Audience] = []
    """Accepted audiences of tokens; those of the cluster's API server if empty."""
    jwt_only: bool = False
    """Whether only JWTs are accepted as tokens, such as those of service accounts and OpenID
    Connect. Set it if no authenticator of the cluster uses other tokens.
    """
    trusted_proxies: list[Address] = []
    """Addresses and networks (CIDR) of the ingress controller or proxy in front, whose
    `X-Forwarded-For` is trusted. Without it all clients behind a proxy share its limits, such as
    that of invalid tokens.
    """
    max_streams: Annotated[int, Field(ge=1)] = 200
    """Streams of jobs that one pod keeps open at a time; each open browser page uses one."""
    review_seconds: Annotated[float, Field(ge=1)] = 10.0
    """How long the cluster's answers about a token and its rights are cached."""
    image_pull_secrets: list[PullSecret] = []
    """Secrets with which the API's pods pull the image; the operator's if empty."""
    service_account: ServiceAccount = ServiceAccount()
    """The API's ServiceAccount."""
    service: ApiService = ApiService()
    """The Service in front of the API, of type `ClusterIP`."""
    ingress: ApiIngress = ApiIngress()
    """An Ingress.

    The stream of jobs stays open: a proxy must neither buffer it nor end it within 15 seconds.
    """
    http_route: ApiHttpRoute = ApiHttpRoute()
    """An HTTPRoute of the Gateway API."""
    network_policy: ApiNetworkPolicy = ApiNetworkPolicy()
    """The API's part of `networkPolicy`; applies only if that is enabled."""


class Api(Pods, ApiItself):
    """The REST API and the dashboard."""

    whose: ClassVar[str] = "the API"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """Number of API pods."""
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    """Keeps one of the API's pods running while nodes are drained."""
    resources: Free = {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    """Resources of the API's container."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0)] = 30
    """Seconds that the API has to answer open requests and to close its streams."""
