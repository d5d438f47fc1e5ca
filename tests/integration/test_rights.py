"""Who may do what, against the real API server: no right that nobody needs,
none that is too much.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from accounts import Caller, account, grant, kubeconfig, token
from audit import Audit
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from operator_process import OperatorProcess
from planes import ROOT, fresh_namespace
from podrunner import Api
from podrunner.api import MERGE
from typing_extensions import override
from waiting import wait_for
from world import World, job_manifest, resource, schedule_manifest, slowly

from fpj_cluster import Cluster, Kube
from fpj_core.kube.api import Cluster as OperatorCluster
from fpj_core.kube.names import FINALIZER
from fpj_generate.rights import OPERATOR, PEOPLE, Right, Where, rules
from fpj_operator.selftest import check

pytestmark = pytest.mark.timeout(300)

Request = tuple[str, str, str]
JOBS = "/apis/fpj.dev/v1alpha1/namespaces/{}/fileprocessingjobs"
SCHEDULES = "/apis/fpj.dev/v1alpha1/namespaces/{}/fileprocessingschedules"
PURGES = "/apis/fpj.dev/v1alpha1/namespaces/{}/cachepurges"
FOLDERS = "/apis/fpj.dev/v1alpha1/namespaces/{}/cachefolders"
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def admin(plane: Cluster) -> Kube:
    """kubectl there."""
    return plane.kube


@pytest.fixture(scope="module")
def api(plane: Cluster) -> Iterator[Api]:
    api = Api(plane.kubeconfig)
    yield api
    api.close()


def granted(rights: tuple[Right, ...]) -> set[Request]:
    return {
        (right.group, resource, verb)
        for right in rights
        for resource in right.resources.split()
        for verb in right.verbs.split()
    }


# The operator -------------------------------------------------------------------------------------


def test_nothing_is_granted_that_the_life_of_jobs_does_not_use(
    plane: Cluster, audit: Audit, mongodb_server: str, tmp_path: Path
) -> None:
    """And all that it uses is granted, or the jobs would not come to their end."""
    with (
        fresh_namespace(plane.kube) as namespace,
        World(plane, namespace, mongodb_server, tmp_path / "world") as world,
    ):
        user = account(plane.kube, namespace, "fpj-operator")
        grant(plane.kube, "fpj-operator", user, rules(OPERATOR, *Where))
        operator = world.operator(start=False, namespaces="", check_seconds=1)
        operator.add({"KUBECONFIG": str(kubeconfig(plane.kube, user, tmp_path / "kubeconfig"))})
        operator.start()
        world.cache_folder()
        live_every_kind_of_life(world)
        assert audit.refused(user) == set()
        assert audit.used(user) == granted(OPERATOR)
        asked = audit.addresses(user, "jobs", "list", "watch")
        assert asked and all("labelSelector=fpj.dev/job-uid" in unquote(each) for each in asked), (
            "only ours"
        )
        pods = audit.addresses(user, "pods", "list")
        assert pods and all("limit=" in each and "labelSelector=" in each for each in pods), (
            "few of our own pods"
        )
        assert operator.stop() == 0


def live_every_kind_of_life(world: World) -> None:
    world.photos("photos", 4)
    world.kube.apply(schedule_manifest("often", schedule="* * * * *", successfulJobsHistoryLimit=0))
    world.job("whole", "photos", collection="whole", ttlSecondsAfterFinished=1)
    world.until(
        lambda: world.runner.api.get(world.path("whole")) is None,
        "the job goes when its time is over",
    )

    purge = {"cacheFolder": "cache", "collection": "whole", "all": True}
    world.kube.apply(resource("CachePurge", "brief", purge | {"ttlSecondsAfterFinished": 1}))
    world.until(
        lambda: world.runner.api.get(world.path("brief", "cachepurges")) is None,
        "the purge goes when its time is over",
    )

    world.runner.refuse("unpulled-")
    world.job("unpulled", "photos", collection="unpulled")
    world.wait_reason("unpulled", "ImagePullFailed", "Progressing")
    world.runner.accept()
    world.wait_end("unpulled")

    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    world.kube.apply(quota)
    world.kube.wait("jsonpath={.status.hard.pods}=0", "resourcequota/none")
    world.job("forbidden", "photos", collection="forbidden")
    world.wait_reason("forbidden", "PodsForbidden", "Progressing")
    world.kube("delete", "resourcequota", "none")
    world.kube("delete", "fpj", "forbidden", "--wait=false")

    world.job("old", "photos", collection="old", suspend=True)
    held = {"metadata": {"finalizers": [FINALIZER]}}  # by an operator of an earlier version
    world.runner.api.patch(world.path("old"), held, MERGE)
    world.until(
        lambda: not world.get("old")["metadata"].get("finalizers"), "the finalizer is taken off"
    )

    with slowly(world, 0.5):
        world.job("again", "photos", collection="again")
        world.wait_pod("again")
        world.resume("again")  # replaces the children
        world.until(
            lambda: world.status("again").get("attempt", {}).get("number", 0) > 1, "another attempt"
        )
    world.wait_end("again")
    often = SCHEDULES.format(world.namespace) + "/often"
    ended = "lastSuccessfulTime"
    world.until(
        lambda: ended in (world.runner.api.get(often) or {}).get("status", {}),
        "a run of the schedule ends",
        150,
    )


class Case:
    """An operator that lacks one right, or none, with a job that waits for a node."""

    def __init__(
        self, plane: Cluster, api: Api, without: Right | None, mongodb: str, folder: Path
    ) -> None:
        self.api = api
        self.name = f"case-{uuid.uuid4().hex[:8]}"
        self.own = f"{self.name}-own"
        self.admin = plane.kube
        self.whole = without is not None and without.where is Where.CLUSTER
        left = tuple(right for right in OPERATOR if right is not without)
        for namespace in (self.name, self.own):
            self.admin.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            )
            self.admin.wait("create", "serviceaccount/default", "--namespace", namespace)
        self.user = account(self.admin, self.own, "fpj-operator")
        grant(self.admin, "own", self.user, rules(left, Where.OWN), self.own)
        grant(self.admin, "jobs", self.user, rules(left, Where.JOBS), self.name)
        self.operator = OperatorProcess(
            plane.kubeconfig, self.name, f"{mongodb}/{self.name}", folder
        )
        self.operator.add(
            {
                "KUBECONFIG": str(
                    kubeconfig(self.admin, self.user, folder / f"{self.name}.kubeconfig")
                ),
                "FPJ_OWN_NAMESPACE": self.own,
                "FPJ_NAMESPACES": "" if self.whole else self.name,
            }
        )
        if self.whole:
            # It sees every job of the cluster, and may do nothing about those of the other cases.
            seen = [rule | {"verbs": ["list", "watch"]} for rule in rules(left, Where.JOBS)]
            grant(self.admin, self.name, self.user, seen)
        here = self.admin.within(self.name)
        storage = {"persistentVolumeClaim": {"claimName": "cache"}}
        held = {"name": "held", "finalizers": ["test.fpj.dev/held"]}
        container = {"name": "main", "image": "none"}
        self.manifest = job_manifest("job", "photos")
        here.apply(
            resource("CacheFolder", "cache", {"storage": storage}),
            self.manifest,
            schedule_manifest(schedule="0 3 1 1 *"),
            resource("CachePurge", "it", NEW_PURGE["spec"]),
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": held,
                "spec": {"containers": [container]},
            },
        )
        self.operator.start(wait=False)

    def job(self) -> dict[str, Any]:
        return self.api.get(JOBS.format(self.name) + "/job") or {}

    def schedule(self) -> dict[str, Any]:
        return self.api.get(SCHEDULES.format(self.name) + "/nightly") or {}

    def purge(self) -> dict[str, Any]:
        return self.api.get(PURGES.format(self.name) + "/it") or {}

    def condition(self, kind: str) -> str:
        found = self.job().get("status", {}).get("conditions", [])
        return next((str(each["reason"]) for each in found if each["type"] == kind), "")

    def items(self, path: str, namespace: str = "") -> list[str]:
        group, _, plural = path.rpartition("/")
        found = self.api.items(f"/{group}/namespaces/{namespace or self.name}/{plural}")
        return [each["metadata"]["name"] for each in found]

    def close(self) -> None:
        self.operator.close()
        self.api.patch(JOBS.format(self.name) + "/job", {"metadata": {"finalizers": None}}, MERGE)
        self.api.patch(
            f"/api/v1/namespaces/{self.name}/pods/held", {"metadata": {"finalizers": None}}, MERGE
        )
        self.admin("delete", "namespace", self.name, self.own, "--wait=false")


def children(case: Case) -> bool:
    return bool(case.items("apis/batch/v1/jobs"))


def goes_with_its_namespace(case: Case) -> bool:
    """Pods are deleted first, and one is held: what goes before that one is what the operator
    deletes.
    """
    case.admin("delete", "namespace", case.name, "--wait=false", "--ignore-not-found")
    return not case.job()


EFFECTS: dict[str, tuple[str, Callable[[Case], bool]]] = {
    # Right, as in OPERATOR: what does not happen without it
    "fileprocessingjobs": (
        "a job gets a phase",
        lambda case: bool(case.job().get("status", {}).get("phase")),
    ),
    "fileprocessingschedules": (
        "a schedule says when it runs",
        lambda case: bool(case.schedule().get("status", {}).get("conditions")),
    ),
    "cachepurges": (
        "a purge gets a phase",
        lambda case: bool(case.purge().get("status", {}).get("phase")),
    ),
    "fileprocessingjobs/status cachefolders/status fileprocessingschedules/status"
    " cachepurges/status": (
        "a job gets a phase",
        lambda case: bool(case.job().get("status", {}).get("phase")),
    ),
    "cachefolders": ("a job finds its cache folder", children),
    "jobs": ("a job gets children", children),
    "pods": (
        "a job says that its pods wait for a node",
        lambda case: case.condition("Progressing") == "PodsUnschedulable",
    ),
    "events": (
        "a job's steps are recorded as events",
        lambda case: any(
            name.startswith("job-") for name in case.items("api/v1/events") if ".indexing" in name
        ),
    ),
    "serviceaccounts": (
        "workers get an account",
        lambda case: len(case.items("api/v1/serviceaccounts")) > 1,
    ),
    "roles rolebindings": (
        "workers may report",
        lambda case: any(
            name.startswith("job-")
            for name in case.items("apis/rbac.authorization.k8s.io/v1/rolebindings")
        ),
    ),
    "leases": (
        "a collection is locked",
        lambda case: bool(case.items("apis/coordination.k8s.io/v1/leases")),
    ),
    "namespaces": ("a job goes with its namespace", goes_with_its_namespace),
    "leases (own)": (
        "an operator leads",
        lambda case: "fpj-operator" in case.items("apis/coordination.k8s.io/v1/leases", case.own),
    ),
    "customresourcedefinitions": (
        "resources that are defined later are noticed",
        lambda case: (
            "customresourcedefinitions.apiextensions.k8s.io is forbidden" not in case.operator.log
        ),
    ),
}


def effect_of(right: Right) -> tuple[str, Callable[[Case], bool]]:
    return EFFECTS[right.resources + (" (own)" if right.where is Where.OWN else "")]


@pytest.fixture(scope="module")
def cases(
    plane: Cluster, api: Api, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Right | None, Case]]:
    """One for each right, and one that lacks none. They run side by side."""
    folder = tmp_path_factory.mktemp("cases")
    made = {
        without: Case(plane, api, without, mongodb_server, folder) for without in (None, *OPERATOR)
    }
    yield made
    for case in made.values():
        case.close()


@pytest.mark.parametrize(
    "right", OPERATOR, ids=lambda right: f"{right.resources}-{right.where.name}"
)
def test_without_a_right_something_does_not_happen(
    cases: dict[Right | None, Case], audit: Audit, right: Right
) -> None:
    """With all of them it does; and the API server says that it was this right."""
    what, happens = effect_of(right)
    lacking = granted((right,))
    if ("fpj.dev", "fileprocessingjobs/status", "patch") in lacking:
        # Nobody can grant what he lacks: it is refused the worker's Role, before it writes a status
        # itself.
        lacking.add(("rbac.authorization.k8s.io", "roles", "patch"))
    case = cases[right]
    if right.resources == "namespaces":
        wait_for(lambda: children(case), lambda: f"a job to delete\n{case.operator.log}", 60)
        happens(case)
    wait_for(
        lambda: audit.refused(case.user) & lacking,
        lambda: f"a refusal of {lacking}\n{case.operator.log[-5_000:]}",
        60,
    )
    if right.where is Where.CLUSTER:
        wait_for(lambda: not happens(case), "kopf says so", 30)
    else:
        assert audit.refused(case.user) <= lacking
    assert not happens(case), f"without the right, {what} anyway"


def test_with_every_right_all_of_it_happens(cases: dict[Right | None, Case], audit: Audit) -> None:
    case = cases[None]
    # Which ends it all.
    for right in sorted(OPERATOR, key=lambda right: right.resources == "namespaces"):
        what, happens = effect_of(right)
        wait_for(lambda: happens(case), lambda: f"{what}\n{case.operator.log[-5_000:]}", 60)  # noqa: B023
    assert audit.refused(case.user) == set()


def test_a_namespace_that_cannot_be_read_stops_no_other(
    plane: Cluster, api: Api, mongodb_server: str, tmp_path: Path
) -> None:
    case = Case(plane, api, None, mongodb_server, tmp_path)
    try:
        with fresh_namespace(case.admin) as closed:
            case.operator.kill()
            case.operator.add({"FPJ_NAMESPACES": f"{closed},{case.name}"})
            case.operator.start(wait=False)
            wait_for(
                lambda: f"namespace {closed} is left out" in case.operator.log, "it is left out", 60
            )
            wait_for(
                lambda: children(case), lambda: f"the other is served\n{case.operator.log}", 60
            )
            assert case.operator.running
            grant(case.admin, "jobs", case.user, rules(OPERATOR, Where.JOBS), closed)
            wait_for(lambda: not case.operator.running, "it restarts once it may read it", 60)
            assert case.operator.code == 1
    finally:
        case.close()


def test_helm_test_tells_what_does_not_work(
    plane: Cluster, mongodb_server: str, tmp_path: Path
) -> None:
    """What it says where all is well is seen on a real node."""

    async def checked(store: str, api: str = "") -> list[str]:
        found = Configuration()
        await config.load_kube_config(str(plane.kubeconfig), client_configuration=found)  # type: ignore[no-untyped-call]
        cluster = OperatorCluster(ApiClient(found))
        try:
            return await check(cluster, "default", store, api, patience=0)
        finally:
            await cluster.close()

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FPJ_NAMESPACES", "default")
        leads, listed, answers = asyncio.run(
            checked("mongodb://127.0.0.1:1/fpj?serverSelectionTimeoutMS=200")
        )
        assert leads == "an operator leads: nobody holds the Lease fpj-operator in default"
        assert listed == "the resources can be listed: ok"
        assert answers.startswith("the store answers: ") and not answers.endswith(": ok")
        assert asyncio.run(checked(f"{mongodb_server}/selftest"))[2] == "the store answers: ok"
        for status, ready in ((200, "ok"), (503, "/readyz: HTTP Error 503: Service Unavailable")):
            with answering({"/readyz": status}) as api:
                said = asyncio.run(checked(f"{mongodb_server}/selftest", api))
                assert said[3] in (
                    f"the API is ready: {ready}",
                    f"the API is ready: {api}{ready}",
                )
        assert "refused" in asyncio.run(checked(f"{mongodb_server}/selftest", api))[3], (
            "nobody is there any more"
        )


@contextmanager
def answering(paths: dict[str, int]) -> Iterator[str]:
    """The URL of a server that answers these paths with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(paths.get(self.path, 404))
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# Workers ------------------------------------------------------------------------------------------


