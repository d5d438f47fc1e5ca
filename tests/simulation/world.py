"""One schedule: a seed decides the jobs, what goes wrong, and when.

Then all is well again, and everything must end.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import fpj_core.process.lean  # noqa: F401 - before the client library

# isort: split
from fpj_core.v1alpha1 import API_VERSION
from fpj_operator.folders.controller import FolderController
from fpj_operator.jobs.pods import Pods
from fpj_operator.settings import OperatorSettings
from simulation import checks, faults, kernel, pods
from simulation.apiserver import ApiServer, Document, Ref
from simulation.cluster import Cluster
from simulation.disks import Disk, Photos, SimFolder
from simulation.network import Fate, Network
from simulation.operators import Replica
from simulation.storechecks import StoreChecks
from simulation.storeserver import StoreServer

NAMESPACE = "team"
_MOST_SECONDS = 4_000.0
"""Of a schedule's own time, from when all is well again until everything has ended."""
_TIDY_SECONDS = 25.0
_GONE_SECONDS = 200.0

logging.disable(logging.CRITICAL)
kernel.install()
pods.install()
Pods.__init__.__defaults__ = (kernel.TIME.time,)  # bound when its class was made
FolderController.__init__.__defaults__ = (kernel.TIME.time,)


@dataclass(frozen=True)
class Result:
    """What came of a schedule. ``steps`` are entries of its journal."""

    seed: int
    failure: BaseException | None
    steps: int
    seconds: float
    phases: dict[str, str]
    digest: str
    journal: list[tuple[float, str, str]]


