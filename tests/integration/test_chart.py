"""The Helm chart against the real API server: what it renders, what it refuses,
what it finds in a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import monitoring_files
import pytest
import yaml
from helm import CHART, MATRIX, SECOND, URI, Helm, HelmError, environment, name_of
from kubeconform import Kubeconform
from planes import ROOT, fresh_namespace
from waiting import wait_for
from world import job_manifest

from fpj_cluster import Cluster, Kube, KubectlError
from fpj_operator import admission
from fpj_operator.jobs.templatepolicy import reserved_variables
from fpj_operator.settings import settings_from

pytestmark = pytest.mark.timeout(300)

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
RESOURCES = (
    "crd/cachefolders.fpj.dev",
    "crd/fileprocessingjobs.fpj.dev",
    "crd/fileprocessingschedules.fpj.dev",
    "crd/cachepurges.fpj.dev",
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of its own, which knows nothing of fpj: releases own what they install."""
    cluster = Cluster(tmp_path_factory.mktemp("plane"))
    cluster.up(owner=os.getpid())
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def bare(plane: Cluster) -> Kube:
    """kubectl there."""
    return plane.kube


@pytest.fixture
def place(bare: Kube) -> Iterator[str]:
    """A namespace that holds pods to the `restricted` level."""
    with fresh_namespace(bare, RESTRICTED) as name:
        yield name


@pytest.fixture
def helm(plane: Cluster, bare: Kube, place: str, tmp_path: Path) -> Iterator[Helm]:
    """helm in that namespace. Whatever a test leaves installed is removed."""
    helm = Helm(plane.kubeconfig, tmp_path, place)
    yield helm
    for found in json.loads(helm("list", "--all-namespaces", "--output=json")):
        helm.within(found["namespace"])("uninstall", found["name"])
    remove_resources(bare)


def remove_resources(bare: Kube) -> None:
    """Delete the CustomResourceDefinitions, of which there are no objects left.

    The API server's own clean-up, which looks for such objects, was seen to hang under load right
    after a change.
    """
    bare("delete", "--ignore-not-found", "--wait=false", *RESOURCES)
    try:
        bare("wait", "--for=delete", "--timeout=20s", *RESOURCES)
    except KubectlError:
        for name in bare("get", "--ignore-not-found", "--output=name", *RESOURCES).split():
            bare("patch", name, "--type=merge", '--patch={"metadata":{"finalizers":[]}}')
        bare("wait", "--for=delete", "--timeout=20s", *RESOURCES)


@pytest.fixture
def offline(tmp_path: Path) -> Helm:
    """helm without any cluster."""
    return Helm(None, tmp_path)


# What it renders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_lint(offline: Helm, values: Path) -> None:
    offline("lint", "--strict", CHART, f"--values={values}")


OTHERS = {
    "monitoring-crds.sh": (
        "monitoring.coreos.com",
        ("podmonitors", "prometheusrules", "servicemonitors"),
    ),
    "gateway-crds.sh": ("gateway.networking.k8s.io", ("httproutes",)),
}
"""Resources of other projects that the chart makes objects of: the script that has them,
their group, their names.
"""


@pytest.fixture(scope="module")
def others(bare: Kube) -> Kube:
    """kubectl, with the resources of Prometheus' operator and of the Gateway API."""
    for script, (group, names) in OTHERS.items():
        found = subprocess.run(
            [ROOT / "hack" / script], capture_output=True, text=True, check=True, timeout=60
        )
        folder = Path(found.stdout.strip())
        bare.apply(*(folder / f"{group}_{name}.yaml" for name in names), server_side=True)
        for name in names:
            wait_for(partial(is_established, bare, f"{name}.{group}"), f"{name} is established", 60)
    return bare