def test_a_worker_may_patch_one_status_and_nothing_else(
    plane: Cluster, api: Api, mongodb_server: str, tmp_path: Path
) -> None:
    """With a worker's own token, everything that the API server offers is tried."""
    case = Case(plane, api, None, mongodb_server, tmp_path)
    try:
        case.admin.within(case.name).apply(job_manifest("other", "photos", collection="other"))
        prefix = "apis/rbac.authorization.k8s.io/v1/rolebindings"
        wait_for(
            lambda: any(name.startswith("job-") for name in case.items(prefix)),
            "the worker's rights",
            60,
        )
        name = f"job-{case.job()['metadata']['uid'][:8]}"
        worker = Caller(api, token(case.admin, f"system:serviceaccount:{case.name}:{name}"))
        jobs = JOBS.format(case.name)
        report = {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "FileProcessingJob",
            "metadata": {"name": "job"},
            "status": {"progress": {"total": 4}},
        }
        own = f"{jobs}/job/status?fieldManager=fpj-worker&force=true"
        assert worker.status("PATCH", own, report, APPLY) == 200
        tried = 0
        for method, path, body in everything(
            api, case.name, names=("job", "other", name, "default", "cache")
        ):
            if method == "PATCH" and path.startswith(f"{jobs}/job/status"):
                continue
            status = worker.status(
                method, path, body, MERGE if method == "PATCH" else "application/json"
            )
            tried += 1
            assert status == 403, f"{method} {path}: {status}"
        assert tried > 1_000
    finally:
        case.close()