class World:
    """Everything there is in one schedule."""

    events: Mapping[str, faults.Event] = faults.EVENTS
    often: Sequence[str] = faults.OFTEN
    moments: Sequence[str] = faults.MOMENTS
    checks_folders: bool = False
    """Whether operators look after cache folders: their check and eviction."""

    def __init__(self, seed: int, force: tuple[str, ...] = ()) -> None:
        self.kernel = kernel.begin(seed)
        self.seed = seed
        dice = self.dice = self.kernel.dice
        self.tampered = False
        """Whether something was lost or changed from outside, so that work must be done again."""
        self.was_unmounted = self.disordered = False
        """Disordered: whether requests may have come late,
        so that an older report can follow a newer one.
        """
        self.deleted_files: dict[str, float] = {}
        """By path, when a file was last deleted."""
        self.thieves = self.resumes = self.edits = self.jobs_to_come = 0
        self.calm = False
        self.phases: dict[str, str] = {}
        self.settings = OperatorSettings(
            store_url="sim:",
            worker_image="fpj:sim",
            worker_store_url="sim:",
            own_namespace="fpj-system",
            max_concurrent_jobs=dice.choice((1, 2, 10)),
            lease_seconds=dice.choice((60.0, 300.0)),
            check_seconds=dice.choice((5.0, 15.0)),
            leader_seconds=15.0,
            worker_reports=dice.random() < 0.7,
        )
        self.image_seconds = dice.choice((0.3, 1.0, 1.5, 3.0, 6.0))
        self.watch_delay = dice.choice((0.01, 0.5, 3.0, 6.0))
        self.photos = Photos({f"{number:03}.jpg": "v1" for number in range(dice.randint(3, 14))})
        if dice.random() < 0.2:
            self.photos.bad.add(dice.choice(sorted(self.photos.versions)))
        self.disk = Disk()
        self.store = StoreServer(self.kernel, self.store_checks)
        self.checks = self.make_checks()
        self.api = ApiServer(self.kernel, self.checks.on_status)
        self.network = Network(self.kernel, self.api, self.store)
        self.network.on_write = self.checks.on_write
        self.api.hooks.append(self.checks.on_change)
        self.store.checks.on_flush = self.checks.on_flush
        self.store.checks.is_there = lambda key: key in self.photos.versions
        self.store.checks.unsynced = self.disk.not_on_disk
        self.collections = ["photos"]
        self.cluster = Cluster(self)
        self.replicas: list[Replica] = []
        for number in range(dice.choice((1, 2, 2))):
            self.replicas.append(Replica(self, number))
        self.force = force

    store_checks: type[StoreChecks] = StoreChecks

    def make_checks(self) -> checks.Checks:
        """What must hold in it."""
        return checks.Checks(self)

    def photos_of(self, collection: str) -> Photos:
        """The source of a collection, by the store's name for that."""
        return self.photos

    def can_be_made(self, key: str) -> bool:
        """Whether there is an image of that key, and it is well."""
        return key not in self.photos.bad

    def folder_of(self, process: pods.PodProcess) -> SimFolder:
        """The cache folder as this pod sees it."""
        return SimFolder(self.disk)

    def size_of(self, key: str, digest: str) -> int:
        """Bytes of what is made of an image by settings of that digest."""
        return 100 + sum(map(ord, digest)) % 1_000

    def on_pod(self, process: pods.PodProcess, command: str) -> None:
        """A pod starts."""

    # For faults -----------------------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        self.kernel.later(seconds, call)

    def any_pod(self) -> pods.PodProcess | None:
        running = [each for each in self.cluster.running.values() if not each.dead]
        return self.dice.choice(running) if running else None

    def any_ref(self, kind: str) -> Ref | None:
        """Of jobs, mostly one that has not ended."""
        found = [(ref, each) for ref, each in self.api.objects.items() if ref[0] == kind]
        going = [
            ref
            for ref, each in found
            if (each.get("status") or {}).get("phase") not in checks.FINISHED
        ]
        refs = going if going and self.dice.random() < 0.8 else [ref for ref, _ in found]
        return self.dice.choice(refs) if refs else None

    def edited(self, ref: Ref, change: Callable[[Document], object]) -> None:
        self.edits += 1
        self.api.edit(ref, lambda document: change(document["spec"]))

    def resumed(self, ref: Ref) -> None:
        self.resumes += 1
        mark = f"resume-{self.resumes}"
        self.api.edit(
            ref,
            lambda document: (
                document["metadata"].setdefault("annotations", {}).update({"fpj.dev/resume": mark})
            ),
        )

    # People ---------------------------------------------------------------------------------------

    def _create_numbered(self, number: int) -> None:
        self.create_job(f"job-{number}", self._spec())

    def create_job(self, name: str, spec: Document) -> None:
        if (("FileProcessingJob", NAMESPACE, name)) not in self.api.objects:
            manifest = {"apiVersion": API_VERSION, "kind": "FileProcessingJob"}
            self.api.put(
                manifest
                | {
                    "metadata": {"name": name, "namespace": NAMESPACE},
                    "spec": json.loads(json.dumps(spec)),
                }
            )

    def create_job_later(self, seconds: float, name: str, spec: Document) -> None:
        """Until then no schedule is over."""
        self.jobs_to_come += 1

        def create() -> None:
            self.jobs_to_come -= 1
            self.create_job(name, spec)

        self.later(seconds, create)

    def _spec(self) -> Document:
        dice = self.dice
        return {
            "jobType": "Thumbnail",
            "collection": {
                "id": "photos",
                "source": {"persistentVolumeClaim": {"claimName": "photos"}},
            },
            "thumbnail": {"quality": 80},
            "priority": dice.randint(0, 2),
            "sharding": {
                "shardSize": dice.choice((2, 4, 8)),
                "parallelism": dice.choice((1, 2, 4)),
                "batchSize": dice.choice((1, 1, 2, 5)),
                "workersPerPod": dice.choice((1, 2)),
                "backoffLimitPerShard": dice.choice((0, 1, 3)),
            },
            "recovery": {"maxAttempts": checks.MOST_RECOVERIES, "staleAfterSeconds": 60},
            "suspend": False,
        }

    # The story ------------------------------------------------------------------------------------

    async def _story(self) -> None:
        dice = self.dice
        folder = {"storage": {"persistentVolumeClaim": {"claimName": "cache"}}}
        metadata = {"name": "cache", "namespace": NAMESPACE}
        self.api.put(
            {"apiVersion": API_VERSION, "kind": "CacheFolder", "metadata": metadata, "spec": folder}
        )
        for number in range(dice.choice((1, 1, 2, 3))):
            self.later(
                dice.uniform(0.0, dice.choice((0.1, 15.0))),
                partial(self._create_numbered, number),
            )
        self._choose_faults()
        calm_at = self.kernel.loop.now + dice.choice((20.0, 60.0, 120.0))
        while self.kernel.loop.now < calm_at:
            await asyncio.sleep(5.0)
            self.checks.while_it_runs()
        self._heal()
        await self._until(self._all_finished, _MOST_SECONDS, "a job never ends")
        await asyncio.sleep(_TIDY_SECONDS)
        self.checks.at_rest()
        self.phases = self._phases()
        for ref in [ref for ref in self.api.objects if ref[0] == "FileProcessingJob"]:
            self.api.remove(ref)
        await self._until(self._nothing_left, _GONE_SECONDS, "something is left behind")

    def _choose_faults(self) -> None:
        """Some kinds of fault, each at its own rate; in other schedules others."""
        dice = self.dice
        if dice.random() < 0.7:
            for fate in dice.sample(sorted(faults.FATES), dice.randint(0, 4)):
                self.disordered = True
                self.network.api_fates.append(
                    (dice.choice((0.01, 0.05, 0.2)), _bound(self, faults.FATES[fate]))
                )
        if dice.random() < 0.5:
            for fate in dice.sample(sorted(faults.CALL_FATES), dice.randint(1, 3)):
                rate = dice.choice((0.1, 0.3) if fate in faults.DENSE else (0.005, 0.02))
                self.network.store_fates.append((rate, _bound(self, faults.CALL_FATES[fate])))
        kinds = dice.sample([*sorted(self.events), *self.often], dice.randint(2, 7))
        for _ in range(dice.choice((1, 2, 3))):
            then = [*kinds[:1], *dice.sample(self.often, 2)]
            self.kernel.watchers.append((dice.choice(self.moments), faults.at_a_moment(self, then)))
        happening = [
            *self.force,
            *(dice.choice(kinds) for _ in range(dice.choice((1, 2, 4, 7, 11)))),
        ]
        for name in happening:
            self.later(
                dice.uniform(0.5, dice.choice((10.0, 15.0, 25.0, 50.0))),
                partial(self.happens, name),
            )

    def happens(self, name: str) -> None:
        """An event, if things still go wrong."""
        if not self.calm:
            self.kernel.note("FAULT", name)
            self.events[name](self)

    def harmed(self, name: str, harm: str) -> None:
        """The process of that name, or some pod for one that there is not, is frozen or killed.

        By "" it is not.
        """
        processes = [
            *self.cluster.running.values(),
            *(replica.process for replica in self.replicas),
        ]
        process = (
            next((each for each in processes if each and each.name == name), None) or self.any_pod()
        )
        if not harm or process is None or process.dead or self.calm:
            return
        self.kernel.note("FAULT", f"{process.name}: {harm}")
        if harm == "freeze":
            self.disordered = True
            process.frozen_until = self.kernel.loop.now + self.dice.choice((2.0, 18.0, 28.0))
            return
        for replica in self.replicas:
            if replica.process is process:
                replica.kill()
        if isinstance(process, pods.PodProcess):
            self.cluster.kill(process)

    def _heal(self) -> None:
        """Nothing goes wrong any more. What is broken for a while recovers by itself."""
        self.calm = True
        self.kernel.note("FAULT", "none any more")
        self.kernel.watchers.clear()
        self.network.api_fates.clear()
        self.network.store_fates.clear()
        self.later(45.0, self._unsuspend)

    def _unsuspend(self) -> None:
        for ref in [ref for ref in self.api.objects if ref[0] == "FileProcessingJob"]:
            self.edited(ref, lambda spec: spec.update(suspend=False))

    async def _until(self, holds: Callable[[], str], seconds: float, what: str) -> None:
        until = self.kernel.loop.now + seconds
        while why := holds():
            if self.kernel.loop.now > until:
                raise checks.ViolationError(f"{what}: {why}")
            self.checks.while_it_runs()
            await asyncio.sleep(2.0)

    def _all_finished(self) -> str:
        if self.jobs_to_come:
            return "a job is yet to be made"
        for document in self.api.of("FileProcessingJob"):
            phase = (document.get("status") or {}).get("phase", "")
            if phase not in checks.FINISHED:
                return f"{document['metadata']['name']} is {phase}: {checks.said(document)}"
        return ""

    def _nothing_left(self) -> str:
        return self.checks.left_behind()

    def run(self) -> Result:
        """To its end, or until something is found."""
        loop = self.kernel.loop
        asyncio.set_event_loop(loop)
        story = loop.create_task(self._story())
        story.add_done_callback(self._told)
        try:
            loop.run_until_complete(self.kernel.ended)
        except kernel.StuckError as error:
            self.kernel.fail(error)
        finally:
            phases = self.phases or self._phases()
            self._end(story)
        journal = list(self.kernel.journal)
        return Result(
            self.seed,
            self.kernel.failure,
            self.kernel.steps,
            self.kernel.seconds(),
            phases,
            self.kernel.digest(),
            journal,
        )

    def _phases(self) -> dict[str, str]:
        jobs = self.api.of("FileProcessingJob")
        return {
            each["metadata"]["name"]: (each.get("status") or {}).get("phase", "") for each in jobs
        }

    def _told(self, story: asyncio.Task[None]) -> None:
        if not story.cancelled() and (error := story.exception()) is not None:
            self.kernel.fail(error)
        elif not self.kernel.ended.done():
            self.kernel.ended.set_result(None)

    def _end(self, story: asyncio.Task[None]) -> None:
        """Take everything down, so that nothing of it is left in this process."""
        loop = self.kernel.loop
        nothing_later: Any = lambda *_arguments, **_options: loop.call_soon(lambda: None)  # noqa: E731 - the loop's own
        loop.call_later = loop.call_at = nothing_later  # type: ignore[method-assign] # of a loop that ends
        for replica in self.replicas:
            if replica.process is not None:
                replica.process.kill()
        for process in list(self.cluster.running.values()):
            process.kill()
        story.cancel()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop._scheduled.clear()  # type: ignore[attr-defined] # its timers
        for _ in range(20):
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        self.store.close()


def _bound(world: World, fate: Callable[[World, Any], Fate | None]) -> Callable[[Any], Fate | None]:
    def bound(what: Any) -> Fate | None:
        return fate(world, what)

    bound.__name__ = fate.__name__
    return bound


def run(seed: int, force: tuple[str, ...] = ()) -> Result:
    """One schedule; ``force`` names events that surely happen in it."""
    return World(seed, force).run()