def is_established(bare: Kube, crd: str) -> bool:
    """`kubectl wait` makes nothing of conditions that are null,
    as some of these files have them.
    """
    conditions = bare.json("get", "crd", crd).get("status", {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
@pytest.mark.parametrize("release", ["fpj", "r" * 53])
def test_the_api_server_takes_all_of_it(
    offline: Helm, others: Kube, place: str, values: Path, release: str
) -> None:
    """Strictly: a field that it does not know, or that is given twice, is an error.

    Pods are below.
    """
    rendered = offline.within(place)("template", release, CHART, f"--values={values}")
    texts = [text for text in rendered.split("\n---\n") if "\nkind: Pod\n" not in text]
    assert len(texts) >= 4
    dry_run(others, "\n---\n".join(texts))
    for document in filter(None, yaml.safe_load_all(rendered)):
        # The name of an object of the cluster that each release has of its own begins with the
        # namespace.
        of_the_cluster = document["kind"].startswith(("ClusterRole", "ValidatingAdmissionPolicy"))
        assert len(document["metadata"]["name"]) <= (253 if of_the_cluster else 63)


@pytest.fixture(scope="module")
def kubeconform(others: Kube, tmp_path_factory: pytest.TempPathFactory) -> Kubeconform:
    """By the schemas of this API server, those of other projects' resources among them."""
    kinds = [
        ("monitoring.coreos.com", kind)
        for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor")
    ]
    kinds.append(("gateway.networking.k8s.io", "HTTPRoute"))

    def with_others() -> Kubeconform | None:
        made = Kubeconform(others, tmp_path_factory.mktemp("schemas"))
        return made if all(made.knows(group, "v1", kind) for group, kind in kinds) else None

    return wait_for(with_others, "the API server publishes the schemas of new resources", 60)


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_kubeconform_finds_nothing(offline: Helm, kubeconform: Kubeconform, values: Path) -> None:
    assert kubeconform(offline("template", "fpj", CHART, f"--values={values}")) == []


def test_kubeconform_would_find_something(offline: Helm, kubeconform: Kubeconform) -> None:
    rendered = offline("template", "fpj", CHART, values={"mongodb": {"uri": URI}})
    assert kubeconform(rendered) == []
    (typo,) = kubeconform(rendered.replace("  replicas: ", "  replica: "))
    assert (
        typo.startswith("Deployment fpj-operator: ")
        and "additional properties 'replica' not allowed" in typo
    )
    (wrong,) = kubeconform(rendered.replace("  replicas: 2", '  replicas: "2"'))
    assert "at '/spec/replicas': got string, want integer" in wrong
    (unknown,) = kubeconform(rendered.replace("kind: Deployment", "kind: Deploiment"))
    assert "could not find schema for Deploiment" in unknown


COLLIDING_LABELS = {
    "app.kubernetes.io/name": "mine",
    "app.kubernetes.io/component": "mine",
    "rbac.authorization.k8s.io/aggregate-to-view": "mine",
    "example.com/common": "everywhere",
}
COLLIDING_NOTES = {
    "helm.sh/hook": "post-install",
    "helm.sh/hook-delete-policy": "hook-failed",
    "helm.sh/hook-weight": "7",
    "helm.sh/resource-policy": "mine",
    "fpj.dev/version": "9.9.9",
    "fpj.dev/store-checksum": "mine",
    "example.com/common": "everywhere",
}


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_common_labels_and_annotations_take_the_place_of_none_of_ours(
    offline: Helm, kubeconform: Kubeconform, values: Path
) -> None:
    """Ours win, each is there once, and the rest are everywhere."""
    plain = offline("template", "fpj", CHART, f"--values={values}")
    common = {"commonLabels": COLLIDING_LABELS, "commonAnnotations": COLLIDING_NOTES}
    rendered = offline("template", "fpj", CHART, f"--values={values}", values=common)
    assert kubeconform(rendered) == [], "strictly: of two equal keys it would tell"
    before, after = (
        [each for each in yaml.safe_load_all(text) if each] for text in (plain, rendered)
    )
    hooks = [each for each in before if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert hooks, "the test's pod at least"
    assert {name_of(each) for each in before} == {name_of(each) for each in after}
    found = {name_of(each): each["metadata"] for each in after}
    for document in before:
        now = found[name_of(document)]
        assert (
            now["labels"]["example.com/common"]
            == now["annotations"]["example.com/common"]
            == "everywhere"
        )
        for kind in ("labels", "annotations"):
            # What the values say of one object alone comes before what they say of all.
            assert now[kind] | document["metadata"].get(kind, {}) == now[kind], name_of(document)


def test_kubeconform_would_tell_of_a_key_that_is_there_twice(
    offline: Helm, kubeconform: Kubeconform
) -> None:
    rendered = offline(
        "template", "fpj", CHART, values={"mongodb": {"uri": URI}, "commonAnnotations": {"a": "b"}}
    )
    twice = rendered.replace("    a: b\n", "    a: b\n    a: c\n", 1)
    assert twice != rendered
    assert "already set in map" in " ".join(kubeconform(twice)), kubeconform(twice)


def dry_run(kube: Kube, manifests: str) -> None:
    kube(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--filename=-",
        stdin=manifests,
    )


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_every_pod_is_restricted(offline: Helm, others: Kube, place: str, values: Path) -> None:
    """The namespace refuses others.

    A Job's pods are made by a controller, so they are asked for as pods here.
    """
    rendered = offline.within(place)("template", "fpj", CHART, f"--values={values}")
    pods = [pod for each in yaml.safe_load_all(rendered) if each for pod in pods_of(each)]
    assert len(pods) >= 2  # the operator's and the test's
    here = others.within(place)
    for pod in pods:
        # Accounts are not there in a dry run, and no pod is accepted without its own.
        pod["spec"]["serviceAccountName"] = "default"
        pod["spec"].pop("priorityClassName", None)  # this one is for the system's namespace alone
        dry_run(here, json.dumps(pod))


def pods_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["kind"] == "Pod":
        return [document]
    if document["kind"] in ("Deployment", "Job"):
        name = {"name": document["metadata"]["name"]}
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": name,
                "spec": document["spec"]["template"]["spec"],
            }
        ]
    return []


def test_the_operator_understands_its_settings(offline: Helm) -> None:
    """Values, templates, variables and the operator's reading of them agree."""
    given = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())
    settings = settings_from(environment(offline.render(**given)))
    assert settings.max_concurrent_jobs == given["settings"]["maxConcurrentJobs"] == 1_000_000
    assert settings.lease_seconds == given["settings"]["leaseSeconds"]
    assert settings.check_seconds == given["settings"]["checkSeconds"]
    assert settings.child_ttl_seconds == given["settings"]["childTtlSeconds"]
    assert settings.worker_reports is False
    assert settings.worker_user == 0 and settings.worker_host_users is False
    assert settings.image_pull_secrets == ("registry", "mirror")
    assert settings.worker_env == {"FPJ_METRICS_PORT": "9100", "FPJ_TEST": "yes"}
    assert settings.store_secret == "store"
    assert settings.worker_image == f"{given['image']['repository']}@{given['image']['digest']}"
    assert settings.namespaces == ()
    assert settings.template_volumes == ("emptyDir", "configMap")
    assert settings.template_mount_paths == ("/plugins",)
    assert settings.template_env == ("TZ", "PLUGIN_*")
    assert settings.template_env_sources == ("fieldRef",)
    assert settings.template_service_accounts == ("museum-*",)