_ANYBODY = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
"""What everybody may ask: what they themselves may do."""


def everything(
    api: Api, namespace: str, names: tuple[str, ...]
) -> Iterator[tuple[str, str, object]]:
    """A request for each verb of each resource: (method, path, body).

    What would change something is a dry run.
    """
    groups = [
        version["groupVersion"]
        for group in api.call("GET", "/apis")["groups"]
        for version in group["versions"]
    ]
    for prefix in ("/api/v1", *(f"/apis/{version}" for version in groups)):
        for found in api.call("GET", prefix)["resources"]:
            plural, _, subresource = found["name"].partition("/")
            if plural in _ANYBODY:
                continue
            place = f"{prefix}/namespaces/{namespace}" if found["namespaced"] else prefix
            below = f"/{subresource}" if subresource else ""
            one = [f"{place}/{plural}/{name}{below}" for name in names]
            for verb in found["verbs"]:
                yield from _requests(verb, f"{place}/{plural}", one, bool(subresource))


def _requests(
    verb: str, collection: str, one: list[str], below: bool
) -> Iterator[tuple[str, str, object]]:
    dry = "?dryRun=All"
    match verb:
        case "get":
            yield from (("GET", path, None) for path in one)
        case "list":
            yield "GET", collection, None
        case "watch":
            yield "GET", f"{collection}?watch=true&timeoutSeconds=1", None
        case "create":
            yield from (("POST", path + dry, {}) for path in (one if below else [collection]))
        case "update":
            yield from (("PUT", path + dry, {}) for path in one)
        case "patch":
            yield from (("PATCH", path + dry, {}) for path in one)
        case "delete":
            yield from (("DELETE", path + dry, None) for path in one)
        case "deletecollection":
            yield "DELETE", collection + dry, None


