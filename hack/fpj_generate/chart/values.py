"""The chart's values: their names, types, bounds, defaults and what they mean. The one source of the three files.

What Kubernetes itself defines (affinities, volumes and so on) is passed through: the API server checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

import fpj_core
from fpj_generate.chart.api import Api
from fpj_generate.chart.base import Free, FreeList, Name, Namespace, OptionalName, Part, Port, Strings
from fpj_generate.chart.pods import Pods, PullSecret, ServiceAccount
from fpj_generate.chart.settings import settings_model

_Fullname = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=52)]
_Digest = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64})?$")]
_Uri = Annotated[str, StringConstraints(pattern=r"^(mongodb(\+srv)?://.+)?$")]
_Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|s|m|h))+$")]

RUNBOOKS = "https://fpj.dev/docs/runbooks/alerts"
"""Where `files/alerts.yaml` says that the runbooks are."""


class Image(Part):
    """The one image of operator, API and workers."""

    repository: Annotated[str, StringConstraints(min_length=1)] = "fpj"
    """Where it is. No registry serves it yet: build it and push it to yours."""
    tag: str = ""
    """Its tag; the chart's `appVersion` if empty."""
    digest: _Digest = ""
    """`sha256:…`, instead of a tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of all pods."""


class MongoDB(Part):
    """Where results are recorded. fpj brings no database: give `uri` or `existingSecret`."""

    uri: _Uri = ""
    """`mongodb://USER:PASSWORD@HOST/DATABASE`. The chart makes a Secret of it, named as `workerSecret`, for the
    operator and for jobs in the release's namespace."""
    existing_secret: OptionalName = ""
    """A Secret in the release's namespace that holds the URI, instead of `uri`."""
    existing_secret_key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$")] = "url"
    """The key of the URI in it."""
    worker_secret: Name = "fpj-store"
    """Secret with the key `url` that worker pods read, in each namespace with jobs."""
    worker_namespaces: list[Namespace] = []
    """Further namespaces in which the chart makes that Secret from `uri`. They must exist."""


class Crds(Part):
    """The CustomResourceDefinitions of FileProcessingJob and CacheFolder."""

    enabled: bool = True
    """Whether they are part of the release, and upgraded with it."""
    keep: bool = True
    """Whether they, and with them all jobs and cache folders, stay when the release is uninstalled. If not, jobs are
    ended and deleted first."""


class Rbac(Part):
    """Rights."""

    create: bool = True
    """Whether the chart grants operator and API their rights. If not, grant what `helm template` shows with true."""
    aggregate: bool = True
    """Whether the chart makes the ClusterRoles `fpj-view`, `fpj-cache-manager` and `fpj-admin`, which Kubernetes adds
    to `view`, `edit` and `admin`."""


class AdmissionPolicies(Part):
    """Rules that the API server itself enforces, by ValidatingAdmissionPolicies. Cluster-wide objects."""

    worker_templates: bool = True
    """Whether jobs and schedules are refused whose `workerTemplate` has what `settings.template…` do not allow. Without
    the policy the operator refuses such jobs itself (`PolicyForbidden`)."""
    worker_reports: bool = True
    """Whether the tokens of workers are limited to reporting the progress of their own, unfinished job."""


class Workers(Part):
    """Pods of jobs, as the operator makes them. A job's `workerTemplate` says more."""

    image_pull_secrets: list[PullSecret] = []
    """Secrets in the jobs' namespaces by which they pull the image."""
    env: Strings = {}
    """Further environment variables of them."""


class NetworkPolicy(Part):
    """Denies all traffic of the operator's and the API's pods, and of worker pods, but what they need."""

    enabled: bool = False
    """Whether they are made, in the release's namespace and in `watchNamespaces`. They hold where the cluster's
    network heeds them."""
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
    """Further rules for what operator and workers call."""


class ServiceMonitor(Part):
    """For Prometheus operators that follow Services."""

    enabled: bool = False
    """Whether it is made; its kind must be known to the cluster."""
    interval: _Duration = "30s"
    """From one scrape to the next."""
    scrape_timeout: _Duration = "10s"
    """How long one may take."""
    labels: Strings = {}
    """Labels by which your Prometheus selects it."""
    annotations: Strings = {}
    """Its annotations."""
    relabelings: FreeList = []
    """Of targets, before scraping."""
    metric_relabelings: FreeList = []
    """Of what was scraped."""


class PodMonitor(ServiceMonitor):
    """For Prometheus operators that follow pods; instead of the ServiceMonitor."""


class WorkerMetrics(Part):
    """What only worker pods know, while they live."""

    enabled: bool = False
    """Whether workers serve metrics, and a PodMonitor for those in the release's namespace and in `watchNamespaces`,
    or in all namespaces, is made."""
    port: Port = 9091
    """Where they serve them."""