def test_an_empty_list_is_none_and_not_the_default(offline: Helm) -> None:
    settings = settings_from(
        environment(offline.render(settings={"templateVolumes": [], "templateEnv": []}))
    )
    assert settings.template_volumes == () and settings.template_env == ()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "settings": {
                "templateVolumes": [],
                "templateEnv": ["A", "B_*"],
                "templateServiceAccounts": ["museum-<>&"],
            }
        },
        {"workers": {"env": {"B": "1", "A": "2"}}, "metrics": {"workers": {"enabled": True}}},
        {"watchNamespaces": ["a", "b"], "serviceAccount": {"name": "other"}},
    ],
)
def test_the_policies_have_the_operators_own_rules(offline: Helm, values: dict[str, Any]) -> None:
    """Whatever the values: operator and API server never differ about a template,
    or about who the operator is.
    """
    rendered = offline.render(**values)
    settings = settings_from(environment(rendered))
    lists = admission.lists_of(settings, reserved_variables(settings))
    account = values.get("serviceAccount", {}).get("name", "fpj-operator")
    wanted = [
        admission.worker_templates("default-fpj-operator-worker-templates", lists),
        admission.worker_reports(
            "default-fpj-operator-worker-reports", f"system:serviceaccount:default:{account}"
        ),
    ]
    for policy in wanted:
        name = policy["metadata"]["name"]
        found = {each["kind"]: each for each in rendered if each["metadata"]["name"] == name}
        assert normal(found["ValidatingAdmissionPolicy"]["spec"]) == normal(policy["spec"])
        bound = admission.binding(name, values.get("watchNamespaces", ()))
        assert found["ValidatingAdmissionPolicyBinding"]["spec"] == bound["spec"]


