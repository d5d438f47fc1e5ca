"""What stands around the routes, without a cluster: bodies, tokens, files of the dashboard, probes,
descriptions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from unit.api.clusters import job
from unit.api.site import JSON, V1, Site

from fpj_api import bulk, metrics, middleware, pages
from fpj_api.identities import User
from fpj_api.models import JobPage
from fpj_api.problems import problem_of
from fpj_api.table import held_of
from fpj_core.errors import ManifestError, StoreError
from fpj_core.kube.errors import ClusterError, NoAnswerError
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.steering import Action, RefusedActionError


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_body_is_bounded_however_it_comes(site: Site) -> None:
    path = f"{V1}/jobs/recover"
    said = {"content-length": str(middleware.MOST_BODY + 1)} | JSON
    assert site.ask("POST", path, b"{", headers=said).status == 413
    piece = b" " * 65_536
    assert site.ask("POST", path, *[piece] * 5, headers=JSON).status == 413
    assert site.ask("POST", path, *[piece] * 4, headers=JSON).status == 422


def test_a_body_that_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_BODY_SECONDS", 0.01)
    assert site.ask("POST", f"{V1}/jobs/recover", b"{", headers=JSON, unfinished=True).status == 408


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"]
)
def test_only_json_is_taken(site: Site, kind: str) -> None:
    assert (
        site.ask("POST", f"{V1}/jobs/recover", b"{}", headers={"content-type": kind}).status == 415
    )
    assert site.ask("POST", f"{V1}/jobs/recover", b"{}").status == 415


@pytest.mark.parametrize(
    ("path", "said", "kept"),
    [
        (f"{V1}/jobs", "public, max-age=60", "no-store"),
        (f"{V1}/jobs", None, "no-store"),
        ("/assets/page.js", "public, max-age=60", "public, max-age=60"),
        ("/assets/page.js", None, "no-store"),
    ],
)
def test_no_cache_keeps_what_the_api_answers(path: str, said: str | None, kept: str) -> None:
    """Whatever a route says: the answer is this user's, and of this moment."""
    message: dict[str, Any] = {"headers": [(b"cache-control", said.encode())] if said else []}
    middleware._secure(message, path)
    assert Headers(raw=message["headers"]).getlist("cache-control") == [kept]


def test_before_the_jobs_are_listed(site: Site) -> None:
    assert site.ask("GET", f"{V1}/jobs").status == 503
    not_ready = site.ask("GET", "/readyz", token=None)
    assert not_ready.status == 503 and b"namespace" not in not_ready.body, (
        "it names nothing of the cluster"
    )
    assert site.ask("GET", "/livez", token=None).status == 200
    site.fill()
    assert site.ask("GET", "/readyz", token=None).body == b"ok\n"
    assert site.ask("GET", f"{V1}/jobs").json == {"items": [], "next": None, "counts": {}}


def test_who_asks_is_found_out_before_anything_else(site: Site) -> None:
    for token in (None, "other", "t t", "é"):
        answer = site.ask("POST", f"{V1}/jobs/bulk", b"nonsense", token=token)
        assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert site.ask("GET", f"{V1}/nothing", token=None).status == 401
    assert site.ask("GET", f"{V1}/nothing").status == 404


def test_the_same_job_has_the_same_cursor_whoever_asks(site: Site) -> None:
    site.fill("a", "b", "c")
    first = site.ask("GET", f"{V1}/jobs?limit=2").json
    JobPage.model_validate(first, strict=True, extra="forbid")
    assert [each["name"] for each in first["items"]] == ["c", "b"]
    rest = site.ask("GET", f"{V1}/jobs?limit=2&cursor={first['next']}").json
    assert ([each["name"] for each in rest["items"]], rest["next"], rest["counts"]) == (
        ["a"],
        None,
        {"Pending": 3},
    )


def test_a_store_that_is_away_is_not_asked_again_at_once(site: Site) -> None:
    site.fill()
    for _ in range(3):
        answer = site.ask("GET", f"{V1}/cache/statistics")
        assert (answer.status, answer.json["title"]) == (503, "Service Unavailable")
        assert (
            "the store does not answer" in answer.json["detail"] and answer.headers["retry-after"]
        )
        assert "MongoDB" not in answer.json["detail"]
    assert site.store.asked == 1


def test_what_nobody_expected_is_a_problem_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a mistake, and a secret")

    monkeypatch.setattr(site.backend.watched, "problem", broken)
    answer = site.ask("GET", "/readyz")
    assert answer.status == 500 and answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.body and answer.headers["content-security-policy"]


