"""A store that hangs keeps its own threads busy and nobody else's,
and nobody waits for it forever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from unit.operator.leases_world import Line, Server
from unit.operator.world import SETTINGS, World

from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.model import Phase
from fpj_operator import storehealth
from fpj_operator.jobs.controller import Controller
from fpj_operator.jobs.execute import DisturbedError
from fpj_operator.jobs.history import keep_history
from fpj_operator.jobs.observe import observe
from fpj_operator.jobs.state import (
    FenceShards,
    LeaseView,
    Observed,
    Plan,
    RecordEnd,
    RecordJob,
    RefreshFolder,
    ReleaseLease,
    RenewLease,
)
from fpj_operator.jobs.vanished import Gone
from fpj_operator.keys import Key
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth

JOBS = 40


class Hanging:
    """A store whose calls take as long as nobody lets them go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.asked = 0

    def __getattr__(self, _: str) -> Any:
        def hang(*_: Any, **__: Any) -> None:
            self.asked += 1
            assert self.goes_on.wait(30)
            raise StoreUnavailableError("it was away")

        return hang


class Listing(Line):
    """An API server without children of jobs."""

    async def list(self, *_: Any, **__: Any) -> list[Any]:
        return []


class Place:
    """A controller over a store that hangs, and a job."""

    def __init__(self, store: Hanging) -> None:
        self.store: Any = store
        self.line = Listing(Server(), "operator")
        self.cluster = cast("Cluster", self.line)
        self.controller = Controller(self.cluster, self.store, SETTINGS)
        world = World()
        world.add()
        world.look()
        self.observed: Observed = world.observe("photos")

    def job(self, number: int) -> Observed:
        key, uid = Key("team", f"photos-{number}"), f"uid-{number}"
        lease: LeaseView = replace(self.observed.lease, holder=uid)
        found: Observed = replace(self.observed, key=key, uid=uid, lease=lease)
        return found

    async def carry_out(self, number: int, step: Any) -> None:
        await self.controller._executor.carry_out(self.job(number), Plan(steps_first=(step,)))

    async def observe_what_is_not_understood(self, number: int) -> None:
        job = self.job(number)
        metadata = {"name": job.key.name, "namespace": "team", "uid": job.uid}
        status = {"phase": "Running", "attempt": {"number": 1}}
        body = {
            "apiVersion": "fpj.dev/v9",
            "kind": "FileProcessingJob",
            "metadata": metadata,
            "status": status,
        }
        self.line.server.put("user", body)
        here = self.controller
        await observe(
            self.cluster,
            self.store,
            here.health,
            here._leases,
            here.jobs,
            here._folders,
            here._pods,
            job.key,
        )

    async def forget_a_deleted_job(self, number: int) -> None:
        await self.controller.vanished._handle(
            Gone(self.job(number).key, f"uid-{number}", "team.album")
        )


Use = Callable[[Place, int], Awaitable[None]]
STEPS = (
    FenceShards(),
    RecordJob(Phase.RUNNING, "", "", 1),
    RecordEnd(),
    RefreshFolder("cache"),
    ReleaseLease(),
    RenewLease(),
)


def _carrying_out(step: Any) -> Use:
    return lambda place, number: place.carry_out(number, step)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CALL_SECONDS", "_LONG_SECONDS"):
        monkeypatch.setattr(storehealth, name, 0.05)


@pytest.mark.parametrize(
    "use",
    [
        *[pytest.param(_carrying_out(step), id=type(step).__name__) for step in STEPS],
        pytest.param(Place.observe_what_is_not_understood, id="observe"),
        pytest.param(Place.forget_a_deleted_job, id="deleted"),
    ],
)
def test_a_store_that_hangs_is_not_waited_for_and_keeps_nobody_elses_threads(use: Use) -> None:
    async def scene() -> None:
        store = Hanging()
        place = Place(store)
        try:
            async with asyncio.timeout(20):
                uses = [asyncio.ensure_future(use(place, number)) for number in range(JOBS)]
                found = await asyncio.gather(*uses, return_exceptions=True)
                assert await asyncio.to_thread(lambda: "names are resolved") == "names are resolved"
            assert store.asked
            for each in found:
                assert each is None or isinstance(
                    each, StoreError | DisturbedError | ClusterError
                ), each
        finally:
            store.goes_on.set()
            place.controller.health.close()

    asyncio.run(scene())


