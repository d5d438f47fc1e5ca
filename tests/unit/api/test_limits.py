"""How much one caller may have: streams, reviews on their behalf, and requests that cost much."""

from __future__ import annotations

import asyncio
import difflib
import json
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from unit.api.clusters import FakeCluster, job
from unit.api.site import JSON, V1, Site

from fpj_api import access, actions, limits
from fpj_api.access import Access
from fpj_api.buckets import Bucket, Buckets
from fpj_api.identities import User
from fpj_api.limits import MOST_PER_USER, StreamLimits
from fpj_api.problems import ProblemError
from fpj_api.reviews import Reviewer
from fpj_core import manifest
from fpj_core.errors import ManifestError
from fpj_core.kube.names import JOBS
from fpj_core.manifest import parse_resource

ANNA = User("anna")
STREAM = f"{V1}/cache/jobs/stream"
MANY = [f"n{number}" for number in range(1_000)]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


# Reviews ------------------------------------------------------------------------------------------


def access_of(cluster: FakeCluster, clock: Clock) -> Access:
    reviewer = Reviewer(cluster, 10.0, clock)  # type: ignore[arg-type]
    return Access(reviewer, (), 10.0, clock)


def test_whoever_may_everywhere_is_asked_about_once() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.rule = lambda spec: "namespace" not in spec["resourceAttributes"]
        mine = access_of(cluster, Clock())
        assert await mine.visible(ANNA, JOBS, MANY) == frozenset(MANY)
        assert len(cluster.asked) == 1
        await mine.require_all(ANNA, "patch", JOBS, MANY[:500])
        assert len(cluster.asked) == 2

    asyncio.run(scene())


def test_whoever_sees_nothing_is_not_asked_about_again_and_again() -> None:
    """The load of the finding: 1,000 namespaces, and a list every few seconds."""

    async def scene() -> None:
        clock, cluster = Clock(), FakeCluster()
        mine = access_of(cluster, clock)
        assert await mine.visible(ANNA, JOBS, MANY) == frozenset()
        assert len(cluster.asked) == 1_001
        for _ in range(5):
            clock.now += 11
            assert await mine.visible(ANNA, JOBS, MANY) == frozenset()
        assert len(cluster.asked) == 1_001 + 5
        cluster.rule = lambda spec: spec["resourceAttributes"].get("namespace") == "n7"
        clock.now += 11
        assert await mine.visible(ANNA, JOBS, MANY) == {"n7"}, "in the end it is asked again"
        clock.now += 11
        before = len(cluster.asked)
        assert await mine.visible(ANNA, JOBS, MANY) == {"n7"}
        assert len(cluster.asked) == before + 2
        cluster.rule = lambda spec: False
        clock.now += 11
        assert await mine.visible(ANNA, JOBS, MANY) == frozenset(), (
            "what is taken away is gone at once"
        )

    asyncio.run(scene())


def test_a_right_that_is_found_elsewhere_shows_at_once() -> None:
    async def scene() -> None:
        clock, cluster = Clock(), FakeCluster()
        mine = access_of(cluster, clock)
        assert await mine.visible(ANNA, JOBS, ["a"]) == frozenset()
        cluster.rule = lambda spec: spec["resourceAttributes"].get("namespace") == "a"
        clock.now += 11
        await mine.require(ANNA, "list", JOBS, "a")
        assert await mine.visible(ANNA, JOBS, ["a"]) == {"a"}

    asyncio.run(scene())


def test_reviews_for_one_caller_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REVIEWS", 100)

    async def scene() -> None:
        clock, cluster = Clock(), FakeCluster()
        mine = access_of(cluster, clock)
        assert await mine.visible(ANNA, JOBS, MANY[:100]) == frozenset()
        with pytest.raises(ProblemError) as raised:
            await mine.visible(ANNA, JOBS, MANY[100:200])
        assert raised.value.status == 429 and raised.value.headers["Retry-After"]
        assert await mine.visible(User("ben"), JOBS, MANY[100:200]) == frozenset()
        await mine.visible(ANNA, JOBS, MANY[:100])

    asyncio.run(scene())


def test_one_that_is_enough_is_enough() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        mine = access_of(cluster, Clock())
        assert not await mine.sees_any(ANNA, JOBS, MANY, "watch")
        cluster.rule = lambda spec: bool(spec["resourceAttributes"].get("namespace"))
        cluster.asked.clear()
        assert await mine.sees_any(User("ben"), JOBS, MANY, "watch")
        assert len(cluster.asked) <= 20

    asyncio.run(scene())


# Streams ------------------------------------------------------------------------------------------


def test_whoever_sees_nothing_gets_no_stream() -> None:
    site = Site()
    site.fill("a")
    site.cluster.rule = lambda spec: False
    for _ in range(30):
        answer = site.ask("GET", STREAM)
        assert (answer.status, answer.json["title"]) == (403, "Forbidden")
        assert 'User "anna" cannot watch' in answer.json["detail"]
    assert site.backend.streams.open == 0


def test_an_account_of_a_namespace_without_jobs_gets_its_stream() -> None:
    site = Site()
    site.fill("a")
    site.cluster.users["t"]["user"]["username"] = "system:serviceaccount:empty:viewer"
    site.cluster.rule = lambda spec: spec["resourceAttributes"].get("namespace") == "empty"
    site.backend.watched.hub.close()  # so that it ends at once
    assert site.ask("GET", STREAM).status == 200


