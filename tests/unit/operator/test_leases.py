"""The lock of a collection: both leases of it, over a real store,
with operators whose wall clocks disagree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from unit.operator.leases_world import Line, Server, health_of

from fpj_core.errors import LeaseHeldError
from fpj_core.kube.names import lease_name
from fpj_core.store import Store, open_store
from fpj_operator.jobs import leases as module
from fpj_operator.jobs.leases import Leases
from fpj_operator.jobs.state import LeaseView
from fpj_operator.keys import Key
from fpj_operator.sightings import Sightings

LASTS = 300.0
ALBUM = "team.album"
A, B = Key("team", "a"), Key("team", "b")


@dataclass
class Clocks:
    """What passes for everybody, and how far the wall clock of whoever acts now is off."""

    passed: float = 5_000.0
    off: float = 0.0

    def time(self) -> float:
        return 1_800_000_000.0 + self.passed + self.off


class Place:
    """A namespace, its store, and operators that look at it."""

    def __init__(self, store: Store, clocks: Clocks) -> None:
        self.server, self.store, self.clocks = Server(), store, clocks
        self.operators: dict[str, tuple[Leases, Line]] = {}

    def operator(self, name: str) -> Leases:
        if name not in self.operators:
            line: Any = Line(self.server, name)
            self.operators[name] = (
                Leases(
                    line,
                    self.store,
                    health_of(self.store),
                    LASTS,
                    Sightings(lambda: self.clocks.passed),
                ),
                line,
            )
        return self.operators[name][0]

    def held_by(self, view: LeaseView, uid: str) -> bool:
        return view.held_by(uid, self.clocks.time())

    @property
    def lease(self) -> dict[str, Any]:
        return self.server.held["Lease", "team", lease_name(ALBUM)]


Scene = Callable[[Place], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Scene], None]]:
    clocks = Clocks()
    monkeypatch.setattr(module, "time", clocks)
    monkeypatch.setattr("fpj_core.store.sqlite.time", clocks)
    monkeypatch.setattr(module, "_WRITING_SECONDS", 0.0)
    store = open_store(f"sqlite:///{tmp_path}/store.db")

    async def within(scene: Scene) -> None:
        await scene(Place(store, clocks))

    yield lambda scene: asyncio.run(within(scene))
    store.close()


def test_one_job_holds_a_collection_until_it_gives_it_back(play: Callable[[Scene], None]) -> None:
    async def scene(place: Place) -> None:
        one = place.operator("one")
        view = await one.acquire(A, "uid-a", ALBUM)
        assert place.held_by(view, "uid-a") and view.holder_name == "a" and view.fence == 1
        view = await one.acquire(B, "uid-b", ALBUM)
        assert view.held_by_another("uid-b", place.clocks.time()) and view.holder_name == "a"
        await one.release("team", "uid-b", ALBUM)
        assert place.lease["spec"]["holderIdentity"] == "uid-a", (
            "who does not hold it gives nothing back"
        )
        await one.release("team", "uid-a", ALBUM)
        view = await one.acquire(B, "uid-b", ALBUM)
        assert place.held_by(view, "uid-b") and view.fence == 2
        assert place.lease["spec"]["leaseTransitions"] == 2

    play(scene)


def test_a_lease_says_since_when_its_holder_has_it(play: Callable[[Scene], None]) -> None:
    async def scene(place: Place) -> None:
        one = place.operator("one")
        await one.acquire(A, "uid-a", ALBUM)
        since = place.lease["spec"]["acquireTime"]
        place.clocks.passed += 100
        await one.acquire(A, "uid-a", ALBUM)
        assert place.lease["spec"]["acquireTime"] == since < place.lease["spec"]["renewTime"]
        await one.release("team", "uid-a", ALBUM)
        await one.acquire(B, "uid-b", ALBUM)
        assert place.lease["spec"]["acquireTime"] > since

    play(scene)


@pytest.mark.parametrize("off", [-86_400.0, 0.0, 86_400.0])
def test_the_next_leader_goes_by_its_own_clock(play: Callable[[Scene], None], off: float) -> None:
    """client-go#448: a lease is neither lost nor kept because the
    next leader's clock is a day off.
    """

    async def scene(place: Place) -> None:
        await place.operator("one").acquire(A, "uid-a", ALBUM)
        place.clocks.passed += 100
        place.clocks.off = off
        two = place.operator("two")
        view, _ = await two.look("team", ALBUM)
        assert place.held_by(view, "uid-a")
        assert view.expires_at - place.clocks.time() < LASTS * 2 / 3, (
            "it may be old: the new leader renews it"
        )
        view = await two.acquire(A, "uid-a", ALBUM)
        assert (
            place.held_by(view, "uid-a")
            and view.fence == 1
            and view.expires_at - place.clocks.time() == LASTS
        )
        place.clocks.passed += LASTS - 1
        view, _ = await two.look("team", ALBUM)
        assert place.held_by(view, "uid-a")
        place.clocks.passed += 1
        view, _ = await two.look("team", ALBUM)
        assert not place.held_by(view, "uid-a")

    play(scene)


@pytest.mark.parametrize("off", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_changes_no_lease(play: Callable[[Scene], None], off: float) -> None:
    async def scene(place: Place) -> None:
        one = place.operator("one")
        await one.acquire(A, "uid-a", ALBUM)
        place.clocks.passed += 10
        place.clocks.off = off
        view, _ = await one.look("team", ALBUM)
        assert place.held_by(view, "uid-a") and view.expires_at - place.clocks.time() == LASTS - 10
        assert (await one.acquire(B, "uid-b", ALBUM)).holder == "uid-a"

    play(scene)


@pytest.mark.parametrize("off", [-86_400.0, 0.0, 86_400.0])
def test_a_holder_that_vanished_is_followed_once_its_lease_stood_still_for_its_time(
    play: Callable[[Scene], None], off: float
) -> None:
    async def scene(place: Place) -> None:
        place.clocks.off = off  # the store's lease says so too
        await place.operator("one").acquire(A, "uid-a", ALBUM)
        place.clocks.off = 0.0
        two = place.operator("two")
        assert (await two.acquire(B, "uid-b", ALBUM)).holder == "uid-a"
        place.clocks.passed += LASTS - 1
        assert (await two.acquire(B, "uid-b", ALBUM)).holder == "uid-a"
        place.clocks.passed += 1
        view = await two.acquire(B, "uid-b", ALBUM)
        assert place.held_by(view, "uid-b") and view.fence == 2

    play(scene)


def test_a_lease_that_is_renewed_never_lapses(play: Callable[[Scene], None]) -> None:
    async def scene(place: Place) -> None:
        one, two = place.operator("one"), place.operator("two")
        await one.acquire(A, "uid-a", ALBUM)
        for _ in range(10):
            place.clocks.passed += LASTS * 2 / 3
            assert (await two.acquire(B, "uid-b", ALBUM)).holder == "uid-a"
            await one.acquire(A, "uid-a", ALBUM)

    play(scene)


def test_without_the_store_ones_own_lease_is_renewed_and_no_others(
    play: Callable[[Scene], None],
) -> None:
    async def scene(place: Place) -> None:
        one = place.operator("one")
        assert (await one.renew_without_store(A, "uid-a", ALBUM)).holder == "", (
            "what is not held is not taken"
        )
        await one.acquire(A, "uid-a", ALBUM)
        place.clocks.passed += 200
        view = await one.renew_without_store(A, "uid-a", ALBUM)
        assert view.expires_at - place.clocks.time() == LASTS
        assert (await one.renew_without_store(B, "uid-b", ALBUM)).holder == "uid-a"
        place.clocks.passed += LASTS
        view = await one.renew_without_store(A, "uid-a", ALBUM)
        assert not place.held_by(view, "uid-a"), (
            "once it has lapsed another may be about to take it"
        )

    play(scene)


def test_an_attempt_that_starts_gets_a_greater_fence_than_the_one_before(
    play: Callable[[Scene], None],
) -> None:
    async def scene(place: Place) -> None:
        one, two = place.operator("one"), place.operator("two")
        first = await one.acquire(A, "uid-a", ALBUM)
        second = await one.acquire(A, "uid-a", ALBUM, above=first.fence)
        assert second.fence == first.fence + 1 == place.lease["spec"]["leaseTransitions"]
        late = await two.acquire(A, "uid-a", ALBUM, above=first.fence)
        assert late.fence == second.fence, "a late decision on the same attempt fences nobody"
        assert (await one.acquire(A, "uid-a", ALBUM)).fence == second.fence, "nor does a renewal"

    play(scene)


def test_what_fpj_run_holds_in_the_store_is_not_taken(play: Callable[[Scene], None]) -> None:
    async def scene(place: Place) -> None:
        place.store.acquire_lease(lease_name(ALBUM), "a run", LASTS, place.clocks.time())
        view = await place.operator("one").acquire(A, "uid-a", ALBUM)
        assert view.held_by_another("uid-a", place.clocks.time()) and view.holder == "a run"
        assert not place.server.held, "no Lease says what is not so"

    play(scene)


def test_of_two_that_race_one_wins(play: Callable[[Scene], None]) -> None:
    async def scene(place: Place) -> None:
        views = await asyncio.gather(
            place.operator("one").acquire(A, "uid-a", ALBUM),
            place.operator("two").acquire(B, "uid-b", ALBUM),
        )
        holder = place.lease["spec"]["holderIdentity"]
        assert {view.holder for view in views} == {holder}
        stored = place.store.lease(lease_name(ALBUM))
        assert stored and stored.holder == holder
        loser = "uid-b" if holder == "uid-a" else "uid-a"
        with pytest.raises(LeaseHeldError):
            place.store.acquire_lease(lease_name(ALBUM), loser, LASTS, place.clocks.time())

    play(scene)


def test_who_loses_the_race_for_the_lease_gives_the_stores_back(
    play: Callable[[Scene], None],
) -> None:
    async def scene(place: Place) -> None:
        one = place.operator("one")
        line = place.operators["one"][1]
        create = line.create

        async def another_is_faster(manifest: dict[str, Any]) -> Any:
            theirs = manifest | {"spec": manifest["spec"] | {"holderIdentity": "uid-b"}}
            place.server.put("b", theirs)
            return await create(manifest)

        line.create = another_is_faster  # type: ignore[method-assign]
        view = await one.acquire(A, "uid-a", ALBUM)
        assert view.holder == "uid-b"
        stored = place.store.lease(lease_name(ALBUM))
        assert stored and stored.holder == "", "the other needs both"

    play(scene)


def test_who_takes_a_lease_that_was_free_may_have_had_it_for_long(
    play: Callable[[Scene], None],
) -> None:
    async def scene(place: Place) -> None:
        one, two = place.operator("one"), place.operator("two")
        await one.acquire(A, "uid-a", ALBUM)
        await two.look("team", ALBUM)
        await one.release("team", "uid-a", ALBUM)
        await two.look("team", ALBUM)
        await one.acquire(B, "uid-b", ALBUM)
        view, _ = await two.look("team", ALBUM)
        assert view.expires_at - place.clocks.time() == LASTS / 2

    play(scene)


def test_a_lease_lasts_as_long_as_it_says_and_at_least_as_long_as_is_asked() -> None:
    sightings = Sightings(lambda: 100.0)
    assert sightings.left("a", {"leaseDurationSeconds": 300, "holderIdentity": "x"}, 15.0) == 300
    assert sightings.left("b", {"leaseDurationSeconds": 5, "holderIdentity": "x"}, 15.0) == 15
