"""What stands around the routes, without a cluster: bodies, tokens, files of the dashboard, probes, descriptions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from unit.rest.clusters import FakeCluster, job

from fpj_api import metrics, middleware, pages
from fpj_api.app import application
from fpj_api.context import backend_of
from fpj_api.models import JobPage
from fpj_api.problems import problem_of
from fpj_api.settings import ApiSettings
from fpj_api.storage import Storage
from fpj_api.table import held_of
from fpj_core.cluster import ClusterError, NoAnswerError
from fpj_core.errors import ManifestError, StoreError, StoreUnavailableError
from fpj_core.resource import JobResource
from fpj_core.steering import RefusedActionError

V1 = "/api/v1"


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(each.get("body", b"") for each in messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class BrokenStore:
    def __init__(self) -> None:
        self.asked = 0

    def statistics(self) -> list[Any]:
        self.asked += 1
        raise StoreUnavailableError("MongoDB cannot be reached")


class Site:
    """The application with a user ``t``, who may do everything."""

    def __init__(self) -> None:
        self.cluster, self.store = FakeCluster(), BrokenStore()
        self.cluster.users["t"] = {"authenticated": True, "user": {"username": "anna"}}
        self.cluster.rule = lambda spec: True
        self.backend = backend_of(
            ApiSettings("mongodb://store"),
            self.cluster,  # type: ignore[arg-type]
            self.cluster,  # type: ignore[arg-type]
            Storage(self.store),  # type: ignore[arg-type]
        )
        self.app = application(self.backend)

    def ask(
        self,
        method: str,
        path: str,
        *chunks: bytes,
        headers: dict[str, str] | None = None,
        token: str | None = "t",
        unfinished: bool = False,
    ) -> Answer:
        path, _, query = path.partition("?")
        given = ({"authorization": f"Bearer {token}"} if token else {}) | (headers or {})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        queue = [
            {"type": "http.request", "body": chunk, "more_body": unfinished or number < len(chunks)}
            for number, chunk in enumerate(chunks, 1)
        ] or [{"type": "http.request", "body": b"", "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return queue.pop(0) if queue else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        async def run() -> None:
            await asyncio.wait_for(self.app(scope, receive, send), 20)

        asyncio.run(run())
        return Answer(sent)

    def fill(self, *names: str) -> None:
        for informer in self.backend.watched.informers:
            informer.listed = True
        for name in names:
            self.backend.watched.table.put(held_of(JobResource(job(name, 1))))


@pytest.fixture
def site() -> Site:
    return Site()


JSON = {"content-type": "application/json"}


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


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_only_json_is_taken(site: Site, kind: str) -> None:
    assert site.ask("POST", f"{V1}/jobs/recover", b"{}", headers={"content-type": kind}).status == 415
    assert site.ask("POST", f"{V1}/jobs/recover", b"{}").status == 415


def test_before_the_jobs_are_listed(site: Site) -> None:
    assert site.ask("GET", f"{V1}/jobs").status == 503
    assert site.ask("GET", "/readyz", token=None).status == 503
    assert site.ask("GET", "/livez", token=None).status == 200
    site.fill()
    assert site.ask("GET", "/readyz", token=None).body == b"ok\n"
    assert site.ask("GET", f"{V1}/jobs").json == {"items": [], "next": None, "counts": {}}


def test_who_asks_is_found_out_before_anything_else(site: Site) -> None:
    for token in (None, "other", "t t", "é"):
        answer = site.ask("POST", f"{V1}/jobs/bulk", b"nonsense", token=token)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert site.ask("GET", f"{V1}/nothing", token=None).status == 401
    assert site.ask("GET", f"{V1}/nothing").status == 404


def test_the_same_job_has_the_same_cursor_whoever_asks(site: Site) -> None:
    site.fill("a", "b", "c")
    first = site.ask("GET", f"{V1}/jobs?limit=2").json
    JobPage.model_validate(first, strict=True, extra="forbid")
    assert [each["name"] for each in first["items"]] == ["c", "b"]
    rest = site.ask("GET", f"{V1}/jobs?limit=2&cursor={first['next']}").json
    assert ([each["name"] for each in rest["items"]], rest["next"], rest["counts"]) == (["a"], None, {"Pending": 3})


def test_a_store_that_is_away_is_not_asked_again_at_once(site: Site) -> None:
    for _ in range(3):
        answer = site.ask("GET", f"{V1}/cache/statistics")
        assert (answer.status, answer.json["title"]) == (503, "Service Unavailable")
        assert "MongoDB cannot be reached" in answer.json["detail"] and answer.headers["retry-after"]
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
    values = {tuple(sample.labels.values()) for family in metrics.REQUESTS.collect() for sample in family.samples}
    assert ("other", "other", "404") in values or ("other", "other", "405") in values
    assert not any("coffee" in str(value) or "team" in str(value) for value in values)


# The dashboard --------------------------------------------------------------------------------------------


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
    assert site.ask("GET", "/assets/icons/a.svg", token=None).headers["content-type"].startswith("image/svg+xml")
    known = site.ask("GET", "/assets/app.js", token=None, headers={"if-none-match": script.headers["etag"]})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", script.headers["etag"])
    for odd in ("/assets/../../secret", "/assets/none.js", "/assets/", "/assets/icons", "/assets//etc/passwd", "/x"):
        assert site.ask("GET", odd, token=None).status == 404


def test_an_installation_without_the_dashboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "files", lambda _package: tmp_path)
    answer = Site().ask("GET", "/", token=None)
    assert (answer.status, answer.json["detail"]) == (404, "there is no dashboard here")


# The description ------------------------------------------------------------------------------------------


def test_the_description_has_every_request_of_the_design() -> None:
    described = Site().ask("GET", f"{V1}/openapi.json", token=None).json
    requests = {f"{method.upper()} {path}" for path, found in described["paths"].items() for method in found}
    assert requests == {
        f"{method} {V1}{path}"
        for method, path in (
            ("GET", "/jobs"),
            ("GET", "/namespaces/{namespace}/jobs/{name}"),
            ("POST", "/namespaces/{namespace}/jobs"),
            ("DELETE", "/namespaces/{namespace}/jobs/{name}"),
            *(("POST", f"/namespaces/{{namespace}}/jobs/{{name}}/{each}") for each in ("suspend", "resume", "recover")),
            ("GET", "/namespaces/{namespace}/jobs/{name}/failures"),
            ("POST", "/jobs/bulk"),
            ("POST", "/jobs/recover"),
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
            assert {"401", "403", "503"} <= set(found["responses"]) and found["security"]
            assert "application/problem+json" in found["responses"]["422"]["content"]
    properties = described["components"]["schemas"]["Job"]["properties"]
    assert "createdAt" in properties and "worthRecovering" not in properties


# Errors of the cluster -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (NoAnswerError(), 504, "in time"),
        (ClusterError(0, "the API server does not answer"), 503, "does not answer"),
        (ClusterError(500, "broken"), 503, "broken"),
        (ClusterError(429, "too many"), 503, "too many"),
        (ClusterError(403, 'User "fpj-api" cannot patch resource "x"'), 503, "lacks a right"),
        (ClusterError(403, 'jobs "a" is forbidden: exceeded quota'), 403, "exceeded quota"),
        (ClusterError(409, "already exists"), 409, "already exists"),
        (ClusterError(422, "is invalid", causes=(("spec.jobType", "is immutable"),)), 422, "is invalid"),
        (RefusedActionError("a is Completed already"), 409, "already"),
        (StoreError("refused"), 503, "refused"),
        (ManifestError(["x: y"], fields=[("x", "y")]), 422, "breaks the rules"),
        (ValueError("a secret"), 500, "log"),
    ],
)
def test_every_error_has_its_problem(error: Exception, status: int, told: str) -> None:
    found = problem_of(error)
    assert found.status == status and told in found.detail and "secret" not in found.detail
    if isinstance(error, ClusterError) and error.causes:
        assert found.errors == error.causes