def normal(spec: dict[str, Any]) -> dict[str, Any]:
    """Lists among the expressions are compared by what they hold."""
    variables = {
        each["name"]: json.loads(each["expression"])
        if each["expression"].startswith('["')
        else each["expression"]
        for each in spec["variables"]
    }
    return spec | {"variables": variables}


def test_policies_can_be_left_out(offline: Helm) -> None:
    for value, left in (
        ("workerTemplates", "worker-reports"),
        ("workerReports", "worker-templates"),
    ):
        rendered = offline.render(admissionPolicies={value: False})
        names = [
            each["metadata"]["name"]
            for each in rendered
            if each["kind"] == "ValidatingAdmissionPolicy"
        ]
        assert names == [f"default-fpj-operator-{left}"]


@pytest.mark.parametrize("user", [65_532, 1_000_690_000, 0])
def test_one_value_has_the_user_of_all_pods(offline: Helm, user: int) -> None:
    """Also of pods that Helm's hooks, the test and the sample make.

    With 0 the cluster assigns it.
    """
    rendered = offline.render(
        user=user,
        api={"enabled": True},
        sample={"enabled": True},
        crds={"keep": False},
        watchNamespaces=["default"],
    )
    pods = [pod["spec"] for each in rendered for pod in pods_of(each)]
    assert len(pods) >= 5
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for name in ("runAsUser", "runAsGroup"):
            assert pod["securityContext"].get(name, 0) == user
        assert pod["securityContext"].get("fsGroup", user) == user
        assert (name in pod["securityContext"]) is bool(user)
    assert settings_from(environment(rendered)).worker_user == user


def test_what_is_said_of_one_component_comes_first(offline: Helm) -> None:
    rendered = offline.render(
        api={"enabled": True, "podSecurityContext": {"runAsUser": 7}, "hostUsers": False},
        podSecurityContext={"runAsUser": 5},
    )
    pods = {each["metadata"]["name"]: pod["spec"] for each in rendered for pod in pods_of(each)}
    assert pods["fpj-operator"]["securityContext"]["runAsUser"] == 5
    assert pods["fpj-api"]["securityContext"]["runAsUser"] == 7
    assert pods["fpj-operator"]["securityContext"]["runAsGroup"] == 65_532
    assert "hostUsers" not in pods["fpj-operator"] and pods["fpj-api"]["hostUsers"] is False


def test_the_defaults_are_the_operators_own(offline: Helm) -> None:
    assert settings_from(environment(offline.render())) == settings_from(
        {
            "FPJ_STORE": "from a Secret",
            "FPJ_WORKER_IMAGE": "fpj:0.1.0",
            "FPJ_OWN_NAMESPACE": "the release's",
        }
    )


def test_named_namespaces_take_no_right_to_the_cluster(offline: Helm) -> None:
    rendered = offline.render(watchNamespaces=["a", "b"], **SECOND)
    kinds = [each["kind"] for each in rendered]
    assert "ClusterRole" not in kinds and "ClusterRoleBinding" not in kinds
    roles = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in rendered
        if each["kind"] == "Role"
    }
    assert roles == {
        ("a", "fpj-operator"),
        ("b", "fpj-operator"),
        ("default", "fpj-operator-leader"),
    }


