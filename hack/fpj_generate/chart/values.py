"""The chart's values: their names, types, bounds, defaults and what they mean.

The one source of the three files.

What Kubernetes itself defines (affinities, volumes and so on) is passed through: the API server
checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

import fpj_core
from fpj_generate.chart.api import Api
from fpj_generate.chart.base import (
    Free,
    FreeList,
    Name,
    Namespace,
    OptionalName,
    Part,
    Port,
    Strings,
)
from fpj_generate.chart.pods import Pods, PullSecret, ServiceAccount
from fpj_generate.chart.settings import settings_model

_Fullname = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=52)
]
_Digest = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64})?$")]
_Uri = Annotated[str, StringConstraints(pattern=r"^(mongodb(\+srv)?://.+)?$")]
_Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|s|m|h))+$")]

RUNBOOKS = "https://fpj.dev/docs/runbooks/alerts"
"""Where `files/alerts.yaml` says that the runbooks are."""


class Image(Part):
    """The one image of operator, API and workers."""

    repository: Annotated[str, StringConstraints(min_length=1)] = "fpj"
    """Its repository. No public registry serves the image yet: build it and push it to your own."""
    tag: str = ""
    """Its tag; the chart's `appVersion` if empty."""
    digest: _Digest = ""
    """`sha256:…`, instead of a tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of all pods."""


class MongoDB(Part):
    """Where results are recorded. fpj brings no database: give `uri` or `existingSecret`."""

    uri: _Uri = ""
    """`mongodb://USER:PASSWORD@HOST/DATABASE`.

    The chart creates a Secret from it, with the name in `workerSecret`, for the operator and for
    jobs in the release's namespace.
    """
    existing_secret: OptionalName = ""
    """A Secret in the release's namespace that holds the URI, instead of `uri`."""
    existing_secret_key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$")] = "url"
    """The key of the URI in that Secret."""
    worker_secret: Name = "fpj-store"
    """Secret with the key `url` that worker pods read, in each namespace with jobs."""
    worker_namespaces: list[Namespace] = []
    """Additional namespaces in which the chart creates that Secret from `uri`. They must exist."""


class Crds(Part):
    """The CustomResourceDefinitions of FileProcessingJob and CacheFolder."""

    enabled: bool = True
    """Whether the release installs and upgrades them."""
    keep: bool = True
    """Whether they, and with them all jobs and cache folders,
    are kept when the release is uninstalled. If not, jobs are stopped and deleted first.
    """


class Rbac(Part):
    """Role-based access control."""

    create: bool = True
    """Whether the chart creates the roles of operator and API.

    If not, create what `helm template` shows with true.
    """
    aggregate: bool = True
    """Whether the chart creates the ClusterRoles `fpj-view`, `fpj-cache-manager` and `fpj-admin`,
    which Kubernetes adds to `view`, `edit` and `admin`.
    """


class AdmissionPolicies(Part):
    """Rules that the API server itself enforces, by ValidatingAdmissionPolicies.

    Cluster-wide objects.
    """

    worker_templates: bool = True
    """Whether the API server refuses jobs and schedules whose `workerTemplate` has something that
    `settings.template…` does not allow. Without the policy the operator fails such jobs itself
    (`PolicyForbidden`).
    """
    worker_reports: bool = True
    """Whether the tokens of workers are limited to reporting the progress of their own,
    unfinished job.
    """


class Workers(Part):
    """Worker pods, which the operator creates. A job's `workerTemplate` can set more."""

    image_pull_secrets: list[PullSecret] = []
    """Secrets in the jobs' namespaces with which worker pods pull the image."""
    env: Strings = {}
    """Additional environment variables of worker pods."""


class NetworkPolicy(Part):
    """Denies all traffic of operator, API and worker pods except what they need."""

    enabled: bool = False
    """Whether NetworkPolicies are created, in the release's namespace and in `watchNamespaces`.

    They take effect only where the cluster's network plugin supports them.
    """
    api_server_ports: list[Port] = [443, 6443]
    """Ports of the API server."""
    mongodb_ports: list[Port] = [27017]
    """Ports of MongoDB."""
    mongodb_peers: FreeList = []
    """`to` of the rule for MongoDB (podSelector, namespaceSelector, ipBlock); anywhere if empty."""
    storage_ports: list[Port] = [443]
    """Ports of S3-compatible storage, for the workers."""
    metrics_from: FreeList = []
    """`from` of the rule for the metrics port; anywhere if empty."""
    extra_egress: FreeList = []
    """Additional egress rules for operator and workers."""


class ServiceMonitor(Part):
    """For Prometheus operators that follow Services."""

    enabled: bool = False
    """Whether it is created; the cluster must have its CustomResourceDefinition."""
    interval: _Duration = "30s"
    """Time between two scrapes."""
    scrape_timeout: _Duration = "10s"
    """Timeout of a scrape."""
    labels: Strings = {}
    """Labels by which your Prometheus selects it."""
    annotations: Strings = {}
    """Annotations of the monitor."""
    relabelings: FreeList = []
    """Relabelings of targets, before scraping."""
    metric_relabelings: FreeList = []
    """Relabelings of scraped samples."""


class PodMonitor(ServiceMonitor):
    """For Prometheus operators that follow pods; instead of the ServiceMonitor."""


