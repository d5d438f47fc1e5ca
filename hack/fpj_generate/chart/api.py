"""Values below ``api``: the REST API and the dashboard, which are not installed unless somebody wants them."""

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
    """Its port."""
    labels: Strings = {}
    """Further labels of it."""
    annotations: Strings = {}
    """Its annotations."""


class ApiIngress(Part):
    """An Ingress. The stream of jobs stays open: a proxy must neither buffer it nor end it within 15 seconds."""

    enabled: bool = False
    """Whether it is made."""
    class_name: OptionalName = ""
    """Its class; the cluster's default if empty."""
    hosts: list[Hostname] = []
    """Names under which the API is reached; at least one. It is at the path `/` of each."""
    tls: FreeList = []
    """`tls` of the Ingress: `hosts` and `secretName` of a certificate. Without it tokens travel in the clear."""
    labels: Strings = {}
    """Further labels of it."""
    annotations: Strings = {}
    """Its annotations, such as those of cert-manager and of the controller."""


class ApiHttpRoute(Part):
    """An HTTPRoute of the Gateway API."""

    enabled: bool = False
    """Whether it is made; its kind must be known to the cluster."""
    parent_refs: FreeList = []
    """Gateways that it belongs to (name, namespace, sectionName); at least one."""
    hostnames: list[Hostname] = []
    """Names under which the API is reached; all of the Gateway's if empty."""
    labels: Strings = {}
    """Further labels of it."""
    annotations: Strings = {}
    """Its annotations."""


class ApiNetworkPolicy(Part):
    """The API's part of `networkPolicy`, which switches it on."""

    from_: FreeList = Field(
        default=[{"namespaceSelector": {}}],
        alias="from",
        description="`from` of the rule for the API's port: the pods of any namespace, and, as everywhere, the node's "
        "own kubelet. A controller in the network of its node needs an `ipBlock`. Anywhere if empty.",
    )


class ApiItself(Part):
    """What there is to say of the API alone."""

    enabled: bool = False
    """Whether they are installed, with an account and rights of their own."""
    audiences: list[Audience] = []
    """Audiences of which a token must have one; those of the cluster's API server if empty."""
    jwt_only: bool = False
    """Whether only tokens in the form of a JWT are accepted: those of service accounts and OpenID Connect are. Set it
    where the cluster has no authenticator with tokens of another form."""
    trusted_proxies: list[Address] = []
    """Addresses and networks (CIDR) of the ingress controller or proxy in front, whose `X-Forwarded-For` is believed.
    Without it all who come through one share its limits, such as that of invalid tokens."""
    max_streams: Annotated[int, Field(ge=1)] = 200
    """Streams of jobs that one pod keeps open at a time, a browser's page each."""
    review_seconds: Annotated[float, Field(ge=1)] = 10.0
    """How long the cluster's answers about a token and its rights are cached."""
    image_pull_secrets: list[PullSecret] = []
    """By which the API's pods pull the image; the operator's if empty."""
    service_account: ServiceAccount = ServiceAccount()
    """The API's account."""
    service: ApiService = ApiService()
    """The Service in front of the API, of type `ClusterIP`."""
    ingress: ApiIngress = ApiIngress()
    """An Ingress. The stream of jobs stays open: a proxy must neither buffer it nor end it within 15 seconds."""
    http_route: ApiHttpRoute = ApiHttpRoute()
    """An HTTPRoute of the Gateway API."""
    network_policy: ApiNetworkPolicy = ApiNetworkPolicy()
    """The API's part of `networkPolicy`, which switches it on."""


class Api(Pods, ApiItself):
    """The REST API and the dashboard."""

    whose: ClassVar[str] = "the API"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """How many serve at a time."""
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    """Keeps one of them while nodes are drained."""
    resources: Free = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    """Of the API's container."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0)] = 30
    """What the API has to answer what it was asked, and to end its streams."""
