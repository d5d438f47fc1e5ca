"""Bulk operations on a real API server, by the API and by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_process import ApiProcess, Client
from apis import Place, place_in, seen
from integration.test_cli_cluster import Place as CommandPlace
from planes import fresh_namespace
from waiting import wait_for
from world import schedule_manifest

from fpj_cluster import Cluster, Kube

pytestmark = pytest.mark.timeout(300)

V1 = "/api/v1"
PATH = f"{V1}/bulk/operations"


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place_in(cluster, mongodb_server, tmp_path_factory.mktemp("bulk")) as place:
        place.job(place.one, "first", jobType="Both", cache={"tiers": [{"name": "medium"}]})
        place.job(place.one, "second", suspend=True, force=True)
        place.kube.within(place.one).apply(schedule_manifest("nightly", collection="third"))
        place.job(place.two, "elsewhere")
        yield place


@pytest.fixture(scope="module")
def process(place: Place) -> Iterator[ApiProcess]:
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as process:
        admin = place.client(process, "fpj-admin")
        wait_for(lambda: seen(admin, "second"), "the jobs are watched", 30)
        yield process
        assert process.stop() == 0


def post(client: Client, key: str, **body: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Idempotency-Key": key}
    response = client.response("POST", PATH, {"jobType": "Both"} | body, headers)
    return response.status, json.loads(response.data)


def jobs_of(place: Place, operation: str) -> dict[str, dict[str, Any]]:
    kube = place.kube.within(place.one)
    found = kube.json("get", "fpj", "-l", f"fpj.dev/bulk={operation}")["items"]
    return {each["spec"]["collection"]["id"]: each for each in found}


def test_one_job_for_each_collection_once(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-cache-manager")
    status, planned = post(client, "once", all=True, dryRun=True)
    assert status == 200, planned
    assert [each["collection"] for each in planned["results"]] == ["first", "second", "third"], (
        "what they may not see is not chosen"
    )
    assert jobs_of(place, planned["id"]) == {}
    status, made = post(client, "once", all=True)
    assert (status, made["created"], made["id"]) == (201, 3, planned["id"])
    jobs = jobs_of(place, made["id"])
    assert jobs.keys() == {"first", "second", "third"}
    assert jobs["first"]["spec"]["cache"] == {"tiers": [{"name": "medium"}]}
    assert not {"suspend", "force"} & jobs["second"]["spec"].keys()
    assert jobs["third"]["spec"]["sharding"] == {"workersPerPod": 1, "parallelism": 2}
    user = place.user("fpj-cache-manager")
    for job in jobs.values():
        assert job["metadata"]["annotations"]["fpj.dev/changed-by"] == user
    outcomes = [each["outcome"] for each in process.changes if made["id"] in each["job"]]
    assert outcomes == ["done"] * 3, "each is in the audit log"
    assert [post(client, "once", all=True)[0] for _ in range(2)] == [200, 200]
    assert post(client, "once", all=True, force=True)[0] == 422
    assert jobs_of(place, made["id"]).keys() == jobs.keys()


def test_a_restarted_api_knows_the_key(place: Place) -> None:
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as first:
        client = place.client(first, "fpj-admin")
        wait_for(lambda: seen(client, "second"), "the jobs are watched", 30)
        status, made = post(client, "restart", selector="!team", namespace=place.one)
        assert status == 201
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as second:
        client = place.client(second, "fpj-admin")
        wait_for(lambda: seen(client, made["results"][0]["job"]), "the jobs are watched", 30)
        status, again = post(client, "restart", selector="!team", namespace=place.one)
        assert (status, again["id"], again["created"]) == (200, made["id"], 0)
        assert {each["state"] for each in again["results"]} == {"Exists"}


def test_progress_and_end(place: Place, process: ApiProcess) -> None:
    admin = place.client(process, "fpj-admin")
    both = [{"namespace": place.one, "collection": each} for each in ("first", "second")]
    _, made = post(admin, "progress", collections=both)
    names = {each["collection"]: each["job"] for each in made["results"]}
    place.report(
        place.one,
        names["first"],
        {"phase": "Completed", "progress": {"total": 4, "completed": 4, "percent": 100}},
    )
    path = f"{PATH}/{made['id']}"
    wait_for(lambda: admin.get(path)["finished"] == 1, "one has finished", 30)
    found = admin.get(path)
    assert (found["size"], found["jobs"], found["progress"]["percent"]) == (2, 2, 50)
    manager, viewer = (place.client(process, f"fpj-{each}") for each in ("cache-manager", "view"))
    assert viewer.get(path)["jobs"] == 2
    assert [client.ask("DELETE", path)[0] for client in (viewer, manager)] == [403, 403]
    assert place.client(process, "nobody").ask("GET", path)[0] == 404
    status, answer = admin.ask("DELETE", path)
    assert (status, [each["done"] for each in answer["results"]]) == (202, [True])
    assert jobs_of(place, made["id"]).keys() == {"first"}, "what has finished stays"


def test_who_may(place: Place, process: ApiProcess) -> None:
    wanted = [{"namespace": place.one, "collection": "first"}]
    other = [{"namespace": place.two, "collection": "elsewhere"}]
    for role, status in (("nobody", 403), ("fpj-view", 403), ("fpj-cache-manager", 201)):
        client = place.client(process, role)
        assert post(client, "who", collections=wanted)[0] == status
        assert post(client, "both", collections=wanted + other)[0] == 403
    assert post(place.client(process, "nobody"), "all", all=True)[0] == 422


# The command --------------------------------------------------------------------------------------


@pytest.fixture
def command(
    crds: Kube, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandPlace]:
    for variable in ("FPJ_STORE", "FPJ_CLUSTER", "KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)
    with fresh_namespace(crds) as name:
        yield CommandPlace(crds.within(name), name, monkeypatch, capsys)


def test_the_command_makes_the_same(command: CommandPlace) -> None:
    command.job("first")
    command.job("second")
    command.kube.apply(schedule_manifest("nightly", collection="third"))
    planned = json.loads(command("generate", "--all", "--dry-run", "--json").stdout)
    assert [each["collection"] for each in planned["results"]] == ["first", "second", "third"]
    made = command("generate", "--all", "--type", "thumbnail", "--key", "1")
    assert made.code == 0 and made.stdout.count("Created") == 3, made.stderr
    operation = json.loads(
        command("generate", "--all", "--type", "thumbnail", "--key", "1", "--json").stdout
    )
    assert {each["state"] for each in operation["results"]} == {"Exists"}
    assert operation["id"] in made.stderr
    found = command.kube.json("get", "fpj", "-l", f"fpj.dev/bulk={operation['id']}")["items"]
    assert {each["spec"]["collection"]["id"] for each in found} == {"first", "second", "third"}
    assert {each["spec"]["jobType"] for each in found} == {"Thumbnail"}
    refused = command("generate", "--all", "--key", "1")
    assert refused.code == 2 and "belongs to another request" in refused.stderr
    some = command("generate", "first", "none")
    assert some.code == 1 and "nothing says where its images are" in some.stdout
    assert command("generate", "first", "--workers", "2").code == 2