class WorkerMetrics(Part):
    """Metrics that only worker pods have, while they run."""

    enabled: bool = False
    """Whether workers serve metrics, and the chart creates a PodMonitor for those in the release's
    namespace and in `watchNamespaces`, or in all namespaces.
    """
    port: Port = 9091
    """Port on which they serve metrics."""


class Metrics(Part):
    """The metrics of operator and API for Prometheus."""

    enabled: bool = True
    """Whether operator and API serve metrics, on port 9090, each behind a Service."""
    service_annotations: Strings = {}
    """Annotations of these Services."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """For Prometheus operators that follow Services."""
    pod_monitor: PodMonitor = PodMonitor()
    """For Prometheus operators that follow pods; instead of the ServiceMonitor."""
    workers: WorkerMetrics = WorkerMetrics()
    """Metrics that only worker pods have, while they run."""


class PrometheusRule(Part):
    """Alert rules from `files/alerts.yaml`, and from
    `files/alerts-api.yaml` if the API is enabled.
    """

    enabled: bool = False
    """Whether they are created; the cluster must have the CustomResourceDefinition of
    PrometheusRule.
    """
    labels: Strings = {}
    """Labels by which your Prometheus selects them."""
    annotations: Strings = {}
    """Annotations of the PrometheusRule."""
    runbook_url: str = RUNBOOKS
    """Base URL of the runbooks that alerts link to: that of `docs/runbooks/alerts`,
    or of your own copy.
    """


class Dashboard(Part):
    """A Grafana dashboard in a ConfigMap, from `files/dashboard.json`."""

    enabled: bool = False
    """Whether the ConfigMap is created."""
    labels: Strings = {"grafana_dashboard": "1"}
    """Labels by which Grafana's sidecar finds it."""
    annotations: Strings = {}
    """Annotations of the ConfigMap, such as Grafana's folder."""


class Sample(Part):
    """Sample data: pictures that a Job draws onto the claim `pictures`,
    and an empty claim `cache`.
    """

    enabled: bool = False
    """Whether it is created, in the release's namespace. docs/examples/first-job.yaml uses it.

    The claims are kept when the release is uninstalled.
    """
    storage_class_name: str = ""
    """Storage class of the claims; the cluster's default if empty."""
    size: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi|Ti)$")] = "100Mi"
    """Size of each."""


if TYPE_CHECKING:
    Settings = Part
else:
    Settings = settings_model()


class Installation(Part):
    """Values of the whole release."""

    enabled: bool = True
    """Has no effect here; a chart that depends on this one can use it in the dependency's
    `condition`.
    """
    # `global` is a keyword; Helm gives it to every chart that another one depends on.
    globals_: Free = Field(
        default={},
        alias="global",
        description="Has no effect here; values that a parent chart shares.",
    )
    fullname_override: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=52)
    ] = ""
    """Prefix of all names, instead of the release's name and `operator`."""
    image: Image = Image()
    """The one image of operator, API and workers."""
    image_pull_secrets: list[PullSecret] = []
    """Secrets for pulling the image, for operator and API pods. Workers have their own."""
    mongodb: MongoDB = MongoDB(uri="")
    """Where results are recorded. fpj brings no database: give `uri` or `existingSecret`."""
    watch_namespaces: list[Namespace] = []
    """Namespaces whose jobs the operator processes; all if empty.

    They must exist: operator and API get a Role in each, and no ClusterRole.
    """
    settings: Settings = Settings()
    """Operator settings. Durations are seconds."""
    workers: Workers = Workers()
    """Worker pods, which the operator creates. A job's `workerTemplate` can set more."""
    crds: Crds = Crds()
    """The CustomResourceDefinitions of FileProcessingJob and CacheFolder."""
    checks: bool = True
    """Whether an installation first checks the cluster for other releases,
    older CustomResourceDefinitions and a missing Secret. Needs the right to read these.
    """
    rbac: Rbac = Rbac()
    """Rights."""
    user: Annotated[int, Field(ge=0)] = 65532
    """User and group of all pods, and `fsGroup` of workers.

    0 sets none, for clusters that assign them, such as OpenShift.
    """
    admission_policies: AdmissionPolicies = AdmissionPolicies()
    """Rules that the API server itself enforces, by ValidatingAdmissionPolicies.

    These are cluster-wide objects; they apply to `watchNamespaces`, or to all namespaces.
    """
    service_account: ServiceAccount = ServiceAccount()
    """The operator's ServiceAccount."""
    common_labels: Strings = {}
    """Labels of everything in the release."""
    common_annotations: Strings = {}
    """Annotations of everything in the release."""


class Operator(Pods):
    """Values of the operator's pods."""

    whose: ClassVar[str] = "the operator"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """Number of operators: one leads, the others wait to take over."""


class Around(Part):
    """Values of what is made beside the operator."""

    api: Api = Api()
    """The REST API and the dashboard."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Denies all traffic of operator, API and worker pods except what they need."""
    metrics: Metrics = Metrics()
    """The metrics of operator and API for Prometheus."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alert rules from `files/alerts.yaml`, and from
    `files/alerts-api.yaml` if the API is enabled.
    """
    dashboard: Dashboard = Dashboard()
    """A Grafana dashboard in a ConfigMap, from `files/dashboard.json`."""
    sample: Sample = Sample()
    """Sample data: pictures that a Job draws onto the claim `pictures`,
    and an empty claim `cache`.
    """


class Values(Around, Operator, Installation):
    """All values, in the order in which they are shown: the last of these bases first."""


VERSION = fpj_core.__version__
"""Of the chart and of what it installs."""