def test_methods_and_paths_in_metrics_are_from_closed_sets(site: Site) -> None:
    site.ask("BREW", "/coffee/42")
    site.ask("GET", f"{V1}/namespaces/team/jobs/x/unknown")
    values = {
        tuple(sample.labels.values())
        for family in metrics.REQUESTS.collect()
        for sample in family.samples
    }
    assert ("other", "other", "404") in values or ("other", "other", "405") in values
    assert not any("coffee" in str(value) or "team" in str(value) for value in values)


# The dashboard ------------------------------------------------------------------------------------


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pages, "files", lambda _package: tmp_path)
    (tmp_path / "static" / "assets" / "icons").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<!doctype html>")
    (tmp_path / "static" / "assets" / "app.js").write_text("1")
    (tmp_path / "static" / "assets" / "icons" / "a.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("no")
    return tmp_path


def test_files_of_the_dashboard(static: Path) -> None:
    site = Site()
    for path in ("/", "/jobs", "/jobs/team/photos", "/caches"):
        answer = site.ask("GET", path, token=None)
        assert (answer.status, answer.body) == (200, b"<!doctype html>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    script = site.ask("GET", "/assets/app.js", token=None)
    assert script.headers["content-type"].startswith("text/javascript")
    assert (
        site.ask("GET", "/assets/icons/a.svg", token=None)
        .headers["content-type"]
        .startswith("image/svg+xml")
    )
    known = site.ask(
        "GET", "/assets/app.js", token=None, headers={"if-none-match": script.headers["etag"]}
    )
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", script.headers["etag"])
    for odd in (
        "/assets/../../secret",
        "/assets/none.js",
        "/assets/",
        "/assets/icons",
        "/assets//etc/passwd",
        "/x",
    ):
        assert site.ask("GET", odd, token=None).status == 404


def test_an_installation_without_the_dashboard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "files", lambda _package: tmp_path)
    answer = Site().ask("GET", "/", token=None)
    assert (answer.status, answer.json["detail"]) == (404, "the dashboard is not installed here")


# The description ----------------------------------------------------------------------------------


def test_the_description_has_every_request_of_the_design() -> None:
    described = Site().ask("GET", f"{V1}/openapi.json", token=None).json
    requests = {
        f"{method.upper()} {path}" for path, found in described["paths"].items() for method in found
    }
    assert requests == {
        f"{method} {V1}{path}"
        for method, path in (
            ("GET", "/jobs"),
            ("GET", "/namespaces/{namespace}/jobs/{name}"),
            ("POST", "/namespaces/{namespace}/jobs"),
            ("DELETE", "/namespaces/{namespace}/jobs/{name}"),
            *(
                ("POST", f"/namespaces/{{namespace}}/jobs/{{name}}/{each}")
                for each in ("suspend", "resume", "recover")
            ),
            ("GET", "/namespaces/{namespace}/jobs/{name}/failures"),
            ("GET", "/namespaces/{namespace}/cache/folders/{name}"),
            *(
                ("POST", f"/namespaces/{{namespace}}/cache/folders/{{name}}/{each}")
                for each in ("cleanup", "verify", "repair")
            ),
            ("PUT", "/namespaces/{namespace}/cache/folders/{name}/policy"),
            ("GET", "/namespaces/{namespace}/cache/purges"),
            ("POST", "/namespaces/{namespace}/cache/purges"),
            ("GET", "/namespaces/{namespace}/cache/purges/{name}"),
            ("POST", "/jobs/bulk"),
            ("POST", "/jobs/recover"),
            ("POST", "/bulk/operations"),
            ("GET", "/bulk/operations/{operation}"),
            ("DELETE", "/bulk/operations/{operation}"),
            ("GET", "/cache/folders"),
            ("GET", "/cache/statistics"),
            ("GET", "/schedules"),
            ("GET", "/namespaces"),
            ("GET", "/cache/jobs/stream"),
        )
    }
    design = (Path(__file__).parents[3] / "docs" / "design" / "api.md").read_text()
    for path in described["paths"]:
        short = path.removeprefix(V1)
        assert short in design or short.endswith(("/resume", "/recover")), short
    for path in described["paths"].values():
        for found in path.values():
            assert found["security"]
    properties = described["components"]["schemas"]["Job"]["properties"]
    assert "createdAt" in properties and "worthRecovering" not in properties


# Errors of the cluster ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reported"),
    [
        (NoAnswerError(), 504, "in time"),
        (ClusterError(0, "Cannot connect to host 10.0.0.1:443 (a secret)"), 503, "does not answer"),
        (
            ClusterError(500, "failed calling webhook: dial tcp 10.0.0.1 (a secret)"),
            503,
            "does not answer",
        ),
        (ClusterError(429, "too many (a secret)"), 503, "too many"),
        (ClusterError(403, 'User "fpj-api" cannot patch resource "x"'), 503, "lacks a permission"),
        (ClusterError(403, 'jobs "a" is forbidden: exceeded quota'), 403, "exceeded quota"),
        (ClusterError(409, "already exists"), 409, "already exists"),
        (
            ClusterError(422, "is invalid", causes=(("spec.jobType", "is immutable"),)),
            422,
            "is invalid",
        ),
        (RefusedActionError("a is Completed already"), 409, "already"),
        (StoreError("mongo-0.mongo.svc:27017: a secret"), 503, "store"),
        (ManifestError(["x: y"], fields=[("x", "y")]), 422, "is invalid"),
        (ValueError("a secret"), 500, "log"),
    ],
)
def test_every_error_has_its_problem(error: Exception, status: int, reported: str) -> None:
    found = problem_of(error)
    assert found.status == status and reported in found.detail and "secret" not in found.detail
    if isinstance(error, ClusterError) and error.causes:
        assert found.errors == error.causes


