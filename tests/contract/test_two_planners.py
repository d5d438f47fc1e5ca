"""Two index pods plan one attempt, and the first is slow: whatever the second does meanwhile,
between any two commands of the first to the store, the plan that is recorded stays as it was put,
and whoever works by it keeps its shard.

In SQLite what is looked at and what is put are one transaction. In MongoDB they are two requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import combinations_with_replacement

import pytest
from contract.records import job, shard
from pymongo import monitoring
from typing_extensions import override

from fpj_core.errors import FencedError
from fpj_core.jobs import change_job
from fpj_core.model import Job, Shard
from fpj_core.store.mongodb import MongoStore
from fpj_core.store.protocol import Store

SLOW, PROMPT = "slow", "prompt"
PLANS = {SLOW: ((0, 5), (5, 9), (9, 600)), PROMPT: ((0, 600),)}
"""They have looked at different moments, and come to different plans."""


class _Before(monitoring.CommandListener):
    """Does something once, right before one of the commands of a client is sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.steps: list[tuple[int, Callable[[], object]]] = []

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        while self.steps and self.steps[0][0] == self.sent:
            self.steps.pop(0)[1]()
        self.sent += 1

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing happens then."""

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing happens then."""


class _Planner:
    """What an index pod does with the store, in three steps.

    Once it is refused, it does nothing more.
    """

    def __init__(self, store: Store, name: str, job_id: str) -> None:
        self._store, self._name, self._job = store, name, job_id
        self.recorded: list[Shard] | None = None
        self.claimed: Shard | None = None
        self._refused = False

    def begin(self) -> None:
        def planning(found: Job) -> Job:
            if found.planned_attempt == 1:
                raise FencedError("planned before")
            return replace(found, planning_attempt=1, planner=self._name)

        change_job(self._store, self._job, planning)

    def put(self) -> None:
        plan = [
            replace(shard(n, *bounds), job=self._job) for n, bounds in enumerate(PLANS[self._name])
        ]
        self._store.put_shards(self._job, 1, plan, self._name)

    def record(self) -> None:
        """And what pods do as soon as that is done."""

        def planned(found: Job) -> Job:
            if found.planner != self._name:
                raise FencedError("another plans")
            return replace(found, planned_attempt=1, planned_shards=len(PLANS[self._name]))

        change_job(self._store, self._job, planned)
        self.recorded = self._store.shards(self._job, 1)
        self.claimed = self._store.claim_shard(self._job, 1, "pod-0", 100.0, index=0)

    def steps(self) -> Iterator[Callable[[], object]]:
        yield from (self._unless_refused(step) for step in (self.begin, self.put, self.record))

    def _unless_refused(self, step: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            if not self._refused:
                self._refused = True
                with suppress(FencedError):
                    step()
                    self._refused = False

        return call


@pytest.fixture
def before(mongodb_server: str) -> Iterator[tuple[MongoStore, MongoStore, _Before]]:
    """Two clients of one store, and what comes before the commands of the first."""
    url = f"{mongodb_server}/fpj-test-two-planners"
    prompt = MongoStore(url)
    listener = _Before()
    monitoring.register(listener)
    try:
        slow = MongoStore(url)
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)
    yield slow, prompt, listener
    prompt._client.drop_database(prompt._db.name)
    slow.close()
    prompt.close()


def plan(
    stores: tuple[MongoStore, MongoStore, _Before], job_id: str, points: tuple[int, ...]
) -> int:
    """Let both plan, the prompt one's steps each before one of the slow one's commands,
    and look at what there is.

    Gives the number of the slow one's commands.
    """
    slow_store, store, listener = stores
    store.create_job(job(job_id))
    slow, prompt = _Planner(slow_store, SLOW, job_id), _Planner(store, PROMPT, job_id)
    listener.sent, listener.steps = 0, list(zip(points, prompt.steps(), strict=False))
    for step in slow.steps():
        step()
    sent = listener.sent
    for _, step in listener.steps:  # later than all that the slow one does
        step()
    winner, other = (prompt, slow) if prompt.recorded is not None else (slow, prompt)
    assert winner.recorded is not None, "one of them comes through"
    assert other.recorded is None, "and one alone"
    assert [(each.start, each.stop) for each in winner.recorded] == list(PLANS[winner._name])
    assert winner.claimed is not None
    assert store.shards(job_id, 1) == [winner.claimed, *winner.recorded[1:]]
    store.heartbeat(winner.claimed, 101.0)
    _, states = store.job_counts(job_id, 1)
    assert sum(states.values()) == len(winner.recorded), "nothing that came late counts"
    return sent


@pytest.mark.parametrize("split", [1, 2])
def test_between_any_two_commands_of_the_slow_one(
    before: tuple[MongoStore, MongoStore, _Before], split: int
) -> None:
    """Up to ``split`` steps at one moment, and the rest at another."""
    commands = plan(before, f"none-{split}", ())
    assert commands > 10
    for first, second in combinations_with_replacement(range(commands), 2):
        plan(before, f"{split}-{first}-{second}", (first,) * split + (second,) * (3 - split))
