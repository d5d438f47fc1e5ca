"""Carrying a plan out: what may fail without failing it."""

from __future__ import annotations

import asyncio
from typing import Any

from unit.operator.world import World

from fpj_core.cluster import ClusterError
from fpj_operator import metrics
from fpj_operator.execute import Executor
from fpj_operator.state import DeleteResource, Emit, Plan


class NoEvents:
    """An API server that takes no events, as in a namespace with a quota on them."""

    def __init__(self) -> None:
        self.refuses, self.asked, self.deleted = True, 0, 0

    async def create(self, _manifest: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.refuses:
            raise ClusterError(403, "exceeded quota: events, requested: count/events=1", reason="Forbidden")
        return {}

    async def delete(self, *_: Any) -> None:
        self.deleted += 1


def test_an_event_that_is_refused_ends_no_plan_and_is_written_later() -> None:
    world = World()
    world.add()
    server: Any = NoEvents()
    unused: Any = None
    executor = Executor(server, unused, unused)
    plan = Plan(steps_after=(Emit("ImagesFailing", "10 images", warning=True, unique="1-10"), DeleteResource()))
    lost = metrics.EVENTS_REFUSED._value.get()
    asyncio.run(executor.carry_out(world.observe("photos"), plan))
    assert server.deleted == 1, "the steps after it are done"
    assert metrics.EVENTS_REFUSED._value.get() == lost + 1
    server.refuses = False
    for _ in range(2):
        asyncio.run(executor.carry_out(world.observe("photos"), plan))
    assert server.asked == 2, "it was not taken for written, and is written once"