# Many at once -------------------------------------------------------------------------------------


def without(*verbs: str) -> Callable[[dict[str, Any]], bool]:
    """May do anything but these."""
    return lambda spec: spec["resourceAttributes"]["verb"] not in verbs


@pytest.mark.parametrize(
    ("action", "lacking", "status"),
    [
        *(
            (action, ("deletecollection", "delete"), 200)
            for action in ("suspend", "resume", "recover")
        ),
        *((action, ("patch",), 403) for action in ("suspend", "resume", "recover")),
        ("cancel", ("deletecollection",), 403),
        ("cancel", ("delete",), 403),
        ("cancel", (), 200),
    ],
)
def test_many_jobs_are_steered_with_the_right_to_steer_one(
    site: Site, action: str, lacking: tuple[str, ...], status: int
) -> None:
    site.cluster.rule = without(*lacking)
    body = json.dumps({"action": action, "jobs": [{"namespace": "team", "name": "a"}]}).encode()
    assert site.ask("POST", f"{V1}/jobs/bulk", body, headers=JSON).status == status
    if action == "recover":
        site.fill()
        assert (
            site.ask("POST", f"{V1}/jobs/recover", b'{"namespace": "team"}', headers=JSON).status
            == status
        )


def test_recovering_all_reaches_no_namespace_that_is_not_shown(site: Site) -> None:
    site.fill()
    for namespace in ("team", "other"):
        failed = job("a", 1, namespace=namespace, phase="Failed")
        site.cluster.objects["FileProcessingJob", namespace, "a"] = failed
        site.backend.watched.table.put(held_of(JobResource(failed)))
    site.cluster.rule = lambda spec: spec["resourceAttributes"].get("namespace") == "team"
    answer = site.ask("POST", f"{V1}/jobs/recover", b"{}", headers=JSON)
    assert (answer.status, [each["namespace"] for each in answer.json["results"]]) == (
        200,
        ["team"],
    )


def test_whoever_may_only_read_steers_nothing(site: Site) -> None:
    site.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1)
    site.cluster.rule = lambda spec: spec["resourceAttributes"]["verb"] in ("get", "list", "watch")
    for action in ("suspend", "resume", "recover"):
        assert site.ask("POST", f"{V1}/namespaces/team/jobs/a/{action}").status == 403
    assert site.ask("DELETE", f"{V1}/namespaces/team/jobs/a").status == 403
    assert site.cluster.writes == []


def test_a_change_is_meant_for_the_job_that_was_read(site: Site) -> None:
    site.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1, uid="its-own")
    assert site.ask("POST", f"{V1}/namespaces/team/jobs/a/suspend").status == 202
    assert [change["metadata"]["uid"] for _, _, change in site.cluster.writes] == ["its-own"]


def test_nothing_more_of_many_is_begun_once_the_cluster_is_away() -> None:
    class Away:
        asked = 0

        async def act(self, *_: object) -> None:
            self.asked += 1
            raise NoAnswerError

    away: Any = Away()
    jobs = [("team", f"job-{number}") for number in range(100)]
    results = asyncio.run(bulk.run(away, User("anna"), Action.SUSPEND, jobs))
    assert away.asked <= 8, "as many as are done at a time"
    assert not any(each.done for each in results)
    assert results[-1].problem and results[-1].problem.startswith("not tried")


# HTTP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a b", "x" * 65, 'a"', "é"])
def test_only_a_request_id_that_can_stand_in_a_log_is_taken(site: Site, given: str) -> None:
    assert (
        site.ask("GET", "/livez", headers={"x-request-id": given}).headers["x-request-id"] != given
    )
    assert (
        site.ask("GET", "/livez", headers={"x-request-id": "Ab.1_-"}).headers["x-request-id"]
        == "Ab.1_-"
    )