def refused(streams: StreamLimits, user: str) -> str:
    with pytest.raises(ProblemError) as raised, streams.one(user):
        pass
    assert raised.value.status == 429
    return raised.value.detail


def test_nobody_has_all_the_streams() -> None:
    """Not even with many accounts of one namespace."""
    streams = StreamLimits(40)
    with ExitStack() as stack:
        for number in range(10):
            stack.enter_context(streams.one(f"system:serviceaccount:greedy:{number}"))
        assert "of namespace greedy" in refused(streams, "system:serviceaccount:greedy:another")
        for _ in range(MOST_PER_USER):
            stack.enter_context(streams.one("anna"))
        assert "anna" in refused(streams, "anna")
        for number in range(10):
            stack.enter_context(streams.one(f"user-{number}"))
        assert streams.open == 30
        assert refused(streams, "user-1"), "the last quarter is for those who have none"
        for number in range(10):
            stack.enter_context(streams.one(f"other-{number}"))
        assert "limit of 40" in refused(streams, "ben")
    assert streams.open == 0
    with streams.one("ben"):
        assert streams.open == 1


# Requests that cost much --------------------------------------------------------------------------


def test_requests_that_cost_much_are_limited_for_each_caller() -> None:
    site = Site()
    site.cluster.users["other"] = {"authenticated": True, "user": {"username": "ben"}}
    site.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1)
    body = json.dumps({"action": "suspend", "jobs": [{"namespace": "team", "name": "a"}]}).encode()
    found = [site.ask("POST", f"{V1}/jobs/bulk", body, headers=JSON) for _ in range(100)]
    statuses = [answer.status for answer in found]
    assert statuses[:5] == [200] * 5 and statuses.count(200) <= limits.BURST
    assert statuses[-1] == 429 and found[-1].headers["retry-after"]
    assert site.ask("POST", f"{V1}/jobs/bulk", body, headers=JSON, token="other").status == 200
    site.cluster.rule = lambda spec: False
    site.cluster.users["third"] = {"authenticated": True, "user": {"username": "cara"}}
    refused = [
        site.ask("POST", f"{V1}/jobs/bulk", body, headers=JSON, token="third").status
        for _ in range(30)
    ]
    assert refused == [403] * 30, "what is not allowed is not counted"
    site.cluster.rule = lambda spec: True
    assert site.ask("POST", f"{V1}/namespaces/team/jobs/a/suspend").status == 202, (
        "one job at a time costs little"
    )


def test_a_bucket_is_bounded_and_fills_again() -> None:
    clock = Clock()
    bucket = Bucket(2, 0.5, clock)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    assert bucket.seconds() == 2
    clock.now += 2
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 1_000
    assert [bucket.take() for _ in range(3)] == [True, True, False], (
        "no more gathers while nobody asks"
    )
    for _ in range(10):
        bucket.give_back()
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    many = Buckets(1, 1, 3, clock)
    for number in range(100):
        many.of(number)
    assert len(many) == 3


# Manifests ----------------------------------------------------------------------------------------


def huge(count: int) -> dict[str, Any]:
    return {"name": "b", "spec": {f"jobTyp{number}": 1 for number in range(count)}}


def test_thousands_of_mistakes_cost_as_many_hints_as_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hints = 0
    real = difflib.get_close_matches

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal hints
        hints += 1
        return real(*arguments, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    answer = Site().ask(
        "POST", f"{V1}/namespaces/team/jobs", json.dumps(huge(9_000)).encode(), headers=JSON
    )
    assert answer.status == 422 and len(answer.json["errors"]) == 50
    assert hints <= 50


def test_what_was_left_out_is_said() -> None:
    document = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": "b"},
    }
    with pytest.raises(ManifestError) as raised:
        manifest.parse_resource(document | {"spec": huge(500)["spec"]})
    assert len(raised.value.problems) == 51 and "502" in raised.value.problems[-1]
    with pytest.raises(ManifestError) as raised:
        manifest.parse_resource(document | {"spec": {"jobType": "x" * 500_000}})
    assert "did you mean" not in str(raised.value) and len(str(raised.value)) < 500


def test_manifests_are_checked_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    real = parse_resource

    def noted(document: object) -> Any:
        threads.append(threading.current_thread())
        return real(document)

    monkeypatch.setattr(actions, "parse_resource", noted)
    Site().ask("POST", f"{V1}/namespaces/team/jobs", json.dumps(huge(10)).encode(), headers=JSON)
    assert threads and threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"name": "b", "spec": ' + b'{"a": ' * 30_000 + b"1" + b"}" * 30_000 + b"}",
        json.dumps({"action": "suspend", "jobs": [0] * 60_000}).encode(),
        json.dumps(dict.fromkeys(map(str, range(20_000)), 1)).encode(),
        b'{"name": "b", "spec": {"jobType": ' + b"9" * 200_000 + b"}}",
    ],
    ids=["brackets", "depth", "list", "keys", "digits"],
)
def test_a_body_meant_to_hurt_is_refused_in_a_few_words(body: bytes) -> None:
    for path in ("jobs/bulk", "namespaces/team/jobs"):
        answer = Site().ask("POST", f"{V1}/{path}", body, headers=JSON)
        assert answer.status in (400, 422) and len(answer.body) < 20_000
