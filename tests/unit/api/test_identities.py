"""Whose tokens are: rubbish never keeps known people from being served,
and costs the API server a bounded number.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Coroutine
from typing import Any

import pytest
from typing_extensions import override
from unit.api.clusters import FakeCluster

from fpj_api import identities
from fpj_api.identities import Identities, looks_like_a_jwt
from fpj_api.problems import ProblemError
from fpj_core.kube.errors import ClusterError

SECONDS = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Slow(FakeCluster):
    """Reviews of unknown tokens do not come back until they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.under_way = self.most = 0

    @override
    async def review(self, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        if spec["token"] in self.users:
            return await super().review(kind, spec)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.open.wait()
            return await super().review(kind, spec)
        finally:
            self.under_way -= 1


def known(cluster: FakeCluster, *tokens: str) -> None:
    for token in tokens:
        cluster.users[token] = {"authenticated": True, "user": {"username": f"user-{token}"}}


def identities_of(
    cluster: FakeCluster, clock: Clock | None = None, *, jwt_only: bool = False
) -> Identities:
    return Identities(cluster, (), SECONDS, jwt_only=jwt_only, clock=clock or Clock())  # type: ignore[arg-type]


def scene(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def outcome(asked: Identities, token: str, address: str) -> str:
    try:
        return "known" if await asked.user(token, address) else "unknown"
    except ProblemError as problem:
        return str(problem.status)


def test_a_flood_of_random_tokens_keeps_nobody_out() -> None:
    """The load of the finding: 500 connections from one address, each of them a new token,
    and a slow review.
    """

    async def run() -> None:
        clock, cluster = Clock(), Slow()
        known(cluster, "anna", "ben")
        asked = identities_of(cluster, clock)
        assert await outcome(asked, "anna", "10.0.0.1") == "known"
        flood = [
            asyncio.create_task(outcome(asked, secrets.token_hex(20), "10.6.6.6"))
            for _ in range(500)
        ]
        await settled()
        refused = [task.result() for task in flood if task.done()]
        assert refused and set(refused) == {"429"}, "what is too much is refused at once"
        assert cluster.most <= identities.AT_ONCE
        for _ in range(5):  # while every review of the flood hangs
            clock.now += SECONDS + 1
            assert await outcome(asked, "anna", "10.6.6.6") == "known", "also from the same address"
        cluster.open.set()
        await asyncio.gather(*flood)
        reviews = sum(kind == "TokenReview" for kind, _ in cluster.asked)
        assert reviews <= identities.FAILURES + 6
        assert await outcome(asked, "ben", "10.0.0.2") == "known", "others sign in"

    scene(run())


def test_the_flood_goes_on_and_reviews_stay_bounded() -> None:
    async def run() -> None:
        clock, cluster = Clock(), FakeCluster()
        asked = identities_of(cluster, clock)
        for _ in range(60):
            for _ in range(50):
                assert await outcome(asked, secrets.token_hex(20), "10.6.6.6") in ("unknown", "429")
            clock.now += 1
        assert len(cluster.asked) <= identities.FAILURES + 60 * identities.FAILURES_A_SECOND + 1
        assert len(asked) <= 3_000

    scene(run())


def test_many_addresses_share_a_bounded_pool() -> None:
    async def run() -> None:
        cluster = Slow()
        known(cluster, "anna")
        asked = identities_of(cluster)
        assert await outcome(asked, "anna", "10.0.0.1") == "known"
        flood = [
            asyncio.create_task(outcome(asked, secrets.token_hex(20), f"10.6.{n // 250}.{n % 250}"))
            for n in range(500)
        ]
        await settled()
        refused = [task.result() for task in flood if task.done()]
        assert (
            set(refused) == {"503"}
            and len(refused) >= 500 - identities.AT_ONCE - identities.WAITING
        )
        assert cluster.most <= identities.AT_ONCE
        cluster.open.set()
        await asyncio.gather(*flood)

    scene(run())


def test_rubbish_evicts_nobody() -> None:
    async def run() -> None:
        cluster = FakeCluster()
        people = [f"person-{number}" for number in range(50)]
        known(cluster, *people)
        asked = identities_of(cluster)
        for token in people:
            assert await outcome(asked, token, "10.0.0.1") == "known"
        for number in range(6_000):
            await outcome(asked, secrets.token_hex(20), f"2001:db8:{number:x}::1")
        before = len(cluster.asked)
        for token in people:
            assert await outcome(asked, token, "10.0.0.1") == "known"
        assert len(cluster.asked) == before, "they are all still remembered"

    scene(run())


def test_signing_in_costs_nothing_of_the_limit() -> None:
    """People behind one proxy have one address."""

    async def run() -> None:
        cluster = FakeCluster()
        people = [f"person-{number}" for number in range(10 * identities.FAILURES)]
        known(cluster, *people)
        asked = identities_of(cluster)
        for token in people:
            assert await outcome(asked, token, "10.0.0.1") == "known"

    scene(run())


def test_an_ipv6_address_is_one_of_a_network() -> None:
    async def run() -> None:
        cluster = FakeCluster()
        asked = identities_of(cluster)
        found = [
            await outcome(asked, secrets.token_hex(20), f"2001:db8::{number:x}")
            for number in range(100)
        ]
        assert found.count("429") == 100 - identities.FAILURES

    scene(run())


def test_a_token_that_ends_is_unknown_and_costs_one_review() -> None:
    async def run() -> None:
        clock, cluster = Clock(), FakeCluster()
        known(cluster, "anna")
        asked = identities_of(cluster, clock)
        assert await outcome(asked, "anna", "10.0.0.1") == "known"
        del cluster.users["anna"]
        assert await outcome(asked, "anna", "10.0.0.1") == "known", (
            "for as long as it is remembered"
        )
        clock.now += SECONDS + 1
        before = len(cluster.asked)
        assert [await outcome(asked, "anna", "10.0.0.1") for _ in range(20)] == ["unknown"] * 20
        assert len(cluster.asked) == before + 1

    scene(run())


def test_a_cluster_that_is_away_is_no_fault_of_the_address() -> None:
    async def run() -> None:
        clock, cluster = Clock(), FakeCluster()
        cluster.error = ClusterError(0, "away")
        asked = identities_of(cluster, clock)
        for number in range(3 * identities.FAILURES):
            with pytest.raises(ClusterError):
                await asked.user(f"token-{number}", "10.0.0.1")
        cluster.error = None
        known(cluster, "anna")
        assert await outcome(asked, "anna", "10.0.0.1") == "known"

    scene(run())


def jwt(header: object, payload: object) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in (header, payload)
    ]
    return ".".join([*parts, "c2ln"])


@pytest.mark.parametrize(
    ("token", "like"),
    [
        (jwt({"alg": "RS256"}, {"sub": "x"}), True),
        (jwt({"alg": "none"}, {"sub": "x"}), False),
        (jwt({}, {"sub": "x"}), False),
        (jwt(["alg"], {}), False),
        (jwt({"alg": "RS256"}, "x"), False),
        ("abc", False),
        ("a.b.c", False),
        ("..", False),
        (jwt({"alg": "RS256"}, {"sub": "x"}) + ".more", False),
        ("[" * 3_000 + ".e30.c2ln", False),
    ],
)
def test_the_shape_of_a_jwt(token: str, like: bool) -> None:
    assert looks_like_a_jwt(token) == like


def test_where_only_jwts_are_used_nothing_else_is_asked_about() -> None:
    async def run() -> None:
        cluster = FakeCluster()
        token = jwt({"alg": "RS256"}, {"sub": "x"})
        known(cluster, token, "opaque")
        asked = identities_of(cluster, jwt_only=True)
        assert await outcome(asked, "opaque", "10.0.0.1") == "unknown"
        assert cluster.asked == []
        assert await outcome(asked, token, "10.0.0.1") == "known"

    scene(run())
