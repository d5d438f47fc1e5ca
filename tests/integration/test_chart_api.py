"""What the Helm chart renders of the API: pods, rights, ways to it.

`test_chart` has the manifests checked.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import CHART, SECOND, URI, Helm, environment, name_of, with_database

from fpj_api.settings import ApiSettings, settings_from
from fpj_generate.rights import API, Where, rules


@pytest.fixture
def offline(tmp_path: Path) -> Helm:
    """helm without any cluster."""
    return Helm(None, tmp_path)


def of_the_api(rendered: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What bears the API's name, by kind; its Service for metrics as `metrics`."""
    mine = [
        each
        for each in rendered
        if each["metadata"]["labels"]["app.kubernetes.io/name"] == "fpj-api"
    ]
    return {
        "metrics" if each["metadata"]["name"].endswith("-metrics") else each["kind"]: each
        for each in mine
    }


def test_without_the_api_nothing_of_it_is_there(offline: Helm) -> None:
    everything = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())
    assert of_the_api(offline.render(**everything)) == {}
    assert "fpj-api" not in str(offline.render(**everything)).replace("fpj-api.", "")


def test_the_api_has_rights_and_pods_of_its_own(offline: Helm) -> None:
    rendered = offline.render(api={"enabled": True}, networkPolicy={"enabled": True})
    found = of_the_api(rendered)
    assert found.keys() == {
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
        "metrics",
    }
    assert found["ClusterRole"]["rules"] == rules(API, *Where)
    (subject,) = found["ClusterRoleBinding"]["subjects"]
    assert subject["name"] == found["ServiceAccount"]["metadata"]["name"] == "fpj-api"
    spec = found["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "fpj-api" and pod["terminationGracePeriodSeconds"] == 30
    (container,) = pod["containers"]
    assert container["command"] == ["fpj-api"]
    assert [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")] == [
        "/livez",
        "/readyz",
    ]
    assert [container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("liveness", "readiness")] == [
        "probes"
    ] * 2
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["probes"] == 8081
    policy = found["NetworkPolicy"]["spec"]["ingress"]
    assert 8081 not in {port["port"] for rule in policy for port in rule["ports"]}, (
        "the kubelet alone gets through"
    )
    # Whatever selects the one may not select the other.
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"].items()
        for each in rendered
        if each["kind"] == "Deployment"
    }
    selectors = [
        (each["metadata"]["labels"]["app.kubernetes.io/name"], selected.items())
        for each in rendered
        for selected in (
            each.get("spec", {}).get("selector", {}).get("matchLabels")
            or (each["spec"]["selector"] if each["kind"] == "Service" else None),
        )
        if selected
    ]
    assert len(selectors) == 7, (
        "two Deployments, budgets and Services for metrics, and the API's Service"
    )
    for name, selected in selectors:
        assert [deployment for deployment, has in labels.items() if selected <= has] == [name]


def test_with_named_namespaces_the_api_asks_the_cluster_for_reviews_alone(offline: Helm) -> None:
    rendered = offline.render("fpj", watchNamespaces=["a", "b"], api={"enabled": True}, **SECOND)
    roles = [each for each in rendered if each["kind"] in ("Role", "ClusterRole")]
    mine = {name_of(each): each["rules"] for each in roles if "api" in each["metadata"]["name"]}
    assert mine == {
        ("Role", "a", "fpj-api"): rules(API, Where.JOBS),
        ("Role", "b", "fpj-api"): rules(API, Where.JOBS),
        ("ClusterRole", "", "default-fpj-api-reviews"): rules(API, Where.CLUSTER),
    }
    assert [each["verbs"] for each in rules(API, Where.CLUSTER)] == [["create"], ["create"]]
    assert [each["metadata"]["name"] for each in roles if each["kind"] == "ClusterRole"] == [
        "default-fpj-api-reviews"
    ]


def test_what_the_api_is_told(offline: Helm) -> None:
    given = yaml.safe_load((CHART / "ci" / "api-everything-values.yaml").read_text())
    variables = environment(offline.render(**(given | {"watchNamespaces": ["a", "b"]})), "api")
    assert variables == {
        "FPJ_STORE": "from a Secret",
        "FPJ_NAMESPACES": "a,b",
        "FPJ_API_PORT": "8080",
        "FPJ_METRICS_PORT": "9090",
        "FPJ_API_PROBE_PORT": "8081",
        "FPJ_API_JWT_ONLY": "true",
        "FPJ_API_TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32",
        "FPJ_API_AUDIENCES": "fpj,https://images.example.com",
        "FPJ_API_MOST_STREAMS": "1000000",
        "FPJ_API_REVIEW_SECONDS": "2.5",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    settings = settings_from(variables | {"FPJ_STORE": URI})
    assert (settings.audiences, settings.most_streams, settings.review_seconds) == (
        ("fpj", "https://images.example.com"),
        1_000_000,
        2.5,
    )
    assert settings.namespaces == ("a", "b")
    known = {each.metadata["variable"] for each in fields(ApiSettings)}
    assert {name for name in variables if name.startswith("FPJ_")} <= known, (
        "it reads whatever the chart tells it"
    )
    plain = environment(offline.render(api={"enabled": True}), "api")
    assert settings_from(plain | {"FPJ_STORE": URI}) == settings_from({"FPJ_STORE": URI}), (
        "the API's defaults"
    )
    off = environment(offline.render(api={"enabled": True}, metrics={"enabled": False}), "api")
    assert off["FPJ_METRICS_PORT"] == "0"


def test_ways_to_the_api(offline: Helm) -> None:
    """Whatever leads there leads to its Service."""
    given = yaml.safe_load((CHART / "ci" / "api-everything-values.yaml").read_text())
    found = of_the_api(offline.render(**given))
    service = found["Service"]
    (port,) = service["spec"]["ports"]
    assert (service["metadata"]["name"], port["name"], port["port"]) == ("fpj-api", "http", 8080)
    hosts = [rule["host"] for rule in found["Ingress"]["spec"]["rules"]]
    assert hosts == given["api"]["ingress"]["hosts"]
    backends = [rule["http"]["paths"][0]["backend"] for rule in found["Ingress"]["spec"]["rules"]]
    assert backends == [{"service": {"name": "fpj-api", "port": {"name": "http"}}}] * 2
    (route,) = found["HTTPRoute"]["spec"]["rules"]
    assert route["backendRefs"] == [{"name": "fpj-api", "port": 8080}]
    (peers, _metrics) = found["NetworkPolicy"]["spec"]["ingress"]
    tester, *others = peers["from"]
    assert tester["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "fpj-test", (
        "`helm test` gets through"
    )
    assert others == given["api"]["networkPolicy"]["from"]


def test_the_notes_lead_to_the_dashboard(offline: Helm) -> None:
    def notes(**values: Any) -> str:
        shown = offline("install", "fpj", CHART, "--dry-run=client", values=with_database(values))
        return shown.partition("NOTES:")[2]

    assert "dashboard" not in notes()
    shown = notes(api={"enabled": True, "audiences": ["fpj"], "service": {"port": 81}})
    assert "port-forward service/fpj-api 8080:81" in shown
    assert 'create token viewer --audience="fpj"' in shown
    ingress = {"enabled": True, "hosts": ["images.example.com"], "tls": [{"secretName": "tls"}]}
    assert "The dashboard is at https://images.example.com" in notes(
        api={"enabled": True, "ingress": ingress}
    )
