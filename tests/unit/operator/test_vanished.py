"""What a deleted job leaves behind is tidied up,
whenever an operator comes to it and whatever fails meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.operator.leases_world import Document, Line, Server, health_of, run

from fpj_core.errors import FencedError, StoreUnavailableError
from fpj_core.kube import names
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.model import Job, Phase, Shard
from fpj_core.store import Store, open_store
from fpj_operator.jobs.leases import Leases
from fpj_operator.jobs.vanished import Vanished
from fpj_operator.keys import Key

KEY = Key("team", "photos")
ALBUM = "team.album"
LEASE = ("Lease", "team", lease_name(ALBUM))


class Away:
    """A store that can go away."""

    def __init__(self, store: Store) -> None:
        self.store, self.away = store, False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreUnavailableError("no primary")
        return getattr(self.store, name)


class Place:
    """An active job, with its lease and its record."""

    def __init__(self, store: Store) -> None:
        self.server, self.store = Server(), Away(store)
        self.known: set[str] = set()
        self.holders: list[Key] = []
        """Known jobs that were found to hold a Lease."""

    async def begin(self) -> None:
        self.server.put("user", job())
        any_store: Any = self.store
        line: Any = Line(self.server, "before")
        await Leases(line, any_store, health_of(any_store), 300.0).acquire(KEY, "uid-1", ALBUM)
        record = Job("uid-1", "photos", ALBUM, {}, "", phase=Phase.RUNNING, created_at=1.0)
        self.store.put_shards("uid-1", 2, [Shard("uid-1", 2, 0, ALBUM, 0, 9, 0)])
        self.store.create_job(replace(record, planning_attempt=2, planned_attempt=2))
        self.held = self.store.claim_shard("uid-1", 2, "pod", 1.0)
        self.server.put(
            "operator", {"kind": "Lease", "metadata": {"name": "fpj-operator", "namespace": "team"}}
        )

    def operator(self) -> tuple[Vanished, Line]:
        line: Any = Line(self.server, "operator")
        store: Any = self.store
        health = health_of(store)
        leases = Leases(line, store, health, 300.0)
        return Vanished(
            line, store, health, leases, lambda _, uid: uid in self.known, self.holders.append
        ), line

    def delete(self) -> Document:
        return self.server.held.pop(("FileProcessingJob", "team", "photos"))

    @property
    def tidy(self) -> bool:
        record = self.store.store.get_job("uid-1")
        lease = self.store.store.lease(lease_name(ALBUM))
        stored = lease is not None and lease.holder == "uid-1" and lease.expires_at > 0
        holder = self.server.held[LEASE]["spec"]["holderIdentity"]
        assert record
        return record.phase is Phase.CANCELLED and not stored and holder == "" and self._is_fenced()

    def _is_fenced(self) -> bool:
        """Whether the pod that held the shard can record nothing any more."""
        try:
            self.store.store.heartbeat(self.held, 2.0)
        except FencedError:
            return True
        return False

    @property
    def untouched(self) -> bool:
        record = self.store.store.get_job("uid-1")
        return (
            record is not None
            and record.phase is Phase.RUNNING
            and bool(self.server.held[LEASE]["spec"]["renewTime"])
        )


def job(uid: str = "uid-1", *finalizers: str) -> Document:
    metadata = {"name": "photos", "namespace": "team", "uid": uid, "finalizers": list(finalizers)}
    return {
        "kind": "FileProcessingJob",
        "metadata": metadata,
        "spec": {"collection": {"id": "album"}},
    }


def play(folder: Path, scene: Callable[[Place], Awaitable[None]]) -> None:
    store = open_store(f"sqlite:///{folder}/store.db")

    async def within() -> None:
        place = Place(store)
        await place.begin()
        await scene(place)

    try:
        run(within())
    finally:
        store.close()


async def working(vanished: Vanished, seconds: float) -> None:
    """Let it work for so long."""
    task = asyncio.create_task(vanished.work.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])


def test_a_deletion_that_is_seen_is_tidied_up_at_once(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, _ = place.operator()
        vanished.gone(place.delete())
        await working(vanished, 5)
        assert place.tidy

    play(tmp_path, scene)


def test_a_deletion_that_nobody_saw_is_found_by_its_lease(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.delete()
        vanished, _ = place.operator()
        await vanished.sweep_once(None)
        await working(vanished, 5)
        assert place.tidy
        await vanished.sweep_once("team")
        assert vanished.work.depth == 0, "and then nothing is left to do"

    play(tmp_path, scene)


def test_a_namesake_that_came_since_is_another_job(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.delete()
        place.server.put("user", job("uid-2"))
        place.known.add("uid-2")
        vanished, _ = place.operator()
        await vanished.sweep_once(None)
        await working(vanished, 5)
        assert place.tidy

    play(tmp_path, scene)


def test_a_job_that_is_there_is_left_alone(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, line = place.operator()
        await vanished.sweep_once(None)
        assert vanished.work.depth == 0 and place.untouched and line.asked == 2
        place.known.add("uid-1")
        await vanished.sweep_once(None)
        assert vanished.work.depth == 0 and line.asked == 3, (
            "one that the watch shows is not asked for"
        )

    play(tmp_path, scene)


def test_a_known_job_that_holds_a_lease_is_reported(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, _ = place.operator()
        await vanished.sweep_once(None)
        assert not place.holders, "what the watch has not shown yet is not judged"
        place.known.add("uid-1")
        await vanished.sweep_once(None)
        assert place.holders == [KEY] and place.untouched

    play(tmp_path, scene)


def test_an_api_server_that_does_not_answer_is_no_deletion(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, line = place.operator()
        line.refused = ClusterError(403, "may not get fileprocessingjobs")
        sweeping = asyncio.create_task(vanished.sweep((), 60))
        await asyncio.sleep(601)
        assert vanished.work.depth == 0 and place.untouched and line.asked == 11
        line.refused = None
        place.delete()
        await asyncio.sleep(61)
        await working(vanished, 5)
        assert place.tidy, "it goes on looking"
        sweeping.cancel()

    play(tmp_path, scene)


def test_with_the_store_away_it_is_tidied_up_when_it_is_back(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, _ = place.operator()
        vanished.gone(place.delete())
        place.store.away = True
        await working(vanished, 300)
        assert place.untouched
        place.store.away = False
        again, _ = place.operator()
        await again.sweep_once(None)  # another operator; the first would come to it within a minute
        await working(again, 5)
        assert place.tidy

    play(tmp_path, scene)


def test_the_same_operator_tries_again_when_the_store_is_back(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, _ = place.operator()
        place.store.away = True
        vanished.gone(place.delete())
        trying = asyncio.create_task(working(vanished, 400))
        await asyncio.sleep(200)
        place.store.away = False
        await trying
        assert place.tidy

    play(tmp_path, scene)


def test_an_operator_that_dies_over_it_leaves_the_lease_as_its_mark(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        vanished, line = place.operator()
        line.silent = True  # the store hears it, the API server does not
        vanished.gone(place.delete())
        await working(vanished, 2)
        assert place.store.store.get_job("uid-1").phase is Phase.CANCELLED  # type: ignore[union-attr]
        assert not place.tidy
        again, _ = place.operator()
        await again.sweep_once(None)
        await working(again, 5)
        assert place.tidy

    play(tmp_path, scene)


def test_an_earlier_versions_finalizer_is_taken_off_and_no_other(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.server.put("user", job("uid-1", "theirs", names.FINALIZER, "others"))
        vanished, line = place.operator()
        vanished.held(KEY)
        await working(vanished, 5)
        found = place.server.held["FileProcessingJob", "team", "photos"]
        assert found["metadata"]["finalizers"] == ["theirs", "others"]
        asked = line.asked
        vanished.held(KEY)
        await working(vanished, 5)
        assert line.asked == asked + 1, "nothing is written where nothing is to be done"

    play(tmp_path, scene)