def test_the_history_waits_for_no_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpj_operator.jobs.history._SECONDS", 0.0)

    async def scene() -> None:
        store = Hanging()
        place = Place(store)
        pruning = asyncio.create_task(
            keep_history(place.cluster, place.store, place.controller.health, SETTINGS)
        )  # fmt: skip
        try:
            async with asyncio.timeout(20):
                while not store.asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
            assert store.asked == 1, "what is asked again waits until it was answered"
            assert not pruning.done()
        finally:
            pruning.cancel()
            store.goes_on.set()
            place.controller.health.close()

    asyncio.run(scene())


def test_a_lease_is_renewed_without_a_store_that_hangs() -> None:
    async def scene() -> None:
        store = Hanging()
        place = Place(store)
        job = place.job(0)
        name = "collection"
        place.line.server.put(
            job.uid,
            {
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "team"},
                "spec": {
                    "holderIdentity": job.uid,
                    "renewTime": "long ago",
                    "leaseDurationSeconds": 300,
                },
            },
        )
        renew = place.controller._leases.renew_without_store
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("fpj_operator.jobs.leases.lease_name", lambda _: name)
            view: LeaseView = await renew(job.key, job.uid, "team.album")
        assert view.holder == job.uid
        assert place.line.server.held["Lease", "team", name]["spec"]["renewTime"] != "long ago"
        assert store.asked == 0

    asyncio.run(scene())


class Steps:
    """Work of several steps, which is done when it is let."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done
        self.goes_on, self.began = threading.Event(), threading.Event()

    def __call__(self, check: Check) -> str:
        self.began.set()
        assert self.goes_on.wait(30)
        self.done.append(f"{self.name} 1")
        check()
        self.done.append(f"{self.name} 2")
        return self.name


def any_health() -> StoreHealth:
    unused: Any = None
    return StoreHealth(unused, lambda: None, lambda: False)


def test_what_nobody_waits_for_ends_before_its_next_step_and_before_what_follows() -> None:
    async def scene() -> None:
        done: list[str] = []
        health, first, second = any_health(), Steps("late", done), Steps("next", done)
        second.goes_on.set()
        with pytest.raises(StoreUnavailableError, match="within"):
            await health.ask("job", first)
        with pytest.raises(StoreUnavailableError):
            await health.ask("job", second)
        assert first.began.is_set() and not second.began.is_set()
        other = Steps("other", done)
        other.goes_on.set()
        assert await health.ask("another job", other) == "other"
        storehealth._LONG_SECONDS = 20.0
        following = asyncio.create_task(health.ask("job", second, long=True))
        first.goes_on.set()
        assert await following == "next"
        assert done == ["other 1", "other 2", "late 1", "next 1", "next 2"]
        health.close()

    asyncio.run(scene())


def test_what_waits_for_a_thread_and_is_given_up_never_begins() -> None:
    async def scene() -> None:
        done: list[str] = []
        health = any_health()
        first = [Steps(f"job {number}", done) for number in range(JOBS)]
        found = await asyncio.gather(
            *[health.ask(each.name, each) for each in first], return_exceptions=True
        )
        assert all(isinstance(each, StoreUnavailableError) for each in found)
        started = [each for each in first if each.began.is_set()]
        assert 0 < len(started) < JOBS
        for each in first:
            each.goes_on.set()
        storehealth._CALL_SECONDS = 20.0
        last = Steps("last", done)
        last.goes_on.set()
        assert await health.ask(first[-1].name, last) == "last"
        async with asyncio.timeout(20):  # their threads may still be about to end
            while len(done) < len(started) + 2:
                await asyncio.sleep(0.01)
        assert sorted(done) == sorted([f"{each.name} 1" for each in started] + ["last 1", "last 2"])
        health.close()

    asyncio.run(scene())