# People -------------------------------------------------------------------------------------------

READ, JOB, FOLDER = "read", "change jobs", "change cache folders"
MAY: dict[str, set[str]] = {
    "nobody": set(),
    "view": {READ},
    "edit": {READ, JOB},
    "admin": {READ, JOB, FOLDER},
    "fpj-view": {READ},
    "fpj-cache-manager": {READ, JOB},
    "fpj-admin": {READ, JOB, FOLDER},
}
NEW_JOB = job_manifest("new", "photos")
NEW_SCHEDULE = schedule_manifest("new")
NEW_FOLDER = resource(
    "CacheFolder", "new", {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}}
)
NEW_PURGE = resource(
    "CachePurge", "new", {"cacheFolder": "cache", "collection": "photos", "all": True}
)
DRY = "?dryRun=All"
ACTIONS: list[tuple[str, str, str, str, object]] = [
    # what it takes, method, path, verb, body
    (READ, "GET", JOBS, "list", None),
    (READ, "GET", JOBS + "/job", "get", None),
    (READ, "GET", JOBS + "?watch=true&timeoutSeconds=1", "watch", None),
    (READ, "GET", FOLDERS, "list", None),
    (READ, "GET", FOLDERS + "/cache", "get", None),
    (JOB, "POST", JOBS + DRY, "create", NEW_JOB),
    (JOB, "PATCH", JOBS + "/job" + DRY, "patch", {"spec": {"suspend": True}}),
    (
        JOB,
        "PATCH",
        JOBS + "/job" + DRY,
        "patch",
        {"metadata": {"annotations": {"fpj.dev/resume": "now"}}},
    ),
    (JOB, "DELETE", JOBS + "/job" + DRY, "delete", None),
    (READ, "GET", SCHEDULES, "list", None),
    (JOB, "POST", SCHEDULES + DRY, "create", NEW_SCHEDULE),
    (FOLDER, "DELETE", SCHEDULES + DRY, "deletecollection", None),
    (FOLDER, "DELETE", JOBS + DRY, "deletecollection", None),
    (FOLDER, "POST", FOLDERS + DRY, "create", NEW_FOLDER),
    (JOB, "PATCH", FOLDERS + "/cache" + DRY, "patch", {"spec": {"priority": 3}}),
    (READ, "GET", PURGES, "list", None),
    (FOLDER, "POST", PURGES + DRY, "create", NEW_PURGE),
    (FOLDER, "DELETE", PURGES + DRY, "deletecollection", None),
    (FOLDER, "DELETE", FOLDERS + "/cache" + DRY, "delete", None),
    (FOLDER, "DELETE", FOLDERS + DRY, "deletecollection", None),
    ("nobody's", "PATCH", JOBS + "/job/status" + DRY, "patch", {"status": {"phase": "Failed"}}),
    ("nobody's", "PATCH", FOLDERS + "/cache/status" + DRY, "patch", {"status": {}}),
]


