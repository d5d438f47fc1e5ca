"""Who somebody is and what they may do: asked rarely, never taken for granted,
and tokens are not kept.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from unit.api.clusters import FakeCluster

from fpj_api.access import VERBS, Access
from fpj_api.identities import Identities, User, user_of
from fpj_api.problems import ProblemError
from fpj_api.reviews import Question, Reviewer
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import JOBS

ANNA = User("anna")
KNOWN = {
    "authenticated": True,
    "user": {"username": "anna", "uid": "7", "groups": ["g"], "extra": {"k": ["v", "w"]}},
}


def reviewer(cluster: FakeCluster) -> Reviewer:
    return Reviewer(cluster, 10)  # type: ignore[arg-type]


def identities(cluster: FakeCluster, *audiences: str) -> Identities:
    return Identities(cluster, audiences, 10)  # type: ignore[arg-type]


def in_namespaces(*namespaces: str) -> Any:
    """May anything, in these."""
    return lambda spec: spec["resourceAttributes"].get("namespace") in namespaces


def test_what_the_cluster_knows_of_somebody_is_all_passed_on() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.users["t"] = KNOWN
        asked = reviewer(cluster)
        user = await identities(cluster).user("t")
        assert user
        assert user == User("anna", "7", ("g",), (("k", ("v", "w")),))
        assert not await asked.allowed(Question(user, "patch", JOBS, "team", "job"))
        kind, spec = cluster.asked[-1]
        assert kind == "SubjectAccessReview"
        assert spec == {
            "user": "anna",
            "uid": "7",
            "groups": ["g"],
            "extra": {"k": ["v", "w"]},
            "resourceAttributes": {
                "group": "fpj.dev",
                "version": "v1alpha1",
                "resource": "fileprocessingjobs",
                "verb": "patch",
                "namespace": "team",
                "name": "job",
            },
        }

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("status", "audiences", "known"),
    [
        (KNOWN, [], True),
        (KNOWN, ["fpj"], False),  # an authenticator that knows nothing of audiences
        (KNOWN | {"audiences": ["other"]}, ["fpj"], False),
        (KNOWN | {"audiences": ["fpj", "other"]}, ["fpj"], True),
        (KNOWN | {"authenticated": "yes"}, [], False),
        (KNOWN | {"user": {}}, [], False),
        ({"error": "expired"}, [], False),
        ({}, [], False),
    ],
)
def test_whose_a_token_is(status: dict[str, Any], audiences: list[str], known: bool) -> None:
    assert (user_of(status, audiences) is not None) == known


def test_audiences_are_asked_for() -> None:
    cluster = FakeCluster()
    asyncio.run(identities(cluster, "a", "b").user("t"))
    asyncio.run(identities(cluster).user("t"))
    assert [spec for _, spec in cluster.asked] == [
        {"token": "t", "audiences": ["a", "b"]},
        {"token": "t"},
    ]


def test_it_is_asked_once_for_all_who_ask_and_for_unknown_tokens_too() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        asked, access = identities(cluster), reviewer(cluster)
        assert await asyncio.gather(*(asked.user("unknown") for _ in range(20))) == [None] * 20
        assert await asked.user("unknown") is None
        await asyncio.gather(
            *(access.allowed(Question(ANNA, "list", JOBS, "team")) for _ in range(20))
        )
        assert len(cluster.asked) == 2
        assert await asked.user("") is None and await asked.user("x" * 20_000) is None
        assert len(cluster.asked) == 2

    asyncio.run(scene())


def test_no_token_stays_in_memory() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        asked = identities(cluster)
        token = "secret-" + "token" * 3
        await asked.user(token)
        cluster.asked.clear()
        gc.collect()
        kept = str([vars(each) for each in (asked._known, asked._strangers, asked._failed)])
        assert token not in kept

    asyncio.run(scene())


def test_a_cluster_that_does_not_answer_lets_nobody_in() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.error = ClusterError(0, "away")
        access = Access(reviewer(cluster), ())
        with pytest.raises(ClusterError):
            await identities(cluster).user("t")
        with pytest.raises(ClusterError):
            await access.require(ANNA, "get", JOBS, "team")
        with pytest.raises(ClusterError):
            await access.visible(ANNA, JOBS, ["team"])
        asked = len(cluster.asked)
        with pytest.raises(ClusterError):
            await access.require(ANNA, "get", JOBS, "team")
        assert len(cluster.asked) == asked, "it is not asked again at once"

    asyncio.run(scene())


def test_what_is_visible() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.rule = in_namespaces("a", "c")
        access = Access(reviewer(cluster), ())
        assert await access.visible(ANNA, JOBS, "abcd") == {"a", "c"}
        assert await access.visible(ANNA, JOBS, ()) == frozenset()
        many = [f"n{number}" for number in range(100)]
        assert await access.visible(ANNA, JOBS, many) == frozenset()
        cluster.rule = lambda spec: "namespace" not in spec["resourceAttributes"]
        asked = len(cluster.asked)
        everywhere = Access(reviewer(cluster), ())
        assert await everywhere.visible(ANNA, JOBS, many) == frozenset(many)
        assert len(cluster.asked) == asked + 1

    asyncio.run(scene())


def test_only_what_is_served() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.rule = lambda spec: True
        access = Access(reviewer(cluster), ["a", "b"])
        assert await access.visible(ANNA, JOBS, "abc") == {"a", "b"}
        await access.require(ANNA, "get", JOBS, "a")
        with pytest.raises(ProblemError) as raised:
            await access.require(ANNA, "get", JOBS, "c")
        assert raised.value.status == 404
        cluster.rule = lambda spec: False
        with pytest.raises(ProblemError) as raised:
            await Access(reviewer(cluster), ["a"]).require(ANNA, "get", JOBS, "c")
        assert raised.value.status == 403, "who may not see it does not learn whether it is served"

    asyncio.run(scene())


def test_a_right_on_one_job_is_enough_for_it_and_for_no_other() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.rule = lambda spec: spec["resourceAttributes"].get("name") == "mine"
        access = Access(reviewer(cluster), ())
        await access.require(ANNA, "patch", JOBS, "team", "mine")
        for other in ("theirs", ""):
            with pytest.raises(ProblemError) as raised:
                await access.require(ANNA, "patch", JOBS, "team", other)
            assert raised.value.status == 403

    asyncio.run(scene())


def test_a_namespace_that_was_hidden_is_asked_about_again_in_the_end() -> None:
    async def scene() -> None:
        now, cluster = [0.0], FakeCluster()
        access = Access(Reviewer(cluster, 10, lambda: now[0]), (), 10, lambda: now[0])  # type: ignore[arg-type]
        assert await access.visible(ANNA, JOBS, "a") == frozenset()
        cluster.rule = in_namespaces("a")
        now[0] = 59.0
        assert await access.visible(ANNA, JOBS, "a") == frozenset()
        now[0] = 61.0
        assert await access.visible(ANNA, JOBS, "a") == {"a"}

    asyncio.run(scene())


def test_a_list_of_one_namespace_is_refused_one_of_all_is_empty() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        access = Access(reviewer(cluster), ())
        assert await access.shown(ANNA, JOBS, None, ["team"]) == frozenset()
        with pytest.raises(ProblemError) as raised:
            await access.shown(ANNA, JOBS, "team", ["team"])
        assert (
            raised.value.detail
            == 'User "anna" cannot list resource "fileprocessingjobs" in API group "fpj.dev" in the'
            ' namespace "team"'
        )

    asyncio.run(scene())


def test_verbs_by_namespace() -> None:
    async def scene() -> None:
        cluster = FakeCluster()
        cluster.rule = lambda spec: (
            (
                spec["resourceAttributes"].get("namespace") == "a"
                and spec["resourceAttributes"]["verb"] in ("list", "patch")
            )
            or (
                spec["resourceAttributes"].get("namespace") == "b"
                and spec["resourceAttributes"]["verb"] != "list"
            )
        )
        assert await Access(reviewer(cluster), ()).verbs(ANNA, "abc") == {"a": ["list", "patch"]}
        cluster.rule = lambda spec: True
        assert await Access(reviewer(cluster), ()).verbs(ANNA, "a") == {"a": list(VERBS)}

    asyncio.run(scene())
