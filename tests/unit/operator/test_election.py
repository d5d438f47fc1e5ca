"""Who leads, and until when: by each candidate's own clock,
whatever the others' clocks say and the network does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override
from unit.operator.leases_world import Document, Line, Server, run

from fpj_core.kube.errors import ClusterError
from fpj_operator import election as module
from fpj_operator.election import Election

LASTS = 15.0
AT = ("Lease", "fpj-system", "fpj-operator")


class Candidate:
    """One operator.

    ``led`` are the moments at which it began and stopped to lead, by the loop's clock.
    """

    def __init__(self, server: Server, name: str, lasts: float = LASTS) -> None:
        self.line = Line(server, name, timeout=lasts * module.REQUEST)
        self.clock = asyncio.get_running_loop().time
        self.election = Election(self.line, "fpj-system", name, lasts, self.clock)  # type: ignore[arg-type]
        self.led: list[float] = []
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self.election.win()
        self.led.append(self.clock())
        await self.election.hold()
        self.led.append(self.clock())

    @property
    def leads(self) -> bool:
        return self.election.leads

    async def crash(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def with_two(scene: Callable[[Server, Candidate, Candidate], Awaitable[None]]) -> None:
    async def within() -> None:
        server = Server()
        first = Candidate(server, "first")
        await asyncio.sleep(1)
        second = Candidate(server, "second")
        await asyncio.sleep(60)
        assert first.leads and not second.led, "one leads and goes on leading"
        try:
            await scene(server, first, second)
        finally:
            for each in (first, second):
                await each.crash()

    run(within())


def holder(server: Server) -> str:
    return str(server.held[AT]["spec"]["holderIdentity"])


def last_renewal(server: Server, who: str) -> float:
    return max(at for at, writer, _ in server.log if writer == who)


def test_a_leader_that_hears_nothing_stops_before_another_begins() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        first.line.silent = True
        await asyncio.sleep(60)
        renewed = last_renewal(server, "first")
        assert len(first.led) == 2 and first.led[1] - renewed <= LASTS * 2 / 3, (
            "it stops in time, in mid-request"
        )
        assert second.led[0] - renewed >= LASTS, "the other waits for the whole of the lease"
        assert second.leads and holder(server) == "second"
        assert server.held[AT]["spec"]["leaseTransitions"] == 1

    with_two(scene)


def test_a_leader_that_is_refused_stops_in_time() -> None:
    async def scene(server: Server, first: Candidate, _: Candidate) -> None:
        first.line.refused = ClusterError(500, "etcd is away")
        await asyncio.sleep(60)
        assert first.led[1] - last_renewal(server, "first") <= LASTS * 2 / 3

    with_two(scene)


def test_a_leader_that_sees_another_stops_at_once() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        await second.crash()
        first.line.refused = ClusterError(500, "etcd is away")
        await asyncio.sleep(LASTS / 3)
        server.held[AT]["spec"]["holderIdentity"] = "thief"
        first.line.refused = None
        await asyncio.sleep(LASTS / 5)
        assert not first.leads and len(first.led) == 2 and holder(server) == "thief"

    with_two(scene)


def test_how_long_nobody_led_is_known() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        assert first.election.took_over_after is None, "nobody led before"
        await first.crash()
        crashed = last_renewal(server, "first")
        await asyncio.sleep(3 * LASTS)
        assert second.leads
        assert second.election.took_over_after is not None
        seen_late = LASTS * module._BETWEEN
        assert 0 <= second.led[0] - crashed - second.election.took_over_after <= seen_late

    with_two(scene)


def test_a_short_silence_changes_nothing() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        for _ in range(5):
            first.line.silent = True
            await asyncio.sleep(3)
            first.line.silent = False
            await asyncio.sleep(20)
        assert first.leads and not second.led

    with_two(scene)


def test_a_leader_that_slept_stops_as_soon_as_it_asks() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        await first.crash()  # its tasks stand still; its clock goes on
        await asyncio.sleep(11)
        assert not first.leads, "it may write nothing more, before any task of it has run"
        await asyncio.sleep(60)
        assert second.leads
        await first.election.hold()
        assert holder(server) == "second" and last_renewal(server, "first") < second.led[0]

    with_two(scene)


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
@pytest.mark.parametrize("who", ["first", "second"])
def test_wall_clocks_decide_nothing(monkeypatch: pytest.MonkeyPatch, who: str, skew: float) -> None:
    """One host's clock jumps by a day: neither is robbed,
    and one that is gone is followed in time.
    """
    jumped = False

    def wall(name: str) -> float:
        return (
            1_800_000_000.0
            + asyncio.get_running_loop().time()
            + (skew if jumped and name == who else 0.0)
        )

    class Clock:
        @staticmethod
        def time() -> float:
            task = asyncio.current_task()
            return wall(task.get_name() if task else "")

    monkeypatch.setattr(module, "time", Clock)

    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        nonlocal jumped
        first.task.set_name("first")
        second.task.set_name("second")
        jumped = True
        await asyncio.sleep(120)
        assert first.leads and not second.led
        await first.crash()
        await asyncio.sleep(LASTS * 2)
        assert second.leads
        assert LASTS <= second.led[0] - last_renewal(server, "first") <= LASTS * 1.5

    with_two(scene)


def test_one_that_stops_in_order_is_followed_at_once() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        await first.crash()
        await first.election.resign()
        assert not first.leads
        await asyncio.sleep(LASTS / 4)
        assert second.leads

    with_two(scene)


def test_a_lease_that_somebody_deletes_stays_its_leaders() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        for _ in range(20):
            del server.held[AT]
            await asyncio.sleep(LASTS / 4 + 0.1)
            assert first.leads and not second.led and holder(server) == "first"
        await first.crash()
        del server.held[AT]
        await asyncio.sleep(LASTS * 2)
        assert second.leads and second.led[0] - last_renewal(server, "first") >= LASTS
        await asyncio.sleep(LASTS * 10)
        assert second.leads, "and goes on leading"

    with_two(scene)


def test_one_that_took_the_lead_over_makes_a_deleted_lease_again() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        await first.crash()
        await asyncio.sleep(LASTS * 2)
        assert second.leads
        del server.held[AT]
        await asyncio.sleep(LASTS * 10)
        assert len(second.led) == 1 and second.leads and holder(server) == "second"

    with_two(scene)


def test_many_candidates_and_a_network_that_comes_and_goes_never_have_two_leaders() -> None:
    async def within() -> None:
        server = Server()
        candidates = [Candidate(server, f"c{number}") for number in range(3)]
        changes = 0
        for step in range(600):
            for number, each in enumerate(candidates):
                each.line.silent = (step // (7 + 5 * number)) % 3 == 0
                if each.task.done():
                    candidates[number] = Candidate(server, f"c{number}-{step}")
                    changes += 1
            await asyncio.sleep(1)
            assert sum(each.leads for each in candidates) <= 1
        assert changes > 5
        for each in candidates:
            await each.crash()

    run(within())


def test_who_resigns_late_takes_nothing_from_the_next() -> None:
    async def scene(server: Server, first: Candidate, second: Candidate) -> None:
        await first.crash()
        await asyncio.sleep(LASTS * 2)
        assert second.leads
        await first.election.resign()
        assert holder(server) == "second"

    with_two(scene)


def test_what_an_answer_takes_counts_against_the_lead() -> None:
    class Slow(Line):
        @override
        async def replace(self, document: Document) -> Document | None:
            made = await super().replace(document)
            await asyncio.sleep(2)
            return made

    async def within() -> None:
        line = Slow(Server(), "slow")
        clock = asyncio.get_running_loop().time
        election = Election(line, "fpj-system", "slow", LASTS, clock)  # type: ignore[arg-type]
        await election._try()
        began = clock()
        assert await election._try() and clock() - began > 2
        await asyncio.sleep(began + LASTS * 2 / 3 - clock() + 0.1)
        assert not election.leads

    run(within())


def test_one_that_lost_the_race_to_make_the_lease_does_not_follow_its_deletion_at_once() -> None:
    """It has never read the Lease: that somebody else made it is all it knows."""

    async def within() -> None:
        server = Server()
        first, second = Candidate(server, "first"), Candidate(server, "second")
        await asyncio.sleep(0.5)
        leader, other = (first, second) if first.leads else (second, first)
        del server.held[AT]
        leader.line.silent = True
        await asyncio.sleep(LASTS / 5)
        assert leader.leads and not other.leads
        for each in (first, second):
            await each.crash()

    run(within())