def test_alerts_and_dashboard_are_there_where_the_chart_has_them(
    offline: Helm, tmp_path: Path
) -> None:
    """With the files and without: the chart may be packed without either."""
    chart = tmp_path / "fpj"
    subprocess.run(["cp", "-r", CHART, chart], check=True)
    wanted = {
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "mongodb": {"uri": URI},
    }

    def rendered() -> dict[str, Any]:
        text = offline("template", "fpj", chart, values=wanted)
        return {each["kind"]: each for each in yaml.safe_load_all(text) if each}

    for name in ("alerts.yaml", "dashboard.json"):
        (chart / "files" / name).unlink(missing_ok=True)
    assert rendered().keys().isdisjoint({"PrometheusRule", "ConfigMap"})
    (chart / "files").mkdir(exist_ok=True)
    alert = {
        "alert": "Down",
        "expr": "up == 0",
        "annotations": {"summary": "{{ $labels.pod }} is down"},
    }
    groups = {"groups": [{"name": "fpj", "rules": [alert]}]}
    (chart / "files" / "alerts.yaml").write_text("# Alerts\n" + yaml.safe_dump(groups))
    (chart / "files" / "dashboard.json").write_text('{"title": "{{ pod }}"}\n')
    found = rendered()
    assert found["PrometheusRule"]["spec"] == groups
    assert json.loads(found["ConfigMap"]["data"]["fpj.json"]) == {"title": "{{ pod }}"}


def alerts_of(helm: Helm, *, api: bool, **values: Any) -> dict[str, Any]:
    """The alerts that are rendered, by name."""
    rendered = helm.render(prometheusRule={"enabled": True} | values, api={"enabled": api})
    (rule,) = (each for each in rendered if each["kind"] == "PrometheusRule")
    return {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}


def test_alerts_are_those_of_the_files_and_the_apis_only_where_it_is(offline: Helm) -> None:
    assert alerts_of(offline, api=True) == monitoring_files.rules()
    left_out = alerts_of(offline, api=True).keys() - alerts_of(offline, api=False).keys()
    assert left_out == {"FpjApiDown", "FpjApiErrors"}


def test_alerts_lead_to_runbooks_of_your_own(offline: Helm) -> None:
    def runbooks(**values: str) -> set[str]:
        return {
            each["annotations"]["runbook_url"]
            for each in alerts_of(offline, api=True, **values).values()
        }

    ours = runbooks()
    assert "https://fpj.dev/docs/runbooks/alerts/FpjOperatorDown.md" in ours
    theirs = {f"https://wiki.example/fpj/{url.rpartition('/')[2]}" for url in ours}
    assert runbooks(runbookUrl="https://wiki.example/fpj/") == theirs


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"settings": {"maxConcurentJobs": 3}},
            "at '/settings': additional properties 'maxConcurentJobs' not allowed",
        ),
        (
            {"settings": {"maxConcurrentJobs": "3"}},
            "at '/settings/maxConcurrentJobs': got string, want integer",
        ),
        ({"settings": {"reconcilers": 0}}, "at '/settings/reconcilers': minimum: got 0, want 1"),
        ({"settings": {"leaseSeconds": 1}}, "at '/settings/leaseSeconds'"),
        ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
        ({"image": {"digest": "sha256:abc"}}, "at '/image/digest'"),
        ({"mongodb": {"uri": "postgres://there"}}, "at '/mongodb/uri'"),
        ({"watchNamespaces": "gallery"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["Gallery"]}, "at '/watchNamespaces/0'"),
        ({"watchNamespaces": ["n" * 64]}, "at '/watchNamespaces/0': maxLength: got 64, want 63"),
        ({"metrics": {"serviceMonitor": {"intervall": "1m"}}}, "at '/metrics/serviceMonitor'"),
        (
            {"metrics": {"serviceMonitor": {"interval": 30}}},
            "at '/metrics/serviceMonitor/interval'",
        ),
        ({"networkPolicy": {"mongodbPorts": [0]}}, "at '/networkPolicy/mongodbPorts/0'"),
        ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want object"),
        ({"replicas": 1.5}, "at '/replicas': got number, want integer"),
        ({"fullnameOverride": "n" * 53}, "at '/fullnameOverride'"),
        ({"operator": {}}, "additional properties 'operator' not allowed"),
        ({"mongodb": {}}, "fpj needs MongoDB: set mongodb.uri, or mongodb.existingSecret"),
        (
            {"mongodb": {"uri": URI, "existingSecret": "database"}},
            "set mongodb.uri or mongodb.existingSecret, not both",
        ),
        (
            {"mongodb": {"existingSecret": "a", "workerNamespaces": ["b"]}},
            "made from mongodb.uri, which is not set",
        ),
        (
            {"mongodb": {}, "api": {"enabled": True}},
            "fpj needs MongoDB: set mongodb.uri, or mongodb.existingSecret",
        ),
        ({"api": {"maxStreams": 0}}, "at '/api/maxStreams': minimum: got 0, want 1"),
        ({"api": {"reviewSeconds": 0.5}}, "at '/api/reviewSeconds': minimum: got 0.5, want 1"),
        ({"api": {"audiences": ["a,b"]}}, "at '/api/audiences/0'"),
        ({"api": {"service": {"port": 0}}}, "at '/api/service/port'"),
        ({"api": {"ingress": {"hosts": ["https://a.example"]}}}, "at '/api/ingress/hosts/0'"),
        (
            {"api": {"httpRoute": {"parentRefs": ["public"]}}},
            "at '/api/httpRoute/parentRefs/0': got string",
        ),
        (
            {"api": {"enabled": True, "ingress": {"enabled": True}}},
            "api.ingress.hosts: an Ingress without a host",
        ),
        (
            {"api": {"enabled": True, "httpRoute": {"enabled": True}}},
            "api.httpRoute.parentRefs: a route belongs to",
        ),
        ({"api": {"httpRoute": {"enabled": True}}}, "api.httpRoute.enabled: it has no effect"),
        (
            {
                "api": {"enabled": True, "serviceAccount": {"name": "one"}},
                "serviceAccount": {"name": "one"},
            },
            "serviceAccount.name and api.serviceAccount.name are the same",
        ),
        (
            {"api": {"enabled": True}, "fullnameOverride": "n" * 48 + "-api"},
            "operator and API would both be called "
            + "n" * 48
            + "-api: choose another fullnameOverride",
        ),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_wrong_values_are_named(offline: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError) as refused:
        offline.render(**values)
    assert message in str(refused.value)