def has_ours(admin: Kube, role: str) -> bool:
    return "fpj.dev" in str(admin.json("get", "clusterrole", role)["rules"])


@pytest.fixture(scope="module")
def people(admin: Kube, api: Api) -> Iterator[tuple[str, str, dict[str, Caller]]]:
    """(their namespace, another, somebody of each role in the first)."""
    manifests = yaml.safe_load_all((ROOT / "deploy" / "operator.yaml").read_text())
    admin.apply(
        *(
            each
            for each in manifests
            if each["kind"] == "ClusterRole" and each["metadata"]["name"] in PEOPLE
        )
    )
    with fresh_namespace(admin) as theirs, fresh_namespace(admin) as another:
        storage = {"persistentVolumeClaim": {"claimName": "cache"}}
        for namespace in (theirs, another):
            admin.within(namespace).apply(
                job_manifest("job", "photos"),
                resource("CacheFolder", "cache", {"storage": storage}),
            )
        callers = {}
        for role in MAY:
            user = account(admin, theirs, role)
            if role != "nobody":
                grant(admin, role, user, None, theirs)
            callers[role] = Caller(api, token(admin, user))
        # Kubernetes adds the rights to its own roles when it finds the time.
        for role in ("view", "edit", "admin"):
            wait_for(partial(has_ours, admin, role), f"{role} takes the rights in", 30)
        wait_for(
            lambda: callers["admin"].status("GET", FOLDERS.format(theirs)) == 200,
            "the bindings hold",
            30,
        )
        yield theirs, another, callers