class Metrics(Part):
    """The metrics of operator and API for Prometheus."""

    enabled: bool = True
    """Whether they serve them, on port 9090, each behind a Service."""
    service_annotations: Strings = {}
    """Annotations of these Services."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """For Prometheus operators that follow Services."""
    pod_monitor: PodMonitor = PodMonitor()
    """For Prometheus operators that follow pods; instead of the ServiceMonitor."""
    workers: WorkerMetrics = WorkerMetrics()
    """What only worker pods know, while they live."""


class PrometheusRule(Part):
    """Alerts, from `files/alerts.yaml`, and from `files/alerts-api.yaml` where the API is."""

    enabled: bool = False
    """Whether they are made; the kind must be known to the cluster."""
    labels: Strings = {}
    """Labels by which your Prometheus selects them."""
    annotations: Strings = {}
    """Their annotations."""
    runbook_url: str = RUNBOOKS
    """Where the alerts lead: the place of `docs/runbooks/alerts`, or of a copy of your own."""


class Dashboard(Part):
    """A Grafana dashboard in a ConfigMap, from `files/dashboard.json`."""

    enabled: bool = False
    """Whether it is made."""
    labels: Strings = {"grafana_dashboard": "1"}
    """Labels by which Grafana's sidecar finds it."""
    annotations: Strings = {}
    """Its annotations, such as the folder's."""


class Sample(Part):
    """Something to try: pictures that a Job draws onto the claim `pictures`, and an empty claim `cache`."""

    enabled: bool = False
    """Whether they are made, in the release's namespace. docs/examples/first-job.yaml works on them. The claims stay
    when the release is uninstalled."""
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
    """Of no effect here: a place for the condition of a chart that depends on this one."""
    # `global` is a keyword; Helm gives it to every chart that another one depends on.
    globals_: Free = Field(
        default={}, alias="global", description="Of no effect here: what a chart that depends on this one shares."
    )
    fullname_override: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=52)
    ] = ""
    """What all names begin with, instead of the release's name and `operator`."""
    image: Image = Image()
    """The one image of operator, API and workers."""
    image_pull_secrets: list[PullSecret] = []
    """Secrets for pulling it, for operator and API pods. Workers have their own."""
    mongodb: MongoDB = MongoDB(uri="")
    """Where results are recorded. fpj brings no database: give `uri` or `existingSecret`."""
    watch_namespaces: list[Namespace] = []
    """Namespaces whose jobs are worked on; all if empty. Named ones must exist: the operator gets a Role in each, and
    no right to the cluster. The API gets such Roles, too."""
    settings: Settings = Settings()
    """Operator settings. Durations are seconds."""
    workers: Workers = Workers()
    """Pods of jobs, as the operator makes them. A job's `workerTemplate` says more."""
    crds: Crds = Crds()
    """The CustomResourceDefinitions of FileProcessingJob and CacheFolder."""
    checks: bool = True
    """Whether an install looks at the cluster first: for other releases, older CustomResourceDefinitions, a missing
    Secret. Needs the right to read these."""
    rbac: Rbac = Rbac()
    """Rights."""
    user: Annotated[int, Field(ge=0)] = 65532
    """User and group of all pods, and `fsGroup` of workers; 0 sets none, for clusters that assign them, as OpenShift
    does."""
    admission_policies: AdmissionPolicies = AdmissionPolicies()
    """Rules that the API server itself enforces, by ValidatingAdmissionPolicies. These are objects of the cluster, in
    force in `watchNamespaces`, or in all namespaces."""
    service_account: ServiceAccount = ServiceAccount()
    """The operator's account."""
    common_labels: Strings = {}
    """Labels of everything in the release."""
    common_annotations: Strings = {}
    """Annotations of everything in the release."""


class Operator(Pods):
    """Values of the operator's pods."""

    whose: ClassVar[str] = "the operator"

    replicas: Annotated[int, Field(ge=0, le=10)] = 2
    """Operators: one leads, the others wait to take over."""


class Around(Part):
    """Values of what is made beside the operator."""

    api: Api = Api()
    """The REST API and the dashboard."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Denies all traffic of the operator's and the API's pods, and of worker pods, but what they need."""
    metrics: Metrics = Metrics()
    """The metrics of operator and API for Prometheus."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alerts, from `files/alerts.yaml`, and from `files/alerts-api.yaml` where the API is."""
    dashboard: Dashboard = Dashboard()
    """A Grafana dashboard in a ConfigMap, from `files/dashboard.json`."""
    sample: Sample = Sample()
    """Something to try: pictures that a Job draws onto the claim `pictures`, and an empty claim `cache`."""


class Values(Around, Operator, Installation):
    """All values, in the order in which they are shown: the last of these bases first."""


VERSION = fpj_core.__version__
"""Of the chart and of what it installs."""