def refusal(helm: Helm, release: str, *options: object, **values: Any) -> str:
    """What a refused install says; nothing of it may be left behind."""
    before = helm.releases
    with pytest.raises(HelmError) as refused:
        helm.install(release, *options, **values)
    assert helm.releases == before
    return str(refused.value)


def test_a_missing_secret(helm: Helm, bare: Kube, place: str) -> None:
    wanted = {"mongodb": {"existingSecret": "database", "existingSecretKey": "uri"}}
    assert f'there is no Secret "database" in the namespace {place}' in refusal(
        helm, "fpj", **wanted
    )
    bare.within(place)("create", "secret", "generic", "database", f"--from-literal=url={URI}")
    assert 'the Secret "database" has no key "uri"' in refusal(helm, "fpj", **wanted)
    assert bare.within(place).items("deployments,serviceaccounts,services") == bare.within(
        place
    ).items("serviceaccounts", "--field-selector=metadata.name=default")
    wanted["mongodb"]["existingSecretKey"] = "url"
    helm.install("fpj", **wanted)


def test_resources_that_others_keep(helm: Helm, bare: Kube) -> None:
    """Absent, older, applied by kubectl: with crds.enabled=false and with true."""
    apart = {"crds": {"enabled": False}}
    assert "there is no CustomResourceDefinition fileprocessingjobs.fpj.dev" in refusal(
        helm, "fpj", **apart
    )

    files = sorted((ROOT / "crds").glob("*.yaml"))
    bare.apply(*files, server_side=True)
    bare.wait("condition=Established", *RESOURCES)
    bare("annotate", RESOURCES[1], "fpj.dev/version=0.0.9", "--overwrite")
    message = refusal(helm, "fpj", **apart)
    assert (
        "fileprocessingjobs.fpj.dev is of version 0.0.9, older than 0.1.0: kubectl apply -f crds"
        in message
    )
    bare("annotate", RESOURCES[1], "fpj.dev/version-")
    assert "is of version 0.0.0, older than 0.1.0" in refusal(helm, "fpj", **apart)

    # With true, Helm refuses what is not its own, until --take-ownership is given; and brings it
    # up to date.
    message = refusal(helm, "fpj")
    assert (
        'CustomResourceDefinition "cachefolders.fpj.dev"' in message
        and "cannot be imported" in message
    )
    helm.install("fpj", "--take-ownership", "--force-conflicts")
    labels = bare.json("get", RESOURCES[1])["metadata"]
    assert labels["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert labels["annotations"]["fpj.dev/version"] == "0.1.0"


def test_resources_of_the_right_version_may_be_others(helm: Helm, bare: Kube) -> None:
    bare.apply(*sorted((ROOT / "crds").glob("*.yaml")), server_side=True)
    helm.install("fpj", crds={"enabled": False})
    assert "labels" not in bare.json("get", RESOURCES[0])["metadata"]


def test_the_manifests_installation_can_be_taken_over(helm: Helm, bare: Kube) -> None:
    """As the guide says: but for the Deployment, whose selector cannot be changed."""
    bare.apply(*sorted((ROOT / "crds").glob("*.yaml")), server_side=True)
    bare.apply(ROOT / "deploy" / "operator.yaml")
    there, here = helm.within("fpj-system"), bare.within("fpj-system")
    wanted = {"mongodb": {"existingSecret": "fpj-store"}}
    here("create", "secret", "generic", "fpj-store", f"--from-literal=url={URI}")
    message = refusal(there, "fpj", "--take-ownership", "--force-conflicts", **wanted)
    assert (
        "the Deployment fpj-operator in namespace fpj-system is an operator of fpj already"
        in message
    )
    here("delete", "deployment", "fpj-operator")
    there.install("fpj", "--take-ownership", "--force-conflicts", **wanted)
    assert (
        bare.json("get", "clusterrole", "fpj-operator")["metadata"]["labels"][
            "app.kubernetes.io/managed-by"
        ]
        == "Helm"
    )
    here("wait", "--for=create", "deployment/fpj-operator", "--timeout=10s")
    there("uninstall", "fpj")
    bare("delete", "namespace", "fpj-system", "--wait=false")


# What it does -------------------------------------------------------------------------------------


def test_two_releases_for_one_cluster(helm: Helm, bare: Kube, place: str) -> None:
    helm.install("fpj")
    with fresh_namespace(bare) as other, fresh_namespace(bare) as third:
        there = helm.within(other)
        first = f"fpj in namespace {place}"
        assert f"belong to the release {first}" in refusal(there, "more")
        assert f"the release {first} works on the jobs of all namespaces" in refusal(
            there, "more", **SECOND
        )
        message = refusal(there, "more", watchNamespaces=[other], **SECOND)
        assert f"the release {first} works on the jobs of all namespaces" in message

        helm("upgrade", "fpj", CHART, values={"mongodb": {"uri": URI}, "watchNamespaces": [place]})
        there.install("more", watchNamespaces=[other], **SECOND)
        assert sorted(helm.releases) == ["fpj", "more"]
        message = refusal(helm.within(third), "yet", watchNamespaces=[other], **SECOND)
        assert (
            f"the release more in namespace {other} works on the jobs of namespace {other} already"
            in message
        )
        message = refusal(there, "yet", watchNamespaces=[third], **SECOND)
        assert f"more-fpj-operator in namespace {other} is an operator of fpj" in message
        message = refusal(helm.within(third), "yet", **SECOND)
        assert "works on the jobs of namespace" in message
        message = refusal(helm.within(third), "yet", **SECOND, api={"enabled": True})
        assert "works on the jobs of namespace" in message
        assert "there is no namespace nowhere" in refusal(
            helm.within(third), "yet", watchNamespaces=["nowhere"], **SECOND
        )
        there("uninstall", "more")


def test_the_policies_hold_where_the_release_works(helm: Helm, bare: Kube, place: str) -> None:
    """With its own settings: there, and nowhere else."""
    hostile = job_manifest(
        "hostile",
        "photos",
        workerTemplate={"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    )
    plugin = job_manifest(
        "plugin",
        "photos",
        workerTemplate={"volumes": [{"name": "plugin", "image": {"reference": "a"}}]},
    )
    with fresh_namespace(bare) as elsewhere:
        helm.install("fpj", watchNamespaces=[place], settings={"templateVolumes": ["image"]})
        bare.wait("condition=Established", *RESOURCES)
        wait_for(lambda: denied(bare.within(place), hostile), "the policy holds", 60)
        message = denied(bare.within(place), hostile)
        assert "workerTemplate.volumes: host (hostPath) is of a type that is not allowed" in message
        assert "FPJ_TEMPLATE_VOLUMES allows image" in message
        assert denied(bare.within(place), plugin) == ""
        assert denied(bare.within(elsewhere), hostile) == ""


def denied(kube: Kube, manifest: dict[str, Any]) -> str:
    try:
        kube.apply(manifest, dry_run=True)
    except KubectlError as error:
        return str(error)
    return ""


def test_two_releases_with_the_api(helm: Helm, bare: Kube, place: str) -> None:
    """Each with its namespaces: their rights to reviews are two,
    and of the rest neither has the other's.
    """
    on = {"api": {"enabled": True}}
    with fresh_namespace(bare) as other:
        helm.install("fpj", watchNamespaces=[place], **on)
        helm.within(other).install("fpj", watchNamespaces=[other], **SECOND, **on)
        for namespace, there in ((place, other), (other, place)):
            user = f"--as=system:serviceaccount:{namespace}:fpj-api"

            def may(*asked: str, user: str = user) -> bool:
                try:
                    return bare("auth", "can-i", *asked, user).strip() == "yes"
                except KubectlError:  # its exit code says no, too
                    return False

            assert may("patch", "fileprocessingjobs.fpj.dev", f"--namespace={namespace}")
            assert not may("list", "fileprocessingjobs.fpj.dev", f"--namespace={there}")
            assert not may("get", "secrets", f"--namespace={namespace}")
            assert may("create", "tokenreviews.authentication.k8s.io")
            assert may("create", "subjectaccessreviews.authorization.k8s.io")
        helm.within(other)("uninstall", "fpj")
        assert may("create", "tokenreviews.authentication.k8s.io") is False
        assert [
            name
            for name in bare("get", "clusterrole", "--output=name").split()
            if "reviews" in name
        ] == [f"clusterrole.rbac.authorization.k8s.io/{place}-fpj-api-reviews"]


def test_a_route_where_nothing_is_known_of_gateways(helm: Helm, bare: Kube) -> None:
    bare("delete", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found")
    route = {"enabled": True, "parentRefs": [{"name": "public"}]}
    message = refusal(helm, "fpj", api={"enabled": True, "httpRoute": route})
    assert (
        "api.httpRoute: the cluster does not know HTTPRoutes of gateway.networking.k8s.io/v1"
        in message
    )


def test_names_at_the_limit(helm: Helm, bare: Kube) -> None:
    """Pods are made, so every name and label on the way is a valid one."""
    release = "a" * 52 + "z"
    long = "n" * 63
    bare.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": long, "labels": RESTRICTED}}
    )
    bare.wait("create", "serviceaccount/default", "--namespace", long)
    there = helm.within(long)
    ingress = {"enabled": True, "hosts": ["images.example.com"]}
    wanted = {
        "watchNamespaces": [long],
        "crds": {"keep": False},
        "networkPolicy": {"enabled": True},
        "api": {"enabled": True, "ingress": ingress},
    }
    there.install(release, **wanted)
    wait_for(
        lambda: len(bare.within(long).items("pods")) == 4,
        "two pods of the operator, and two of the API",
        30,
    )
    with pytest.raises(HelmError, match="release name"):
        there.install(release + "z", **wanted)
    there("uninstall", release, "--no-hooks")  # nobody runs the cleanup here
    bare("delete", "namespace", long, "--wait=false")


def test_uninstalling_keeps_resources_and_jobs(helm: Helm, bare: Kube, place: str) -> None:
    helm.install("fpj")
    bare.wait("condition=Established", *RESOURCES)
    bare.within(place)("apply", f"--filename={ROOT / 'docs' / 'examples' / 'thumbnails.yaml'}")
    [job] = bare.within(place).items("fpj")
    helm("uninstall", "fpj")
    assert [each["metadata"]["uid"] for each in bare.within(place).items("fpj")] == [
        job["metadata"]["uid"]
    ]
    assert bare.within(place).items("deployments") == []
    helm.install("fpj")  # finds its own resources again
    assert [each["metadata"]["uid"] for each in bare.within(place).items("fpj")] == [
        job["metadata"]["uid"]
    ]
    bare.within(place)("delete", "fpj", "--all")
