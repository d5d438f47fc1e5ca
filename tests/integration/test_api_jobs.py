"""Jobs through the API: lists and their pages, what is refused, and a job that really runs."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accounts import account, grant, token
from api_process import ApiProcess, Client
from apis import Place, place_in, seen
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from waiting import wait_for
from world import World, job_manifest, world_in

from fpj_cluster import Cluster
from fpj_core.kube.api import Cluster as ApiCluster
from fpj_core.kube.errors import ClusterError

pytestmark = pytest.mark.timeout(300)

V1 = "/api/v1"
SPEC = {
    "jobType": "Thumbnail",
    "collection": {"source": {"persistentVolumeClaim": {"claimName": "photos"}}},
}


@pytest.fixture(scope="module")
def client(place: Place, process: ApiProcess) -> Client:
    return place.client(process, "fpj-admin")


# Lists --------------------------------------------------------------------------------------------


def _counts_a_job_as(client: Client, name: str, phase: str) -> bool:
    """Whether the API knows a job of that name to be in the phase."""
    return phase in client.get(f"{V1}/jobs?search={name}")["counts"]


def test_pages_miss_nothing_while_jobs_are_added(place: Place, client: Client) -> None:
    names = [f"page-{number:03}" for number in range(250)]
    for name in names:
        place.job(place.one, name)
    wait_for(
        lambda: client.get(f"{V1}/jobs?search=page-")["counts"] == {"Pending": 250},
        "all are known",
        60,
    )
    whole = [job["name"] for job in client.get(f"{V1}/jobs?search=page-&limit=500")["items"]]
    assert sorted(whole) == names

    listed: list[dict[str, Any]] = []
    cursor, added = "", 0
    while True:
        found = client.get(f"{V1}/jobs?search=page-&limit=40{cursor and f'&cursor={cursor}'}")
        listed += found["items"]
        assert len(found["items"]) == 40 or found["next"] is None
        if found["next"] is None:
            break
        cursor = found["next"]
        place.job(place.one, f"page-late-{added}")
        wait_for(lambda: seen(client, f"page-late-{added}"), "it is known", 30)  # noqa: B023 - waited for at once
        added += 1
    assert added == 6
    assert [job["name"] for job in listed if "late" not in job["name"]] == whole
    assert len({job["uid"] for job in listed}) == len(listed)
    assert [job["createdAt"] for job in listed] == sorted(
        (job["createdAt"] for job in listed), reverse=True
    )


def test_filters_and_counts(place: Place, client: Client) -> None:
    place.job(place.one, "f-thumbs", {"phase": "Failed"}, collection="shared")
    place.job(place.one, "f-cache", {"phase": "Completed"}, jobType="Cache", collection="shared")
    place.job(place.one, "f-other", {"phase": "Running"}, jobType="Cache")
    for name, phase in (("f-thumbs", "Failed"), ("f-cache", "Completed"), ("f-other", "Running")):
        wait_for(partial(_counts_a_job_as, client, name, phase), "it is known", 30)

    def names(query: str) -> list[str]:
        return sorted(job["name"] for job in client.get(f"{V1}/jobs?search=f-&{query}")["items"])

    assert names("") == ["f-cache", "f-other", "f-thumbs"]
    assert names("phase=Failed&phase=Running") == ["f-other", "f-thumbs"]
    assert names("jobType=Cache") == ["f-cache", "f-other"]
    assert names("collection=shared") == ["f-cache", "f-thumbs"]
    assert client.get(f"{V1}/jobs?search=SHAR")["counts"] == {"Completed": 1, "Failed": 1}
    assert client.get(f"{V1}/jobs?search=f-&phase=Failed")["counts"] == {
        "Completed": 1,
        "Failed": 1,
        "Running": 1,
    }


def test_one_job_whole(place: Place, client: Client) -> None:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "ImagesFailed",
        "message": "1 of 4",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    made = place.job(
        place.one,
        "whole",
        {
            "phase": "CompletedWithErrors",
            "conditions": [condition],
            "progress": {
                "total": 4,
                "completed": 3,
                "failed": 1,
                "percent": 100,
                "imagesPerSecond": 2.5,
            },
            "errorBreakdown": {"CorruptImage": 1},
            "shards": {"total": 2, "succeeded": 2},
            "startTime": "2026-01-02T03:00:00Z",
            "completionTime": "2026-01-02T03:04:05Z",
            "recoveryAttempts": 2,
        },
    )
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "whole.1", "namespace": place.one},
        "involvedObject": {
            "kind": "FileProcessingJob",
            "uid": made["metadata"]["uid"],
            "namespace": place.one,
        },
        "type": "Warning",
        "reason": "ImagesFailed",
        "message": "so it is",
        "count": 3,
        "lastTimestamp": "2026-01-02T03:04:05Z",
    }
    place.api.call("POST", f"/api/v1/namespaces/{place.one}/events", event)
    found = client.get(f"{V1}/namespaces/{place.one}/jobs/whole")
    assert found["spec"] == made["spec"]
    assert found["conditions"] == [condition]
    reported = {
        "at": "2026-01-02T03:04:05Z",
        "type": "Warning",
        "reason": "ImagesFailed",
        "message": "so it is",
        "count": 3,
    }
    assert found["events"] == [reported]
    short = {
        name: value for name, value in found.items() if name not in ("spec", "conditions", "events")
    }
    assert short == {
        "namespace": place.one,
        "name": "whole",
        "uid": made["metadata"]["uid"],
        "createdAt": made["metadata"]["creationTimestamp"],
        "jobType": "Thumbnail",
        "collection": "whole",
        "phase": "CompletedWithErrors",
        "stage": None,
        "reason": "ImagesFailed",
        "message": "1 of 4",
        "suspended": False,
        "deleting": False,
        "progress": {
            "total": 4,
            "completed": 3,
            "skipped": 0,
            "failed": 1,
            "percent": 100,
            "imagesPerSecond": 2.5,
            "etaSeconds": None,
            "bytesWritten": 0,
            "averageProcessingMs": 0.0,
        },
        "errors": {"CorruptImage": 1},
        "shards": {"total": 2, "active": 0, "succeeded": 2, "failed": 0},
        "recoveryAttempts": 2,
        "startedAt": "2026-01-02T03:00:00Z",
        "completedAt": "2026-01-02T03:04:05Z",
        "lastProgressAt": None,
        "schedule": None,
        "bulk": None,
        "actions": ["resume", "recover", "cancel"],
        "refusals": {"suspend": "It is CompletedWithErrors already"},
    }
    wait_for(
        lambda: client.get(f"{V1}/jobs?search=whole")["items"] == [short],
        "the list says the same",
        30,
    )


def test_folders_and_schedules(place: Place, client: Client) -> None:
    place.furnish(place.one)
    wait_for(lambda: client.get(f"{V1}/cache/folders")["items"], "it is listed", 30)
    (folder,) = client.get(f"{V1}/cache/folders?namespace={place.one}")["items"]
    assert (folder["name"], folder["storage"], folder["location"]) == (
        "cache",
        "persistentVolumeClaim",
        "cache/a/b",
    )
    assert (folder["maxBytes"], folder["eviction"], folder["ttl"], folder["totalBytes"]) == (
        2**30,
        "LRU",
        3600,
        None,
    )
    assert folder["layout"] == "Mirror"
    assert (folder["highWatermark"], folder["lowWatermark"], folder["conditions"]) == (95, 80, [])
    wait_for(lambda: client.get(f"{V1}/schedules")["items"], "it is listed", 30)
    (schedule,) = client.get(f"{V1}/schedules")["items"]
    assert (schedule["name"], schedule["schedule"], schedule["suspended"]) == (
        "nightly",
        "0 * * * *",
        False,
    )
    assert (schedule["active"], schedule["nextAt"]) == ([], None)


# Changes ------------------------------------------------------------------------------------------


def test_a_job_is_made_as_with_kubectl(place: Place, process: ApiProcess, client: Client) -> None:
    path = f"{V1}/namespaces/{place.one}/jobs"
    status, made = client.post(path, {"name": "made", "spec": SPEC})
    assert status == 201, made
    resource = place.get(place.one, "made")
    assert resource["spec"] == SPEC and resource["metadata"]["uid"] == made["uid"]
    assert {field["manager"] for field in resource["metadata"]["managedFields"]} == {"fpj-api"}
    assert client.post(path, {"name": "made", "spec": SPEC})[0] == 409
    (first, second) = [each for each in process.changes if each["job"] == "made"]
    assert (first["user"], first["action"], first["namespace"]) == (
        place.user("fpj-admin"),
        "create",
        place.one,
    )
    assert first["outcome"] == "done" and "already exists" in second["outcome"]


def test_what_makes_no_sense_is_refused_as_the_command_line_refuses_it(
    place: Place, client: Client
) -> None:
    path = f"{V1}/namespaces/{place.one}/jobs"
    cases = [
        ("s-ended", {"phase": "Completed"}, "suspend", 409, "s-ended is Completed already"),
        ("s-runs", {"phase": "Running"}, "resume", 409, "s-runs is Running: nothing to resume"),
        ("s-good", {"phase": "Completed"}, "recover", 409, "s-good is Completed: nothing failed"),
        ("s-works", {"phase": "Running"}, "suspend", 202, ""),
        ("s-failed", {"phase": "Failed"}, "recover", 202, ""),
        ("s-again", {"phase": "Completed"}, "resume", 202, ""),
    ]
    for name, state, action, status, why in cases:
        before = place.job(place.one, name, state)
        got, answer = client.post(f"{path}/{name}/{action}")
        assert (got, answer.get("detail", "")) == (status, why)
        after = place.get(place.one, name)
        assert (after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]) == (
            status == 409
        )
    assert place.get(place.one, "s-works")["spec"]["suspend"] is True
    assert client.post(f"{path}/s-works/recover")[1]["detail"] == "s-works is suspended: resume it"
    version = place.get(place.one, "s-works")["metadata"]["resourceVersion"]
    status, again = client.post(f"{path}/s-works/suspend")
    assert (status, again["suspended"]) == (202, True)
    assert place.get(place.one, "s-works")["metadata"]["resourceVersion"] == version, (
        "nothing to do"
    )
    assert client.post(f"{path}/s-works/resume")[1]["suspended"] is False
    for name in ("s-failed", "s-again"):
        assert "fpj.dev/resume" in place.get(place.one, name)["metadata"]["annotations"]
    assert client.post(f"{path}/nowhere/suspend")[0] == 404


def test_cancelling_deletes_the_resource(place: Place, client: Client) -> None:
    path = f"{V1}/namespaces/{place.one}/jobs/doomed"
    manifest = job_manifest("doomed", "photos")
    manifest["metadata"]["finalizers"] = ["test.fpj.dev/held"]
    place.api.call("POST", place.path(place.one), manifest)
    status, answer = client.ask("DELETE", path)
    assert (status, answer["deleting"]) == (202, True)
    assert "deletionTimestamp" in place.get(place.one, "doomed")["metadata"]
    assert client.ask("DELETE", path)[0] == 202
    assert client.post(f"{path}/suspend")[1]["detail"] == "doomed is being deleted"
    place.kube.within(place.one)(
        "patch", "fpj", "doomed", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    wait_for(lambda: client.ask("DELETE", path)[0] == 404, "it is gone", 30)
    place.job(place.one, "quick")
    assert client.ask("DELETE", f"{V1}/namespaces/{place.one}/jobs/quick")[1]["deleting"] is True


def test_a_namesake_that_came_since_is_left_alone(place: Place) -> None:
    """What a change names its job by is held against the resource by the API server itself."""
    old = place.job(place.one, "namesake")
    place.api.delete(place.path(place.one, "namesake"))
    new = place.job(place.one, "namesake")

    async def change(uid: str) -> int:
        found = Configuration()
        await config.load_kube_config(str(place.cluster.kubeconfig), client_configuration=found)  # type: ignore[no-untyped-call]
        cluster = ApiCluster(ApiClient(found))
        try:
            await cluster.merge(
                "FileProcessingJob",
                place.one,
                "namesake",
                {"metadata": {"uid": uid}, "spec": {"suspend": True}},
            )
        except ClusterError as error:
            return error.status
        finally:
            await cluster.close()
        return 200

    assert asyncio.run(change(old["metadata"]["uid"])) == 409
    assert place.get(place.one, "namesake") == new
    assert asyncio.run(change(new["metadata"]["uid"])) == 200
    assert place.get(place.one, "namesake")["spec"]["suspend"] is True


def test_a_quota_is_the_callers_matter(place: Place, client: Client) -> None:
    hard = {"count/fileprocessingjobs.fpj.dev": "0"}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": hard},
    }
    place.kube.within(place.one).apply(quota)
    path = f"{V1}/namespaces/{place.one}/jobs"
    numbers = itertools.count()

    def refused() -> dict[str, Any] | None:
        """A quota is not heeded from its first moment on."""
        status, answer = client.post(path, {"name": f"over-{next(numbers)}", "spec": SPEC})
        return None if status == 201 else answer | {"code": status}

    answer = wait_for(refused, "the quota holds", 30)
    place.kube.within(place.one)("delete", "resourcequota", "none")
    assert (answer["code"], "forbidden: " in answer["detail"]) == (403, True), answer


def test_many_at_once_each_with_its_result(
    place: Place, process: ApiProcess, client: Client
) -> None:
    place.job(place.one, "b-runs", {"phase": "Running"})
    place.job(place.one, "b-done", {"phase": "Completed"})
    jobs = [
        {"namespace": place.one, "name": name} for name in ("b-done", "b-runs", "b-none", "b-runs")
    ]
    status, answer = client.post(f"{V1}/jobs/bulk", {"action": "suspend", "jobs": jobs})
    assert status == 200
    assert answer["results"] == [
        jobs[0] | {"done": False, "problem": "b-done is Completed already"},
        jobs[1] | {"done": True, "problem": None},
        jobs[2] | {"done": False, "problem": f"there is no job b-none in namespace {place.one}"},
    ]
    assert place.get(place.one, "b-runs")["spec"]["suspend"] is True
    outcomes = {
        each["job"]: each["outcome"] for each in process.changes if each["job"].startswith("b-")
    }
    assert outcomes["b-runs"] == "done" and outcomes["b-none"].startswith("there is no job")


# What is refused ----------------------------------------------------------------------------------


def test_input_that_is_wrong_is_named_by_its_place(place: Place, client: Client) -> None:
    path = f"{V1}/namespaces/{place.one}/jobs"

    def errors(status: int, got: tuple[int, dict[str, Any]]) -> dict[str, str]:
        assert (got[0], got[1]["status"]) == (status, status), got
        return {each["path"]: each["message"] for each in got[1].get("errors", [])}

    wrong = SPEC | {"cache": {"tiers": [{"name": "big", "quality": 101}]}, "jobTyp": "Both"}
    found = errors(422, client.post(path, {"name": "wrong", "spec": wrong}))
    assert found["spec.cache.tiers[0].quality"] == "101 is over the maximum 100"
    assert found["spec.jobTyp"] == "unknown field; did you mean jobType?"
    assert errors(422, client.post(path, {"name": "Not_a_name", "spec": SPEC})).keys() == {"name"}
    assert errors(422, client.post(path, {"name": "n", "spec": SPEC, "status": {}})).keys() == {
        "status"
    }
    # The API server.
    assert errors(422, client.post(path, {"name": "a..b", "spec": SPEC})).keys() == {
        "metadata.name"
    }
    assert errors(422, client.post(path, b"{not json")).keys()
    assert errors(
        422, client.post(f"{V1}/jobs/bulk", {"action": "explode", "jobs": []})
    ).keys() == {"action", "jobs"}
    many = [{"namespace": place.one, "name": f"j{number}"} for number in range(501)]
    assert errors(
        422, client.post(f"{V1}/jobs/bulk", {"action": "cancel", "jobs": many})
    ).keys() == {"jobs"}
    bad = {"action": "cancel", "jobs": [{"namespace": "../x", "name": "j"}]}
    assert errors(422, client.post(f"{V1}/jobs/bulk", bad)).keys() == {"jobs[0].namespace"}
    for query in ("limit=0", "limit=501", "limit=x", "phase=Nope", "jobType=Nope", "namespace=No"):
        assert errors(422, client.ask("GET", f"{V1}/jobs?{query}"))
    for cursor in ("x", "e30", "WyJmb2xkZXJzIiwiYSIsImIiXQ"):
        assert errors(400, client.ask("GET", f"{V1}/jobs?cursor={cursor}")).keys() == {"cursor"}
    assert errors(422, client.ask("GET", f"{V1}/namespaces/UP/jobs/x")).keys() == {"namespace"}
    for odd in ("..", "%2e%2e", "a%2Fb", "a%0Ab", "a%3Fb", "x" * 254):
        status, _ = client.ask("GET", f"{V1}/namespaces/{place.one}/jobs/{odd}")
        assert status in (404, 422), odd
    assert place.api.get(place.path(place.one, "wrong")) is None


def test_bodies_are_bounded_and_json(place: Place, client: Client) -> None:
    path = f"{V1}/namespaces/{place.one}/jobs"
    assert client.post(path, b" " * (256 * 1024 + 1))[0] == 413
    large = {"name": "large", "spec": SPEC | {"x": "y" * 256 * 1024}}
    assert client.post(path, large)[0] == 413
    headers = {"Content-Type": "text/plain"}
    assert (
        client.response(
            "POST", path, json.dumps({"name": "n", "spec": SPEC}).encode(), headers
        ).status
        == 415
    )
    assert client.ask("GET", f"{V1}/nothing")[1]["status"] == 404
    response = client.response("PUT", f"{V1}/jobs", {})
    assert response.status == 405 and json.loads(response.data)["title"] == "Method Not Allowed"
    assert response.headers["Content-Type"] == "application/problem+json"


def test_every_answer_has_the_headers_that_protect_browsers(client: Client) -> None:
    for path in (f"{V1}/jobs", f"{V1}/nothing", "/nothing", f"{V1}/openapi.json", "/livez", "/"):
        headers = client.response("GET", path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == (
            "nosniff",
            "no-referrer",
        )
        assert "Access-Control-Allow-Origin" not in headers and "Server" not in headers
    assert client.response("GET", f"{V1}/jobs").headers["Cache-Control"] == "no-store"


def test_metrics_have_routes_not_paths(place: Place, process: ApiProcess, client: Client) -> None:
    client.ask("GET", f"{V1}/namespaces/{place.one}/jobs/never-there")
    client.ask("GET", "/never/there")
    scraped = process.scrape()
    route = f'route="{V1}/namespaces/{{namespace}}/jobs/{{name}}"'
    assert f'fpj_api_requests_total{{method="GET",{route},status="404"}}' in scraped
    assert 'fpj_api_requests_total{method="GET",route="other",status="404"}' in scraped
    assert "never" not in scraped and place.one not in scraped
    assert 'fpj_api_reviews_total{kind="access",result="yes"}' in scraped


# A job that runs ----------------------------------------------------------------------------------


def test_a_job_made_here_really_runs(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> None:
    with (
        place_in(cluster, mongodb_server, tmp_path / "place") as place,
        world_in(cluster, mongodb_server, tmp_path / "world") as world,
    ):
        place.store_url, place.one = world.store_url, world.namespace
        world.cache_folder()
        world.photos("photos", 12, broken=7)
        operator = world.operator()
        with place.serving() as process:
            run_and_look(place, world, process)
            assert process.stop() == 0
        assert operator.stop() == 0


def run_and_look(place: Place, world: World, process: ApiProcess) -> None:
    user = account(place.kube, world.namespace, "owner")
    grant(place.kube, "fpj-admin", user, None, world.namespace)
    client = Client(process.url, token(place.kube, user))
    path = f"{V1}/namespaces/{world.namespace}/jobs"
    wait_for(lambda: client.ask("GET", f"{path}/none")[0] == 404, "the binding holds", 30)
    spec = job_manifest("photos", "photos")["spec"]
    with client.stream() as stream:
        assert client.post(path, {"name": "photos", "spec": spec})[0] == 201
        phases: list[str] = []
        while not phases or phases[-1] != "CompletedWithErrors":
            phases.append(stream.until("job", "photos", seconds=120)["phase"])
    assert phases[0] == "Pending" and "Running" in phases
    world.check_exact("photos", "photos", completed=5, failed=7)

    first = client.get(f"{path}/photos/failures?limit=4")
    rest = client.get(f"{path}/photos/failures?limit=4&cursor={first['next']}")
    failures = first["items"] + rest["items"]
    assert [each["key"] for each in failures] == [f"{number:04}.jpg" for number in range(5, 12)]
    assert rest["next"] is None and failures == sorted(failures, key=lambda each: each["ordinal"])
    assert failures[0].keys() == {"key", "type", "message", "attempts", "ordinal"}
    assert client.get(f"{path}/photos/failures?type=NotFound")["items"] == []
    assert client.ask("GET", f"{path}/photos/failures?type=Nope")[0] == 422
    assert (
        client.ask("GET", f"{path}/photos/failures?type=NotFound&cursor={first['next']}")[0] == 400
    )

    (statistics,) = client.get(f"{V1}/cache/statistics?namespace={world.namespace}")["items"]
    assert (statistics["collection"], statistics["images"]) == ("photos", 12)
    assert statistics["tiers"]["thumbnail"]["files"] == 5
    detail = client.get(f"{path}/photos")
    assert (
        detail["errors"] == {failures[0]["type"]: 7} and detail["events"] and detail["conditions"]
    )
    folders = client.get(f"{V1}/cache/folders?namespace={world.namespace}")["items"]
    assert [folder["name"] for folder in folders] == ["cache"]

    number = world.status("photos")["attempt"]["number"]
    status, answer = client.post(f"{V1}/jobs/recover", {"namespace": world.namespace})
    assert status == 200 and [each["done"] for each in answer["results"]] == [True]
    world.until(lambda: world.status("photos")["attempt"]["number"] > number, "another attempt")
    world.wait_end("photos", "CompletedWithErrors")
    assert client.ask("DELETE", f"{path}/photos")[0] == 202
    world.until(lambda: client.ask("GET", f"{path}/photos")[0] == 404, "it goes")
