"""Bulk operations through the API: who may, what is made, once, how far it is, and its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.api.clusters import Document, job
from unit.api.site import JSON, V1, Answer, Site

from fpj_api import bulk
from fpj_api.table import held_of
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.jobresource import JobResource

PATH = f"{V1}/bulk/operations"
SOURCE = {"s3": {"bucket": "photos"}}


class Collections(Site):
    """With jobs of collections in two namespaces, and one schedule."""

    def __init__(self) -> None:
        super().__init__()
        for informer in self.backend.watched.informers:
            informer.listed = True
        self.put("one", "a", "one-cache", "Cache", cache={"tiers": [{"name": "medium"}]})
        self.put("one", "b", "two-both", "Both", labels={"team": "web"})
        self.put("two", "c", "three-both", "Both")
        self.schedules = [schedule("one", "d", team="web")]
        self.cluster.users["ben"] = {"authenticated": True, "user": {"username": "ben"}}

    def put(
        self,
        namespace: str,
        collection: str,
        name: str,
        job_type: str,
        *,
        labels: dict[str, str] | None = None,
        phase: str = "Completed",
        **spec: Any,
    ) -> Document:
        made = job(name, 1, namespace=namespace, phase=phase)
        made["metadata"]["labels"] = labels or {}
        made["spec"] = {"jobType": job_type, "collection": {"id": collection, "source": SOURCE}}
        made["spec"] |= spec
        self.cluster.objects["FileProcessingJob", namespace, name] = made
        self.watch()
        return made

    def watch(self) -> None:
        """What the informer would hear."""
        there = [
            held_of(JobResource(found))
            for (kind, *_), found in self.cluster.objects.items()
            if kind == "FileProcessingJob"
        ]
        self.backend.watched.table.replace(None, there)

    def post(self, key: str | None = "key", token: str = "t", **body: Any) -> Answer:
        self.cluster.lists = [
            {"metadata": {"resourceVersion": "1", "continue": ""}, "items": self.schedules}
        ]
        headers = JSON | ({"idempotency-key": key} if key is not None else {})
        sent = json.dumps({"jobType": "Both"} | body).encode()
        return self.ask("POST", PATH, sent, headers=headers, token=token)

    @property
    def made(self) -> list[Document]:
        return [sent for verb, _, sent in self.cluster.writes if verb == "create"]


def schedule(namespace: str, name: str, **labels: str) -> Document:
    spec = {"jobType": "Both", "collection": {"source": SOURCE}}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {"schedule": "@daily", "jobTemplate": template},
    }


def collections(*names: str) -> list[dict[str, str]]:
    """``one/a``."""
    parted = [name.partition("/") for name in names]
    return [{"namespace": namespace, "collection": name} for namespace, _, name in parted]


@pytest.fixture
def site() -> Collections:
    return Collections()


def states(answer: Answer) -> dict[str, str]:
    assert answer.status in (200, 201), answer.body
    return {
        f"{each['namespace']}/{each['collection']}": each["state"]
        for each in answer.json["results"]
    }


# What is chosen -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ({"all": True}, "one/a one/b one/d two/c"),
        ({"all": True, "namespace": "one"}, "one/a one/b one/d"),
        ({"selector": "team=web"}, "one/b one/d"),
        ({"selector": "!team", "namespace": "two"}, "two/c"),
        ({"collections": collections("two/c", "one/a", "two/c")}, "one/a two/c"),
    ],
)
def test_what_is_chosen(site: Collections, body: dict[str, Any], chosen: str) -> None:
    answer = site.post(**body)
    assert answer.status == 201
    assert states(answer) == dict.fromkeys(chosen.split(), "Created")
    operation = answer.json["id"]
    assert answer.headers["location"] == f"{PATH}/{operation}"
    assert answer.json["created"] == len(site.made) == len(chosen.split())
    for manifest in site.made:
        assert manifest["metadata"]["labels"]["fpj.dev/bulk"] == operation
        assert manifest["metadata"]["annotations"]["fpj.dev/bulk-size"] == str(len(site.made))
        assert manifest["metadata"]["annotations"]["fpj.dev/changed-by"] == "anna"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ""),
        ({"all": True, "selector": "a=b"}, ""),
        ({"all": False}, "all"),
        ({"selector": "team in web"}, "selector"),
        ({"selector": "team=none"}, ""),
        ({"all": True, "namespace": "empty"}, ""),
        ({"collections": []}, "collections"),
        ({"collections": collections(*(f"one/c{n}" for n in range(501)))}, "collections"),
        ({"collections": collections("One/a")}, "collections[0].namespace"),
        ({"collections": collections("one/a"), "namespace": "one"}, "namespace"),
        ({"all": True, "jobType": "Everything"}, "jobType"),
        ({"all": True, "dryRun": "no"}, "dryRun"),
        ({"all": True, "dry_run": True}, "dry_run"),
    ],
)
def test_what_cannot_be_meant(site: Collections, body: dict[str, Any], path: str) -> None:
    answer = site.post(**body)
    assert answer.status == 422 and answer.headers["content-type"] == "application/problem+json"
    assert [each["path"] for each in answer.json["errors"]] == [path]
    assert not site.made


def test_more_than_can_be(site: Collections) -> None:
    site.schedules = [schedule("one", f"s{number}") for number in range(500)]
    answer = site.post(all=True)
    assert answer.status == 422 and "503 collections" in answer.json["errors"][0]["message"]
    assert states(site.post(all=True, namespace="two")) == {"two/c": "Created"}


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "a b", "é"])
def test_a_key_that_is_none(site: Collections, key: str) -> None:
    answer = site.post(key=key, all=True)
    assert answer.status == 422 and not site.made


# What is made -------------------------------------------------------------------------------------


def test_a_dry_run_says_all_and_does_nothing(site: Collections) -> None:
    site.put("one", "a", "one-thumbs", "Thumbnail", phase="Running")
    answer = site.post(all=True, dryRun=True)
    assert answer.status == 200 and answer.json["dryRun"] and not answer.json["created"]
    assert set(states(answer).values()) == {"Planned"} and not site.cluster.writes
    found = {each["collection"]: each for each in answer.json["results"]}
    assert found["a"]["copiedFrom"] == [
        "FileProcessingJob one-thumbs",
        "FileProcessingJob one-cache",
    ]
    assert found["a"]["active"] == "one-thumbs" and found["a"]["usual"] == []
    assert found["d"]["copiedFrom"] == ["FileProcessingSchedule d"] and found["d"]["active"] is None
    assert states(site.post(all=True)).keys() == states(answer).keys(), "the same, with that key"
    assert {each["metadata"]["name"] for each in site.made} == {
        each["job"] for each in answer.json["results"]
    }


def test_settings_that_nothing_says(site: Collections) -> None:
    (only,) = site.post(collections=collections("one/a")).json["results"]
    assert only["usual"] == ["thumbnail"]
    assert site.made[0]["spec"]["cache"] == {"tiers": [{"name": "medium"}]}
    assert "fpj.dev/requester" not in site.made[0]["metadata"]["annotations"]


def test_a_failed_job_is_copied_only_where_there_is_nothing_else(site: Collections) -> None:
    site.put("one", "b", "zz-wrong", "Both", phase="Failed", priority=1)
    site.put("one", "e", "zz-alone", "Both", phase="Failed", priority=2)
    site.put("one", "d", "zz-failed", "Both", phase="Failed")
    found = {
        each["collection"]: each["copiedFrom"][0]
        for each in site.post(all=True, namespace="one", dryRun=True).json["results"]
    }
    assert found["b"] == "FileProcessingJob two-both"
    assert found["d"] == "FileProcessingSchedule d"
    assert found["e"] == "FileProcessingJob zz-alone"


def test_one_that_cannot_be_stops_no_other(site: Collections) -> None:
    site.put("one", "local", "here", "Both")["spec"]["collection"]["source"] = {
        "local": {"path": "/photos"}
    }
    site.put("one", "odd", "odd", "Both", unknown=True)
    site.put("one", "gone", "gone", "Both")
    del site.cluster.objects["FileProcessingJob", "one", "gone"]
    wanted = ("one/a", "one/none", "one/local", "one/odd", "one/gone")
    answer = site.post(collections=collections(*wanted), dryRun=True)
    assert answer.status == 200
    found = {each["collection"]: each["problem"] for each in answer.json["results"]}
    assert found["a"] is None
    for name, words in {
        "none": "no job or schedule names it",
        "local": "one machine",
        "odd": "spec.unknown",
        "gone": "just been deleted",
    }.items():
        assert words in found[name]
    made = site.post(collections=collections(*wanted))
    assert made.status == 201 and list(states(made).values()).count("NotCreated") == 4
    assert site.made[0]["metadata"]["annotations"]["fpj.dev/bulk-size"] == "1"


# Once ---------------------------------------------------------------------------------------------


def test_the_same_key_makes_nothing_twice(site: Collections) -> None:
    first = site.post(all=True)
    again = site.post(all=True)
    assert again.status == 200 and again.json["id"] == first.json["id"]
    assert set(states(again).values()) == {"Exists"} and len(site.made) == 4
    other = site.post(all=True, key="other")
    assert other.status == 201 and other.json["id"] != first.json["id"]
    assert site.post(all=True, token="ben").json["id"] != first.json["id"], "a key is one user's"
    site.cluster.writes.clear()
    ids = {site.post(key=None, collections=collections("one/a")).json["id"] for _ in range(3)}
    assert len(ids) == len(site.made) == 3, "without a key each request is one of its own"


def test_collections_that_have_come_since_belong_to_another_operation(site: Collections) -> None:
    site.post(all=True)
    site.watch()
    site.put("two", "new", "newcomer", "Both")
    again = site.post(all=True)
    assert set(states(again).values()) == {"Exists"} and "two/new" not in states(again)
    assert len(site.made) == 4


def test_the_same_key_makes_what_is_missing(site: Collections) -> None:
    """As after a crash of the API, or a cluster that was away."""
    first = site.post(all=True)
    del site.cluster.objects["FileProcessingJob", "one", first.json["results"][1]["job"]]
    again = site.post(all=True)
    assert list(states(again).values()) == ["Exists", "Created", "Exists", "Exists"]


@pytest.mark.parametrize(
    "body",
    [{"all": True, "force": True}, {"all": True, "jobType": "Cache"}, {"selector": "team=web"}],
)
def test_a_key_of_another_request_is_refused(site: Collections, body: dict[str, Any]) -> None:
    site.post(all=True)
    answer = site.post(**body)
    assert answer.status == 422 and "belongs to another request" in answer.json["detail"]
    assert len(site.made) == 4
    assert site.post(all=True, dryRun=True).status == 200, "a dry run asks for the same"


def test_the_order_of_collections_is_not_another_request(site: Collections) -> None:
    site.post(collections=collections("one/a", "two/c"))
    assert site.post(collections=collections("two/c", "one/a", "one/a")).status == 200


def test_one_request_at_a_time_for_each_operation(site: Collections) -> None:
    operation = site.post(all=True, dryRun=True).json["id"]
    with site.backend.underway.one(operation):
        answer = site.post(all=True)
        assert answer.status == 409 and answer.headers["retry-after"] and not site.made
        assert site.post(all=True, key="other").status == 201
    assert site.post(all=True).status == 201


def test_a_namesake_that_is_another_job_is_left_alone(site: Collections) -> None:
    name = site.post(collections=collections("one/a"), dryRun=True).json["results"][0]["job"]
    site.put("one", "other", name, "Both")
    answer = site.post(collections=collections("one/a"))
    (only,) = answer.json["results"]
    assert (answer.status, only["state"]) == (200, "NotCreated") and "exists" in only["problem"]


def test_a_job_that_came_in_between_is_the_same(
    site: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.post(all=True)

    async def nothing(*_: object) -> list[Document]:
        return []

    monkeypatch.setattr(site.backend.lists, "labelled", nothing)
    assert set(states(site.post(all=True)).values()) == {"Exists"}
    assert len(site.made) == 4


# Who may ------------------------------------------------------------------------------------------


def allowed(site: Collections, *rights: str) -> None:
    """``verb resource namespace``; a star for any."""

    def rule(spec: Document) -> bool:
        asked = spec["resourceAttributes"]
        given = (asked["verb"], asked["resource"], asked.get("namespace") or "(all)")
        return any(
            all(one in ("*", other) for one, other in zip(right.split(), given, strict=True))
            for right in rights
        )

    site.cluster.rule = rule


def test_whoever_may_not_create_in_one_namespace_makes_nothing(site: Collections) -> None:
    allowed(site, "list fileprocessingjobs *", "create fileprocessingjobs one")
    for dry in (True, False):
        answer = site.post(all=True, dryRun=dry)
        assert answer.status == 403 and "cannot create" in answer.json["detail"]
    assert not site.cluster.writes
    assert states(site.post(all=True, namespace="one")).keys() == {"one/a", "one/b"}


def test_what_somebody_may_not_see_is_not_chosen(site: Collections) -> None:
    allowed(site, "* fileprocessingjobs two", "* fileprocessingschedules two")
    assert states(site.post(all=True)) == {"two/c": "Created"}
    answer = site.post(key="other", collections=collections("one/a", "one/none"))
    assert answer.status == 403 and len(site.made) == 1


def test_seeing_and_creating_are_two_rights(site: Collections) -> None:
    allowed(site, "create fileprocessingjobs *")
    assert site.post(collections=collections("one/a")).status == 403
    assert site.post(all=True).status == 422, "there is nothing that they may see"


def test_many_jobs_cost_more(site: Collections) -> None:
    statuses = [site.post(key=str(n), all=True, dryRun=True).status for n in range(40)]
    assert statuses[0] == 200 and statuses[-1] == 429


# Progress and end ---------------------------------------------------------------------------------


def test_progress_of_the_whole(site: Collections) -> None:
    operation = site.post(all=True).json["id"]
    found = site.ask("GET", f"{PATH}/{operation}").json
    assert (found["size"], found["jobs"], found["finished"]) == (4, 4, 0), (
        "known at once, though nobody has reported of them yet"
    )
    names = [name for kind, name, _ in site.cluster.writes if kind == "create"]
    for number, name in enumerate(names):
        for (_, _, found_name), document in site.cluster.objects.items():
            if found_name == name:
                progress = {"total": 100, "completed": 50, "percent": 50}
                document["status"] = {"phase": "Running", "progress": progress}
                if not number:
                    document["status"]["phase"] = "Completed"
    site.watch()
    found = site.ask("GET", f"{PATH}/{operation}").json
    assert (found["jobs"], found["finished"]) == (4, 1)
    assert found["phases"] == {"Completed": 1, "Running": 3}
    assert found["progress"]["total"] == 400 and found["progress"]["percent"] == 62
    assert [each["name"] for each in found["items"]] == sorted(names, key=names.index)
    listed = site.ask("GET", f"{V1}/jobs?search={operation}").json["items"]
    assert {each["bulk"] for each in listed} == {operation} and len(listed) == 4


def test_an_operation_that_nobody_knows(site: Collections) -> None:
    assert site.ask("GET", f"{PATH}/bulk-000000000000").status == 404
    assert site.ask("DELETE", f"{PATH}/bulk-000000000000").status == 404
    assert site.ask("GET", f"{PATH}/nonsense").status == 422


def test_only_jobs_that_may_be_seen_count(site: Collections) -> None:
    operation = site.post(all=True).json["id"]
    site.watch()
    allowed(site, "list fileprocessingjobs two")
    found = site.ask("GET", f"{PATH}/{operation}", token="ben").json
    assert [each["namespace"] for each in found["items"]] == ["two"]
    site.cluster.users["cara"] = {"authenticated": True, "user": {"username": "cara"}}
    allowed(site)
    assert site.ask("GET", f"{PATH}/{operation}", token="cara").status == 404


def test_cancelling_ends_what_has_not_finished(site: Collections) -> None:
    operation = site.post(all=True).json["id"]
    done = site.made[0]["metadata"]["name"]
    site.cluster.objects["FileProcessingJob", "one", done]["status"] = {"phase": "Completed"}
    site.watch()
    allowed(site, "list * *", "delete fileprocessingjobs *", "deletecollection * one")
    assert site.ask("DELETE", f"{PATH}/{operation}", token="ben").status == 403
    assert not [verb for verb, *_ in site.cluster.writes if verb == "delete"]
    allowed(site, "* * *")
    answer = site.ask("DELETE", f"{PATH}/{operation}")
    assert answer.status == 202 and answer.json["remaining"] == 0
    assert [each["done"] for each in answer.json["results"]] == [True] * 3
    deleted = {name for verb, name, _ in site.cluster.writes if verb == "delete"}
    assert deleted == {each["metadata"]["name"] for each in site.made} - {done}


def test_a_cluster_that_is_away(site: Collections, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise ClusterError(0, "cannot connect to 10.0.0.1")

    monkeypatch.setattr(site.backend.actions, "make", away)
    answer = site.post(all=True)
    assert (answer.status, answer.json["created"]) == (200, 0)
    problems = {each["problem"] for each in answer.json["results"]}
    assert all("cluster's API server" in each and "10.0" not in each for each in problems)


def test_no_more_is_begun_after_a_while(site: Collections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_SECONDS", -1.0)
    answer = site.post(all=True)
    assert answer.status == 200 and not site.made
    assert {each["problem"] for each in answer.json["results"]} == {
        "not tried: the time limit was reached"
    }
    monkeypatch.setattr(bulk, "_SECONDS", 45.0)
    assert set(states(site.post(all=True)).values()) == {"Created"}, "the same key goes on"


def test_the_schema_says_that_one_choice_is_made() -> None:
    described = Site().ask("GET", f"{V1}/openapi.json", token=None).json
    schema = described["components"]["schemas"]["Generate"]
    assert schema["oneOf"] == [{"required": [each]} for each in ("collections", "selector", "all")]
    assert schema["additionalProperties"] is False and schema["required"] == ["jobType"]
