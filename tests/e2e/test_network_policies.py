"""The chart's network policies on a node that heeds them:
what they are to let through gets through, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.connections import listener, reached
from e2e.installation import (
    MISBEHAVING_SETTINGS,
    SYSTEM,
    Site,
    build_image,
    misbehaving,
    only_installation,
)
from e2e.photographs import LITTLE, RESTRICTED, TIERS, photographs
from e2e.test_helm import IMAGE, HelmInstallation
from e2e.truth import sizes_in
from helm import CHART, Helm
from network_policies import enforced
from planes import fresh_namespace, with_crds
from typing_extensions import override
from waiting import wait_for
from world import Document

import fpj_core
from fpj_cluster import Cluster, Kube
from fpj_cluster.layout import API_SERVICE_ADDRESS, NODE_ADDRESS

# The first test waits for the image, and for the other installations.
pytestmark = pytest.mark.timeout(900)

HEALTH = HTTP = 8080
METRICS = 9090
PROBES = 8081
DNS, HTTPS, STORAGE, STRANGE = 53, 443, 9000, 5432
"""Ports of some other pod, of which the policies are to allow all but the last one,
and storage to workers alone.
"""


class Installed(HelmInstallation):
    """fpj as its chart installs it, with policies or without, and other pods, of which one scrapes
    metrics.
    """

    @override
    def _start_operator(self, started: ExitStack) -> None:
        self._remove_what_is_there()
        with_crds(self.kube)
        self.helm = Helm(self.kube.kubeconfig, self._folder, SYSTEM)
        self.jobs = started.enter_context(fresh_namespace(self.kube, RESTRICTED))
        self.others = self.kube.within(started.enter_context(fresh_namespace(self.kube)))
        self.api_port = urlsplit(self._cluster.server).port or 0
        ports = (DNS, HTTPS, STORAGE, STRANGE, self.api_port, self.database.port)
        image = f"{IMAGE}:{fpj_core.__version__}"
        self.others.apply(
            *(
                listener(name, image, ports, {"app": name})
                for name in ("stray", "prometheus", "gateway")
            )
        )
        marks = {"app.kubernetes.io/managed-by": "fpj-operator"}
        self.kube.within(self.jobs).apply(listener("worker", image, [STRANGE], marks))
        started.callback(self.helm, "uninstall", "fpj", "--wait", "--ignore-not-found")
        self._install(enabled=False)
        self.others.wait("condition=Ready", "pod/stray", "pod/prometheus", "pod/gateway")
        self.kube.within(self.jobs).wait("condition=Ready", "pod/worker")

    def protect(self) -> None:
        """Switch the policies on. Operators restart under them."""
        self._install(
            enabled=True,
            apiServerPorts=[HTTPS, self.api_port],
            mongodbPorts=[self.database.port],
            mongodbPeers=[{"ipBlock": {"cidr": f"{NODE_ADDRESS}/32"}}],
            storagePorts=[STORAGE],
            metricsFrom=self._peers("prometheus"),
        )

    def _peers(self, name: str) -> list[Document]:
        """One of the other pods, as a policy names it."""
        namespace = {"matchLabels": {"kubernetes.io/metadata.name": self.others.namespace}}
        return [{"namespaceSelector": namespace, "podSelector": {"matchLabels": {"app": name}}}]

    def _install(self, **policy: Any) -> None:
        values = {
            "image": {"repository": IMAGE},
            "mongodb": {"uri": self.database.url},
            "crds": {"enabled": False},  # they stay for the next installation
            "watchNamespaces": [self.jobs],
            "settings": MISBEHAVING_SETTINGS,
            # So that an upgrade makes new pods.
            "podAnnotations": {"policies": str(policy["enabled"])},
            "networkPolicy": policy,
            "api": {
                "enabled": True,
                "replicas": 1,
                "podAnnotations": {"policies": str(policy["enabled"])},
                "networkPolicy": {"from": self._peers("gateway")},
            },
        }
        self.helm(
            "upgrade", "fpj", CHART, "--install", "--create-namespace", "--wait", values=values
        )
        wait_for(lambda: self.leader, lambda: f"an operator leads\n{self.log}", 60)

    def operator(self) -> str:
        """The name of one that runs."""
        return str(self.operators[0]["metadata"]["name"])

    @property
    def served(self) -> set[str]:
        """What operators and the API listen on, and a pod that passes for a worker:
        real ones listen on nothing.
        """
        worker = self.kube.within(self.jobs).json("get", "pod", "worker")["status"]["podIP"]
        operators = {
            f"tcp:{pod['status']['podIP']}:{port}"
            for pod in self.operators
            for port in (HEALTH, METRICS)
        }
        return operators | self.of_api(HTTP, PROBES, METRICS) | {f"tcp:{worker}:{STRANGE}"}

    @property
    def api_pod(self) -> Document:
        """Its pod; one that an upgrade has ended does not count."""
        pods = self.system.items("pods", "--selector=app.kubernetes.io/name=fpj-api")
        (found,) = (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
        return found

    def of_api(self, *ports: int) -> set[str]:
        """Ports of the API."""
        return {f"tcp:{self.api_pod['status']['podIP']}:{port}" for port in ports}

    @property
    def needed(self) -> set[str]:
        """What operators and workers cannot do without: MongoDB,
        and the API server by either address.
        """
        api = {f"tcp:{NODE_ADDRESS}:{self.api_port}", f"tcp:{API_SERVICE_ADDRESS}:{HTTPS}"}
        return api | {f"tcp:{NODE_ADDRESS}:{self.database.port}"}

    def of_stray(self, *ports: int) -> set[str]:
        """Ports of a pod that has nothing to do with fpj.

        On that of name servers it answers datagrams too.
        """
        address = self.others.json("get", "pod", "stray")["status"]["podIP"]
        return {f"tcp:{address}:{port}" for port in ports} | (
            {f"udp:{address}:{DNS}"} if DNS in ports else set()
        )

    @property
    def everything(self) -> set[str]:
        return self.needed | self.of_stray(
            DNS, HTTPS, STORAGE, STRANGE, self.api_port, self.database.port
        )


@pytest.fixture(scope="module")
def fpj(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("policies")
    build_image(folder / "fpj.tar", f"{IMAGE}:{fpj_core.__version__}")
    node_cluster.import_image(folder / "fpj.tar")
    (folder / "fpj.tar").unlink()
    with (
        only_installation(tmp_path_factory),
        enforced(node_cluster, folder),
        Installed(node_cluster, folder) as installed,
    ):
        yield installed


@pytest.fixture(scope="module")
def site(fpj: Installed, tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(fpj, fpj.jobs, tmp_path_factory.mktemp("site"))
    photographs(site.folder / "photographs", 60, 0)
    site.claim("photographs", site.folder / "photographs")
    return site


def comes_to_reach(kube: Kube, pod: str, targets: set[str], allowed: set[str]) -> None:
    """Of the targets a pod reaches the allowed ones and no other,
    if not at once then when its rules are written.
    """
    wait_for(
        lambda: reached(kube, pod, targets) == allowed,
        lambda: (
            f"{pod} should reach {sorted(allowed)}, and reaches"
            f" {sorted(reached(kube, pod, targets))}"
        ),
        30,
    )


def test_without_policies_everything_is_open(fpj: Installed) -> None:
    """So what is closed later is closed by them."""
    served = fpj.served
    assert reached(fpj.others, "stray", served) == served
    assert reached(fpj.others, "prometheus", served) == served
    assert reached(fpj.system, fpj.operator(), fpj.everything) == fpj.everything


def test_strangers_are_kept_out_and_others_let_in(fpj: Installed) -> None:
    fpj.protect()
    served = fpj.served
    comes_to_reach(fpj.others, "stray", served, set())
    comes_to_reach(
        fpj.others, "prometheus", served, {each for each in served if each.endswith(f":{METRICS}")}
    )
    # Where name and API servers are, nobody knows.
    allowed = fpj.needed | fpj.of_stray(DNS, HTTPS, fpj.api_port)
    comes_to_reach(fpj.system, fpj.operator(), fpj.everything, allowed)
    comes_to_reach(fpj.others, "gateway", served, fpj.of_api(HTTP))
    comes_to_reach(fpj.system, fpj.api_pod["metadata"]["name"], fpj.everything, allowed)
    assert reached(fpj.others, "prometheus", fpj.everything) == fpj.everything, (
        "other pods do not notice"
    )


def test_a_job_runs_from_apply_to_its_end_and_helm_test_passes(fpj: Installed, site: Site) -> None:
    sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 30}
    site.job(
        "kept-in", "photographs", sharding=sharding, workerTemplate=misbehaving(slowness=1), **TIERS
    )
    site.until(lambda: len(running(site)) == 2, "two workers run")
    worker = running(site)[0]["metadata"]["name"]
    allowed = fpj.needed | fpj.of_stray(DNS, HTTPS, STORAGE, fpj.api_port)
    comes_to_reach(site.kube, worker, fpj.everything, allowed)
    assert "the store answers: ok" in fpj.helm("test", "fpj", "--logs")
    site.wait_end("kept-in")
    site.check("kept-in", sizes_in(site.folder / "photographs"), LITTLE)
    job = site.kube.json("get", "fpj", "kept-in")
    assert {each["type"]: each["status"] for each in job["status"]["conditions"]}[
        "Complete"
    ] == "True"


def running(site: Site) -> list[Document]:
    return [pod for pod in site.pods("kept-in") if pod["status"].get("phase") == "Running"]
