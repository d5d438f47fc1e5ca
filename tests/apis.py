"""What tests of the API have in common: its rights, people of each role, namespaces,
and a process that serves them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from accounts import account, grant, kubeconfig, token
from api_process import ApiProcess, Client
from planes import ROOT, fresh_namespace, with_crds
from podrunner import Api
from podrunner.api import MERGE
from waiting import wait_for
from world import job_manifest, resource, schedule_manifest

from fpj_cluster import Cluster, Kube
from fpj_generate.rights import API, Where, rules

Document = dict[str, Any]

JOBS_RULES, REVIEW_RULES = rules(API, Where.JOBS), rules(API, Where.CLUSTER)
"""All that the API itself needs, and all that the chart grants it."""

ROLES = ("nobody", "fpj-view", "fpj-cache-manager", "fpj-admin")


class Place:
    """Namespaces ``one``, where there is somebody of each role, and ``two``,
    where they have no rights.
    """

    def __init__(self, cluster: Cluster, store: str, folder: Path) -> None:
        self.cluster, self.store_url, self.folder = cluster, store, folder
        self.kube: Kube = with_crds(cluster.kube)
        self.api = Api(cluster.kubeconfig)
        self._stack = ExitStack()

    def __enter__(self) -> Place:
        manifests = yaml.safe_load_all((ROOT / "deploy" / "operator.yaml").read_text())
        self.kube.apply(*(each for each in manifests if each["metadata"]["name"] in ROLES))
        self.one = self._stack.enter_context(fresh_namespace(self.kube))
        self.two = self._stack.enter_context(fresh_namespace(self.kube))
        self.tokens = {}
        for role in ROLES:
            user = account(self.kube, self.one, role)
            if role != "nobody":
                grant(self.kube, role, user, None, self.one)
            self.tokens[role] = token(self.kube, user)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.api.close()

    def user(self, role: str) -> str:
        return f"system:serviceaccount:{self.one}:{role}"

    @contextmanager
    def serving(
        self, settings: Mapping[str, str] | None = None, where: Path | None = None
    ) -> Iterator[ApiProcess]:
        """The API, with its own rights; ``where`` is another kubeconfig than its account's."""
        with ApiProcess(
            where or self.own_kubeconfig(), self.store_url, self.folder, settings
        ) as process:
            yield process

    def own_kubeconfig(self) -> Path:
        """Of the API's account, which may do what `JOBS_RULES` and `REVIEW_RULES` say,
        and no more.
        """
        user = account(self.kube, self.one, "fpj-api")
        grant(self.kube, f"fpj-api-{self.one}", user, [*JOBS_RULES, *REVIEW_RULES])
        path = kubeconfig(self.kube, user, self.folder / "api.kubeconfig")
        may = ["auth", "can-i", "watch", "fileprocessingjobs", "--all-namespaces", "--as", user]
        wait_for(lambda: _says_yes(self.kube, may), "the API has its rights", 30)
        return path

    def client(self, process: ApiProcess, role: str) -> Client:
        return Client(process.url, self.tokens[role])

    # Resources ------------------------------------------------------------------------------------

    def path(self, namespace: str, name: str = "", plural: str = "fileprocessingjobs") -> str:
        return f"/apis/fpj.dev/v1alpha1/namespaces/{namespace}/{plural}" + (
            f"/{name}" if name else ""
        )

    def job(
        self, namespace: str, name: str, status: Mapping[str, Any] | None = None, **spec: Any
    ) -> Document:
        """A job that no operator looks at; ``status`` as if one had."""
        manifest = job_manifest(name, "photos", **spec)
        made = self.api.call("POST", self.path(namespace), manifest)
        if status:
            made = self.report(namespace, name, status)
        return made

    def report(self, namespace: str, name: str, status: Mapping[str, Any]) -> Document:
        """Write its status."""
        changed = self.api.patch(
            self.path(namespace, name) + "/status", {"status": dict(status)}, MERGE
        )
        assert changed
        return changed

    def get(self, namespace: str, name: str) -> Document:
        found = self.api.get(self.path(namespace, name))
        assert found
        return found

    def furnish(self, namespace: str) -> None:
        """A cache folder and a schedule."""
        storage = {"persistentVolumeClaim": {"claimName": "cache", "path": "a/b"}}
        spec = {
            "storage": storage,
            "maxBytes": "1Gi",
            "policy": {"eviction": "LRU", "ttl": 3600, "highWatermark": 95},
        }
        spec |= {"layout": "Mirror"}
        self.kube.within(namespace).apply(
            resource("CacheFolder", "cache", spec), schedule_manifest()
        )


def seen(client: Client, name: str) -> bool:
    """Whether a job has come to the API's own memory."""
    return name in [job["name"] for job in client.get(f"/api/v1/jobs?search={name}")["items"]]


def _says_yes(kube: Kube, question: list[str]) -> bool:
    with contextlib.suppress(Exception):
        return kube(*question).strip() == "yes"
    return False


@contextmanager
def place_in(cluster: Cluster, mongodb: str, folder: Path) -> Iterator[Place]:
    """A place with a database of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with Place(cluster, "", folder) as place:
        place.store_url = f"{mongodb}/{place.one.replace('-', '_')}"
        yield place
