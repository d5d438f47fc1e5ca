"""The API's own rights, against the real API server: each has a use, and none is missing.

As `test_rights` does it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from accounts import account, grant, kubeconfig, token
from api_process import ApiProcess, Client
from audit import Audit, Request
from planes import fresh_namespace
from waiting import wait_for
from world import job_manifest, resource, schedule_manifest

from fpj_cluster import Cluster, Kube
from fpj_generate.rights import API, PEOPLE, Right, Where, rules

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def team(plane: Cluster) -> Iterator[tuple[Kube, str]]:
    """A namespace with a job, and the token of somebody who may do everything with jobs there."""
    with fresh_namespace(plane.kube) as namespace:
        there = plane.kube.within(namespace)
        storage = {"persistentVolumeClaim": {"claimName": "cache"}}
        there.apply(
            job_manifest("old", "photos"), resource("CacheFolder", "cache", {"storage": storage})
        )
        there.apply(schedule_manifest(), resource("CachePurge", "old", PURGE))
        user = account(plane.kube, namespace, "ann")
        grant(plane.kube, "all-of-fpj", user, rules(PEOPLE["fpj-admin"][1], *Where), namespace)
        yield there, token(plane.kube, user)


@dataclass
class Served:
    """An API with some rights, and what somebody asks of it."""

    api: ApiProcess
    client: Client
    kube: Kube
    user: str
    namespace: str

    def status(self, method: str, path: str, body: object = None) -> int:
        return self.client.ask(method, f"/api/v1{path.format(namespace=self.namespace)}", body)[0]

    def shown(self, what: str) -> list[str]:
        status, found = self.client.ask("GET", f"/api/v1/{what}?namespace={self.namespace}")
        return [each["name"] for each in found["items"]] if status == 200 else []


@contextmanager
def serving(
    plane: Cluster, team: tuple[Kube, str], mongodb: str, folder: Path, rights: tuple[Right, ...]
) -> Iterator[Served]:
    kube, theirs = team
    name = f"api-{uuid.uuid4().hex[:8]}"
    namespace = kube("get", "serviceaccount", "ann", "--output=jsonpath={.metadata.namespace}")
    user = account(plane.kube, namespace, name)
    grant(plane.kube, name, user, rules(rights, Where.JOBS), namespace)
    grant(plane.kube, f"{name}-reviews", user, rules(rights, Where.CLUSTER))
    settings = {"FPJ_NAMESPACES": namespace, "FPJ_API_REVIEW_SECONDS": "1"}
    config = kubeconfig(plane.kube, user, folder / f"{name}.kubeconfig")
    api = ApiProcess(config, f"{mongodb}/{name}", folder, settings)
    with ExitStack() as stack:
        stack.push(api)  # it may never become ready, and is not waited for
        api.start(wait=False)
        wait_for(lambda: api.probe("livez") == 200, lambda: f"it lives\n{api.log}", 60)
        yield Served(api, Client(api.url, theirs), kube, user, namespace)
        assert api.stop() == 0


def doomed(served: Served) -> int:
    name = f"doomed-{uuid.uuid4().hex[:8]}"
    served.kube.apply(job_manifest(name, "photos"))
    return served.status("DELETE", f"/namespaces/{{namespace}}/jobs/{name}")


def made(served: Served) -> int:
    body = {
        "name": f"made-{uuid.uuid4().hex[:8]}",
        "spec": job_manifest("unused", "photos")["spec"],
    }
    return served.status("POST", "/namespaces/{namespace}/jobs", body)


JOB = "/namespaces/{namespace}/jobs/old"
FOLDER = "/namespaces/{namespace}/cache/folders/cache"
PURGES = "/namespaces/{namespace}/cache/purges"
PURGE = {"cacheFolder": "cache", "collection": "photos", "all": True}
EFFECTS: dict[Request, tuple[str, Callable[[Served], bool]]] = {
    # A right: what does not happen without it
    ("fpj.dev", "fileprocessingjobs", "list"): (
        "jobs are shown",
        lambda served: "old" in served.shown("jobs"),
    ),
    ("fpj.dev", "fileprocessingjobs", "watch"): (
        "a watch of the jobs holds",
        lambda served: "the watch of jobs broke" not in served.api.log,
    ),
    ("fpj.dev", "fileprocessingjobs", "get"): (
        "a job is shown",
        lambda served: served.status("GET", JOB) == 200,
    ),
    ("fpj.dev", "fileprocessingjobs", "create"): (
        "a job is made",
        lambda served: made(served) == 201,
    ),
    ("fpj.dev", "fileprocessingjobs", "delete"): (
        "a job is deleted",
        lambda served: doomed(served) == 202,
    ),
    ("fpj.dev", "fileprocessingjobs", "patch"): (
        "a job is suspended",
        lambda served: (
            served.status("POST", f"{JOB}/suspend") == 202
            and served.status("POST", f"{JOB}/resume") == 202
        ),
    ),
    ("fpj.dev", "cachefolders", "list"): (
        "cache folders are shown",
        lambda served: served.shown("cache/folders") == ["cache"],
    ),
    ("fpj.dev", "cachefolders", "get"): (
        "a cache folder is shown",
        lambda served: served.status("GET", FOLDER) == 200,
    ),
    ("fpj.dev", "cachefolders", "patch"): (
        "a cache folder is cleaned up",
        lambda served: served.status("POST", f"{FOLDER}/cleanup") == 202,
    ),
    ("fpj.dev", "cachepurges", "list"): (
        "purges are shown",
        lambda served: served.status("GET", PURGES) == 200,
    ),
    ("fpj.dev", "cachepurges", "get"): (
        "a purge is shown",
        lambda served: served.status("GET", f"{PURGES}/old") == 200,
    ),
    ("fpj.dev", "cachepurges", "create"): (
        "a purge is ordered",
        lambda served: served.status("POST", PURGES, PURGE) == 201,
    ),
    ("fpj.dev", "fileprocessingschedules", "list"): (
        "schedules are shown",
        lambda served: served.shown("schedules") == ["nightly"],
    ),
    ("", "events", "list"): (
        "a job is shown with its events",
        lambda served: served.status("GET", JOB) == 200,
    ),
    ("authentication.k8s.io", "tokenreviews", "create"): (
        "anybody is let in",
        lambda served: served.status("GET", "/jobs?namespace={namespace}") == 200,
    ),
    ("authorization.k8s.io", "subjectaccessreviews", "create"): (
        "anybody may do anything",
        lambda served: served.status("GET", "/jobs?namespace={namespace}") == 200,
    ),
}


def without(lacking: Request) -> tuple[Right, ...]:
    """The API's rights but for one verb of one resource."""
    left = []
    for right in API:
        for name in right.resources.split():
            verbs = [verb for verb in right.verbs.split() if (right.group, name, verb) != lacking]
            if verbs:
                left.append(replace(right, resources=name, verbs=" ".join(verbs)))
    return tuple(left)