def test_of_two_authorizations_none_counts(site: Site) -> None:
    site.fill()
    assert site.ask("GET", f"{V1}/jobs", more=[("authorization", "Bearer other")]).status == 401
    assert site.ask("GET", f"{V1}/jobs").status == 200


def test_errors_are_described_as_they_are_sent() -> None:
    described = Site().ask("GET", f"{V1}/openapi.json", token=None).json
    for path in described["paths"].values():
        for method, found in path.items():
            errors = {status: each for status, each in found["responses"].items() if status >= "4"}
            common = {"400", "401", "403", "404", "422", "429", "500", "503", "504"}
            assert set(errors) == common | (
                set() if method == "get" else {"408", "409", "413", "415"}
            )
            schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
            assert all(
                each["content"] == {"application/problem+json": schema} for each in errors.values()
            )
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_head_is_get_without_a_body(site: Site) -> None:
    site.fill("a")
    for path in ("/livez", "/", f"{V1}/jobs", f"{V1}/nothing"):
        got, head = site.ask("GET", path), site.ask("HEAD", path)
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
    assert site.ask("HEAD", f"{V1}/cache/jobs/stream").status == 405


def test_allow_names_every_method_of_a_path(site: Site) -> None:
    job_path = f"{V1}/namespaces/team/jobs/a"
    assert site.ask("PUT", job_path).headers["allow"] == "DELETE, GET, HEAD"
    answer = site.ask("GET", f"{job_path}/suspend")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert site.ask("POST", f"{V1}/cache/jobs/stream", headers=JSON).headers["allow"] == "GET"


def test_what_is_created_says_where_it_is(site: Site) -> None:
    spec = {"jobType": "Thumbnail", "collection": {"source": {"s3": {"bucket": "photos"}}}}
    body = json.dumps({"name": "b", "spec": spec}).encode()
    answer = site.ask("POST", f"{V1}/namespaces/team/jobs", body, headers=JSON)
    assert (answer.status, answer.headers["location"]) == (201, f"{V1}/namespaces/team/jobs/b")


@pytest.mark.parametrize(
    "path",
    ["jobs?phse=Running", "cache/folders?search=x", "namespaces?x=", "cache/jobs/stream?n=a"],
)
def test_a_misspelled_filter_does_not_show_everything(site: Site, path: str) -> None:
    site.fill("a")
    answer = site.ask("GET", f"{V1}/{path}")
    assert answer.status == 422 and "is unknown" in answer.json["errors"][0]["message"]


def test_a_known_filter_is_taken(site: Site) -> None:
    site.fill("a")
    for query in (
        "phase=Running&phase=Failed",
        "namespace=team",
        "jobType=Thumbnail",
        "search=a&collection=c",
        "limit=3",
    ):
        assert site.ask("GET", f"{V1}/jobs?{query}").status == 200


def test_what_cannot_be_read_is_no_field(site: Site) -> None:
    answer = site.ask("POST", f"{V1}/jobs/recover", b"{,", headers=JSON)
    assert answer.status == 422 and answer.json["errors"][0]["path"] == ""


def test_an_invalid_token_is_told_from_none(site: Site) -> None:
    assert site.ask("GET", f"{V1}/jobs", token=None).headers["www-authenticate"] == "Bearer"
    assert (
        site.ask("GET", f"{V1}/jobs", token="x").headers["www-authenticate"]
        == 'Bearer error="invalid_token"'
    )


# What is asked for --------------------------------------------------------------------------------


def test_events_are_not_listed_at_every_poll(site: Site) -> None:
    site.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1)
    for _ in range(10):
        assert site.ask("GET", f"{V1}/namespaces/team/jobs/a").status == 200
    assert site.cluster.calls == ["list team"]


def test_the_store_is_not_asked_for_who_may_see_nothing(site: Site) -> None:
    site.fill("a")
    site.cluster.rule = lambda spec: False
    assert site.ask("GET", f"{V1}/cache/statistics").json == {"items": [], "next": None}
    assert site.ask("GET", f"{V1}/cache/statistics?namespace=team").status == 403
    assert site.store.asked == 0


def test_statistics_of_one_namespace_are_asked_for_as_such(site: Site) -> None:
    site.ask("GET", f"{V1}/cache/statistics?namespace=team")
    assert site.store.namespaces == ["team"]


def test_a_stream_costs_no_list(site: Site) -> None:
    site.fill("a")
    site.backend.watched.hub.close()
    assert site.ask("GET", f"{V1}/cache/jobs/stream").status == 200
    assert site.cluster.calls == []
