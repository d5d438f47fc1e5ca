"""The admission policies on a real API server: what they deny, in which words,
and what they leave alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from accounts import Caller, account, grant, token
from planes import fresh_namespace
from podrunner import Api
from podrunner.api import MERGE
from unit.operator.templates import ALLOWED, BROKEN_TWICE, FORBIDDEN, Template
from unit.operator.world import SETTINGS, World
from waiting import wait_for
from world import job_manifest, resource, schedule_manifest

from fpj_cluster import Cluster, Kube
from fpj_core.kube import names
from fpj_core.kube.status import PROGRESS_FIELDS
from fpj_core.model import Phase
from fpj_operator import admission
from fpj_operator.jobs.children import reporting_rights
from fpj_operator.jobs.templatepolicy import reserved_variables, violations
from fpj_operator.keys import Key
from fpj_operator.settings import OperatorSettings

pytestmark = pytest.mark.timeout(300)

JOBS = "/apis/fpj.dev/v1alpha1/namespaces/{}/fileprocessingjobs"
SCHEDULES = "/apis/fpj.dev/v1alpha1/namespaces/{}/fileprocessingschedules"
APPLY = "application/apply-patch+yaml"
DRY = "?dryRun=All"
OPERATOR = "system:serviceaccount:fpj-system:fpj-operator"
HOSTILE = {"serviceAccountName": "deployer"}
MORE = replace(
    SETTINGS,
    template_volumes=("configMap", "emptyDir"),
    template_mount_paths=("/opt/", "/mnt"),
    template_env=("TZ", "PLUGIN_*"),
    template_env_sources=("fieldRef",),
    template_service_accounts=("museum-*", "painter"),
    worker_env={"PLUGIN_KEY": "x"},
)


@pytest.fixture(scope="module")
def api(plane: Cluster) -> Iterator[Api]:
    api = Api(plane.kubeconfig)
    yield api
    api.close()


@pytest.fixture(scope="module")
def admin(plane: Cluster, api: Api) -> Iterator[Caller]:
    """Somebody with every right, whom the policies hold for, too."""
    with fresh_namespace(plane.kube) as namespace:
        user = account(plane.kube, namespace, "admin")
        grant(plane.kube, "cluster-admin", user, None)
        yield Caller(api, token(plane.kube, user))


@pytest.fixture(scope="module")
def place(plane: Cluster, admin: Caller) -> Iterator[str]:
    """A namespace with a hostile job and a schedule from before the policies, which then hold."""
    with fresh_namespace(plane.kube) as namespace:
        here = plane.kube.within(namespace)
        here.apply(
            job_manifest("old", "photos", workerTemplate=HOSTILE),
            job_manifest("plain", "photos"),
            schedule_manifest("often", schedule="0 3 1 1 *"),
        )
        enforce(plane.kube, admin, "templates", SETTINGS, namespace)
        yield namespace


@pytest.fixture(scope="module")
def wider(plane: Cluster, admin: Caller) -> Iterator[str]:
    """A namespace where other settings hold."""
    with fresh_namespace(plane.kube) as namespace:
        enforce(plane.kube, admin, "wider", MORE, namespace)
        yield namespace


def enforce(
    kube: Kube, admin: Caller, name: str, settings: OperatorSettings, namespace: str
) -> None:
    lists = admission.lists_of(settings, reserved_variables(settings))
    kube.apply(admission.worker_templates(name, lists), admission.binding(name, [namespace]))
    wait_for(lambda: refusal(admin, namespace, HOSTILE), "the policy holds", 60)


def refusal(admin: Caller, namespace: str, template: Template, kind: str = "job") -> str:
    """What the API server says to a new job or schedule; nothing if it accepts it."""
    made = schedule_manifest("new") if kind == "schedule" else job_manifest("new", "photos")
    spec = made["spec"]["jobTemplate"]["spec"] if kind == "schedule" else made["spec"]
    spec["workerTemplate"] = template
    path = SCHEDULES if kind == "schedule" else JOBS
    return said(admin, "POST", path.format(namespace) + DRY, made)


def said(
    caller: Caller, method: str, path: str, body: Any, content: str = "application/json"
) -> str:
    """The message of a refusal; nothing if there is none."""
    status, text = caller.answer(method, path, body, content)
    assert status in (200, 201, 403), text
    return str(json.loads(text)["message"]) if status == 403 else ""


def by_rule(settings: OperatorSettings, template: Template) -> str:
    return next(iter(violations(template, settings)), "")


# Worker templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["job", "schedule"])
@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_is_admitted(
    admin: Caller, place: str, template: Template, kind: str
) -> None:
    assert refusal(admin, place, template, kind) == ""


BROKEN = {name: found[0] for name, found in (FORBIDDEN | BROKEN_TWICE).items()}


@pytest.mark.parametrize("kind", ["job", "schedule"])
@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN)
def test_what_is_forbidden_is_denied_in_the_operators_words(
    admin: Caller, place: str, template: Template, kind: str
) -> None:
    denial = refusal(admin, place, template, kind)
    assert denial.endswith(f"denied request: {by_rule(SETTINGS, template)}"), denial


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN)
def test_an_update_is_denied_as_well(admin: Caller, place: str, template: Template) -> None:
    job, schedule = (
        {"spec": {"workerTemplate": template}},
        {"spec": {"jobTemplate": {"spec": {"workerTemplate": template}}}},
    )
    for path, change in ((JOBS + "/plain", job), (SCHEDULES + "/often", schedule)):
        denial = said(admin, "PATCH", path.format(place) + DRY, change, MERGE)
        assert denial.endswith(f"denied request: {by_rule(SETTINGS, template)}"), denial


@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED)
def test_an_update_within_the_rules_is_admitted(
    admin: Caller, place: str, template: Template
) -> None:
    change = {"spec": {"workerTemplate": template}}
    assert said(admin, "PATCH", JOBS.format(place) + "/plain" + DRY, change, MERGE) == ""


def test_what_was_there_before_can_be_changed_but_for_its_template(
    admin: Caller, place: str
) -> None:
    """Its finalizers above all: nothing may be stuck because of a policy."""
    path = JOBS.format(place) + "/old"
    for change in (
        {"spec": {"suspend": True}},
        {"metadata": {"finalizers": ["fpj.dev/stop-work"]}},
        {"metadata": {"finalizers": None}},
        {"metadata": {"annotations": {names.RESUME_ANNOTATION: "now"}}},
        {"spec": {"workerTemplate": None}},
    ):
        assert said(admin, "PATCH", path + DRY, change, MERGE) == "", change
    worse = {"spec": {"workerTemplate": HOSTILE | {"labels": {"a": "b"}}}}
    assert "deployer is not allowed" in said(admin, "PATCH", path + DRY, worse, MERGE)


KEYS = ("emptyDir", "configMap", "hostPath", "secret")
PATHS = (
    "/mnt",
    "/mnt/a",
    "/mnt/../etc",
    "/opt",
    "/opt/a",
    "/optional",
    "/cache",
    "/tmp/x",
    "/",
    "a:b",
    "",
)
VARIABLES = ("TZ", "PLUGIN_A", "PLUGIN_KEY", "FPJ_STORE", "POD_NAME", "LD_PRELOAD", "TZX")
VOLUMES = ("a", "b", "tmp", "")
ACCOUNTS = ("", "museum-a", "museum", "painter", "deployer")


def some_template(chance: random.Random) -> Template:
    """Any, well or badly made."""
    volumes: list[Any] = []
    for _ in range(chance.choice((0, 0, 1, 2))):
        name = chance.choice(
            ({"name": chance.choice(VOLUMES)}, {}, {"name": 7})
            if chance.random() < 0.2
            else ({"name": "a"}, {"name": "b"})
        )
        volumes.append(name | chance.choice(({}, {chance.choice(KEYS): {}})))
    mounts: list[Any] = []
    for _ in range(chance.choice((0, 0, 1, 2))):
        found: Template = {"name": chance.choice(VOLUMES), "mountPath": chance.choice(PATHS)}
        extra = chance.choice(
            ({}, {}, {"readOnly": True}, {"subPath": "x"}, {"subPathExpr": "$(FPJ_STORE)"})
        )
        mounts.append(found | extra)
    env: list[Template] = [
        {"name": name}
        | chance.choice(
            ({}, {"value": "x"}, {"valueFrom": {chance.choice(("fieldRef", "secretKeyRef")): {}}})
        )
        for name in chance.sample(VARIABLES, chance.choice((0, 0, 1, 2)))
    ]
    template: Template = {"volumes": volumes, "volumeMounts": mounts, "env": env}
    account = chance.choice(ACCOUNTS)
    return {each: value for each, value in template.items() if value} | (
        {"serviceAccountName": account} if account else {}
    )


def test_policy_and_operator_agree_on_any_template(admin: Caller, place: str, wider: str) -> None:
    chance = random.Random(10)
    denied = 0
    for _ in range(150):
        template = some_template(chance)
        for namespace, settings in ((place, SETTINGS), (wider, MORE)):
            denial, rule = refusal(admin, namespace, template), by_rule(settings, template)
            assert bool(denial) == bool(rule), (template, denial, rule)
            assert denial.endswith(rule), (template, denial, rule)
            denied += bool(rule)
    assert 60 < denied < 280, "both kinds were tried"


# Reports of workers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports(plane: Cluster, api: Api) -> Iterator[str]:
    """A namespace where workers may report, and nothing else."""
    with fresh_namespace(plane.kube) as namespace:
        plane.kube.apply(
            admission.worker_reports("reports", OPERATOR), admission.binding("reports", [namespace])
        )
        yield namespace


@pytest.fixture(scope="module")
def worker(plane: Cluster, api: Api, reports: str) -> Caller:
    """A worker of the job `photos.2026`, which runs."""
    worker = worker_of(plane.kube, api, reports, "photos.2026")
    status = {"status": {"phase": "Running", "attempt": {"number": 1}, "observedGeneration": 1}}
    assert api.patch(JOBS.format(reports) + "/photos.2026/status", status, MERGE)
    wait_for(lambda: report(worker, reports, {"phase": "Failed"})[0] == 403, "the policy holds", 60)
    return worker


def worker_of(kube: Kube, api: Api, namespace: str, name: str) -> Caller:
    """Of a new job, with the account, role and binding that the operator makes for it."""
    here = kube.within(namespace)
    here.apply(job_manifest(name, "photos"))
    job = api.get(f"{JOBS.format(namespace)}/{name}")
    assert job
    world = World()
    world.add()
    observed = replace(
        world.observe("photos"), key=Key(namespace, name), uid=job["metadata"]["uid"]
    )
    here.apply(*reporting_rights(observed))
    user = f"system:serviceaccount:{namespace}:{names.base_name(name, job['metadata']['uid'])}"
    made = Caller(api, token(kube, user))
    path = f"{JOBS.format(namespace)}/{name}/status{DRY}&fieldManager=fpj-worker&force=true"
    document = resource("FileProcessingJob", name, {}) | {"status": {"progress": {"total": 1}}}
    del document["spec"]
    wait_for(lambda: made.status("PATCH", path, document, APPLY) == 200, "it may report", 30)
    return made


def report(
    worker: Caller, namespace: str, status: Any, name: str = "photos.2026", content: str = MERGE
) -> tuple[int, str]:
    path = f"{JOBS.format(namespace)}/{name}/status"
    if content == MERGE:
        return worker.answer("PATCH", path + DRY, {"status": status}, MERGE)
    document = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": name},
    }
    return worker.answer(
        "PATCH",
        f"{path}{DRY}&fieldManager=fpj-worker&force=true",
        document | {"status": status},
        content,
    )


PROGRESS: dict[str, Any] = {
    "progress": {"total": 10, "completed": 4, "percent": 40},
    "display": {"done": "4/10"},
    "errorBreakdown": {"CorruptImage": 1},
    "shards": {"total": 2, "active": 1},
    "lastProgressAt": "2026-11-29T01:02:03Z",
}
DECISIONS: dict[str, Any] = {
    "phase": "Completed",
    "stage": "Finish",
    "attempt": {"number": 9},
    "observedGeneration": 7,
    "recoveryAttempts": 3,
    "leftOut": {"raw": 2},
    "startTime": "2026-11-29T01:02:03Z",
    "completionTime": "2026-11-29T01:02:03Z",
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "AllImagesDone",
            "message": "",
            "lastTransitionTime": "2026-11-29T01:02:03Z",
        }
    ],
}


@pytest.mark.parametrize("content", [MERGE, APPLY])
def test_progress_is_reported(worker: Caller, reports: str, content: str) -> None:
    assert set(PROGRESS) == set(PROGRESS_FIELDS)
    for name, value in PROGRESS.items():
        assert report(worker, reports, {name: value}, content=content)[0] == 200, name
    assert report(worker, reports, PROGRESS, content=content)[0] == 200


@pytest.mark.parametrize("content", [MERGE, APPLY])
@pytest.mark.parametrize("name", DECISIONS)
def test_what_the_operator_decides_is_not_the_workers_to_write(
    worker: Caller, reports: str, name: str, content: str
) -> None:
    status, denial = report(worker, reports, PROGRESS | {name: DECISIONS[name]}, content=content)
    assert status == 403
    assert f"workers may report {', '.join(PROGRESS_FIELDS)} only, not {name}" in denial


@pytest.mark.parametrize("name", ["phase", "attempt", "observedGeneration"])
def test_nor_to_remove(worker: Caller, reports: str, name: str) -> None:
    status, denial = report(worker, reports, {name: None})
    assert status == 403 and f"only, not {name}" in denial


def test_every_field_of_the_status_is_either_progress_or_a_decision(api: Api) -> None:
    found = api.call(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fileprocessingjobs.fpj.dev"
    )
    (version,) = found["spec"]["versions"]
    fields = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert set(fields) == set(PROGRESS) | set(DECISIONS)


def test_a_finished_jobs_status_is_final(
    plane: Cluster, api: Api, worker: Caller, reports: str
) -> None:
    late = worker_of(plane.kube, api, reports, "done")
    for phase in Phase:
        assert api.patch(
            JOBS.format(reports) + "/done/status", {"status": {"phase": phase.value}}, MERGE
        )
        status, denial = report(late, reports, PROGRESS, "done", APPLY)
        assert (status == 403) is phase.finished, (phase, denial)
        assert (
            not phase.finished
            or f"the job has finished ({phase.value}): its status is final" in denial
        )


def test_a_later_job_of_the_same_name_is_anothers(
    plane: Cluster, api: Api, worker: Caller, reports: str
) -> None:
    """Role and binding name the job, not its uid, and go only once Kubernetes collects them."""
    late = worker_of(plane.kube, api, reports, "again")
    here = plane.kube.within(reports)
    path = JOBS.format(reports) + "/again"
    first = api.get(path)
    assert first
    before = names.base_name("again", first["metadata"]["uid"])
    kinds = ("serviceaccount", "role", "rolebinding")
    for kind in kinds:  # what a garbage collector that is late leaves
        here("patch", kind, before, "--type=merge", '--patch={"metadata":{"ownerReferences":null}}')
    api.delete(path)
    here.apply(job_manifest("again", "photos"))
    status, denial = report(late, reports, PROGRESS, "again", APPLY)
    assert status == 403 and "is reported by the account that was made for its workers" in denial


def test_others_are_left_alone(plane: Cluster, api: Api, worker: Caller, reports: str) -> None:
    """Administrators and controllers of other namespaces.

    The operator, in whichever namespace it is.
    """
    rules = [
        {"apiGroups": ["fpj.dev"], "resources": ["fileprocessingjobs/status"], "verbs": ["patch"]}
    ]
    everything = PROGRESS | DECISIONS
    with fresh_namespace(plane.kube) as another:
        user = account(plane.kube, another, "controller")
        grant(plane.kube, "writes-statuses", user, rules, reports)
        controller = Caller(api, token(plane.kube, user))
        wait_for(lambda: report(controller, reports, everything)[0] == 200, "it may", 30)
    admission_of = admission.worker_reports(
        "reports", f"system:serviceaccount:{reports}:the-operator"
    )
    plane.kube.apply(admission_of)
    for name in ("the-operator", "not-the-operator"):
        grant(plane.kube, f"as-{name}", account(plane.kube, reports, name), rules, reports)
    operator, other = (
        Caller(api, token(plane.kube, f"system:serviceaccount:{reports}:{name}"))
        for name in ("the-operator", "not-the-operator")
    )
    wait_for(lambda: report(operator, reports, everything)[0] == 200, "the operator may", 30)
    assert report(other, reports, PROGRESS)[0] == 403