def test_every_right_has_its_use() -> None:
    granted = {
        (right.group, name, verb)
        for right in API
        for name in right.resources.split()
        for verb in right.verbs.split()
    }
    assert granted == set(EFFECTS)


def test_with_every_right_all_of_it_happens_and_no_more_is_asked_for(
    plane: Cluster, team: tuple[Kube, str], audit: Audit, mongodb_server: str, tmp_path: Path
) -> None:
    with serving(plane, team, mongodb_server, tmp_path, API) as served:
        for what, happens in EFFECTS.values():
            wait_for(lambda: happens(served), lambda: f"{what}\n{served.api.log[-5_000:]}", 30)  # noqa: B023
        assert audit.refused(served.user) == set()
        assert audit.used(served.user) == set(EFFECTS)


@pytest.mark.parametrize("lacking", EFFECTS, ids=lambda request: f"{request[1]}-{request[2]}")
def test_without_a_right_something_does_not_happen(
    plane: Cluster,
    team: tuple[Kube, str],
    audit: Audit,
    mongodb_server: str,
    tmp_path: Path,
    lacking: Request,
) -> None:
    """And the API server says that it was this right; the API lives on, and says so too."""
    what, happens = EFFECTS[lacking]
    with serving(plane, team, mongodb_server, tmp_path, without(lacking)) as served:

        def refused() -> bool:
            happens(served)
            return lacking in audit.refused(served.user)

        wait_for(refused, lambda: f"a refusal of {lacking}\n{served.api.log[-5_000:]}", 30)
        wait_for(lambda: not happens(served), lambda: f"without the right, {what} anyway", 10)
        assert audit.refused(served.user) == {lacking}
