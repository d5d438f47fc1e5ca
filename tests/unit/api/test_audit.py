"""What is written down: changes and refusals, with who asked, from where, and by which request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unit.api.clusters import job
from unit.api.site import JSON, V1, Site

from fpj_core.kube.errors import ClusterError
from fpj_core.process.logs import log_as_json

JOB = f"{V1}/namespaces/team/jobs/a"


@pytest.fixture
def site() -> Site:
    made = Site()
    made.cluster.users["t"]["user"] |= {"uid": "7", "groups": ["curators", "system:authenticated"]}
    made.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1)
    return made


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The audit's lines so far, as they stand in the log."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", written)
    log_as_json()
    (ours,) = root.handlers
    root.handlers[:] = handlers  # pytest adds and removes its own
    logging.getLogger("fpj.api.audit").addHandler(ours)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logging.getLogger("fpj.api.audit").removeHandler(ours)
    root.setLevel(level)


def test_a_change_says_who_from_where_and_by_which_request(site: Site, lines: Any) -> None:
    answer = site.ask(
        "POST", f"{JOB}/suspend", headers={"x-request-id": "abc-1.2_3"}, client="10.1.2.3"
    )
    assert answer.headers["x-request-id"] == "abc-1.2_3"
    (line,) = lines()
    reported = {
        name: line[name]
        for name in ("user", "uid", "groups", "action", "namespace", "job", "outcome")
    }
    assert reported == {
        "user": "anna",
        "uid": "7",
        "groups": ["curators", "system:authenticated"],
        "action": "suspend",
        "namespace": "team",
        "job": "a",
        "outcome": "done",
    }
    assert (line["request"], line["address"]) == ("abc-1.2_3", "10.1.2.3")


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a\u00e9", "<script>"])
def test_an_odd_request_id_is_replaced(site: Site, given: str | None) -> None:
    made = site.ask(
        "GET", "/livez", token=None, headers={"x-request-id": given} if given is not None else {}
    )
    again = site.ask("GET", "/livez", token=None)
    assert (
        made.headers["x-request-id"] != given
        and made.headers["x-request-id"] != again.headers["x-request-id"]
    )
    assert len(made.headers["x-request-id"]) == 16


def test_refusals_are_written_down(site: Site, lines: Any) -> None:
    site.cluster.rule = lambda spec: False
    bulk = json.dumps({"action": "suspend", "jobs": [{"namespace": "team", "name": "a"}]}).encode()
    assert site.ask("POST", f"{JOB}/suspend").status == 403
    assert site.ask("POST", f"{V1}/jobs/bulk", bulk, headers=JSON).status == 403
    assert site.ask("GET", JOB).status == 403
    assert site.ask("GET", JOB, token="other", client="10.9.9.9").status == 401
    found = lines()
    assert [
        (line["message"], line["status"], line["method"], line.get("user")) for line in found
    ] == [
        ("refused", 403, "POST", "anna"),
        ("refused", 403, "POST", "anna"),
        ("refused", 403, "GET", "anna"),
        ("refused", 401, "GET", None),
    ]
    assert (
        found[0]["path"] == f"{JOB}/suspend" and 'User "anna" cannot patch' in found[0]["outcome"]
    )
    assert found[3]["address"] == "10.9.9.9" and all(line["request"] for line in found)


@pytest.mark.parametrize("token", [None, "t"])
def test_refusals_do_not_fill_the_log(site: Site, lines: Any, token: str | None) -> None:
    site.cluster.rule = lambda spec: False
    for _ in range(300):
        site.ask("GET", JOB, token=token)
    before = len(lines())
    assert 0 < before < 200
    site.cluster.users["other"] = {"authenticated": True, "user": {"username": "ben"}}
    site.ask("GET", JOB, token="other")
    assert len(lines()) == before + 1, "others' are still written"


def test_a_change_that_fails_is_written_down_with_its_cause(site: Site, lines: Any) -> None:
    site.cluster.objects.clear()
    assert site.ask("POST", f"{JOB}/suspend").status == 404
    site.cluster.error = ClusterError(
        0, "the API server does not answer: Cannot connect to host 10.0.0.1:443"
    )
    assert site.ask("POST", f"{JOB}/suspend").status == 503
    first, second = lines()
    assert (
        first["outcome"] == "there is no job a in namespace team"
        and "10.0.0.1" in second["outcome"]
    )


# On the resource ----------------------------------------------------------------------------------

NAME = "fpj.dev/changed-by"


def test_the_resource_names_who_changed_it(site: Site) -> None:
    """So Kubernetes' own audit does, which otherwise only knows the API's account."""
    body = json.dumps(
        {
            "name": "b",
            "spec": {
                "collection": {"source": {"s3": {"bucket": "photos"}}},
                "jobType": "Thumbnail",
            },
        }
    )
    assert site.ask("POST", f"{V1}/namespaces/team/jobs", body.encode(), headers=JSON).status == 201
    assert site.ask("POST", f"{JOB}/suspend").status == 202
    assert site.ask("POST", f"{JOB}/recover").status == 202
    assert site.ask("DELETE", JOB).status == 202
    named = {
        verb: sent["metadata"]["annotations"][NAME]
        for verb, _, sent in site.cluster.writes
        if verb != "delete"
    }
    assert named == {"create": "anna", "patch": "anna"}
    assert [verb for verb, _, _ in site.cluster.writes] == [
        "create",
        "patch",
        "patch",
        "patch",
        "delete",
    ]
    assert "fpj.dev/resume" in site.cluster.writes[2][2]["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("system:serviceaccount:a:b", None),
        ("a\nb\x1b[0m\u202eé", "a b [0m é"),
        ("x" * 1_000, "x" * 256),
    ],
)
def test_a_name_is_bounded_and_harmless(site: Site, name: str, kept: str | None) -> None:
    site.cluster.users["t"]["user"]["username"] = name
    assert site.ask("POST", f"{JOB}/suspend").status == 202
    assert site.cluster.writes[-1][2]["metadata"]["annotations"][NAME] == (kept or name)


def test_what_is_done_to_a_cache_folder_is_noted_with_its_name(site: Site, lines: Any) -> None:
    folder = f"{V1}/namespaces/team/cache/folders/cache"
    assert site.ask("POST", f"{folder}/repair").status == 404
    metadata = {"name": "cache", "namespace": "team", "uid": "u", "creationTimestamp": "t"}
    spec = {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}}
    site.cluster.objects["CacheFolder", "team", "cache"] = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "CacheFolder",
        "metadata": metadata,
        "spec": spec,
    }
    assert site.ask("POST", f"{folder}/repair").status == 202
    body = b'{"maxBytes": "1Gi", "policy": null}'
    assert site.ask("PUT", f"{folder}/policy", body, headers=JSON).status == 200
    ordered = b'{"cacheFolder": "cache", "collection": "photos", "all": true}'
    purges = f"{V1}/namespaces/team/cache/purges"
    assert site.ask("POST", purges, ordered, headers=JSON).status == 201
    found = [(each["action"], each["outcome"], each["user"]) for each in lines()]
    assert found == [
        ("repair", "there is no cache folder cache in namespace team", "anna"),
        ("repair", "done", "anna"),
        ("policy", "done", "anna"),
        ("purge all of photos from cache", "done", "anna"),
    ]
    assert [each.get("folder") for each in lines()] == ["cache", "cache", "cache", None]
    assert lines()[3]["purge"].startswith("cache-") and "job" not in lines()[3]