@pytest.mark.parametrize("role", MAY)
def test_what_people_may_do(
    people: tuple[str, str, dict[str, Caller]], api: Api, role: str
) -> None:
    """Real requests and the API server's own opinion, in their namespace and in another."""
    theirs, another, callers = people
    for takes, method, path, verb, body in ACTIONS:
        content = MERGE if method == "PATCH" else "application/json"
        status = callers[role].status(method, path.format(theirs), body, content)
        assert (status < 300) == (takes in MAY[role]), f"{role}: {verb} {path}: {status}"
        assert status < 300 or status == 403
        assert may(api, theirs, role, verb, path) == (status < 300)
        assert callers[role].status(method, path.format(another), body, content) == 403


def may(api: Api, namespace: str, role: str, verb: str, path: str) -> bool:
    """What `kubectl auth can-i` asks."""
    plural, *rest = path.partition("?")[0].rpartition("namespaces/{}/")[2].split("/")
    attributes = {
        "group": "fpj.dev",
        "resource": plural,
        "namespace": namespace,
        "verb": verb,
        "name": rest[0] if rest else "",
        "subresource": rest[1] if len(rest) > 1 else "",
    }
    user = f"system:serviceaccount:{namespace}:{role}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    return bool(
        api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"][
            "allowed"
        ]
    )
