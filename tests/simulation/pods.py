"""Worker pods: the real code of index and shard pods, with a pool that decodes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

import fpj_core.store.sqlite_jobs
import fpj_worker.indexer
import fpj_worker.locking
import fpj_worker.pod.shard
import fpj_worker.verify
from fpj_core.errors import ErrorType, FpjError, ImageError
from fpj_core.kube.exits import ExitCode, termination_message
from fpj_core.model import ImageFacts, tier_digests
from fpj_worker.pod.endings import ending_of
from fpj_worker.pod.evict import read_folder_task, run_evict
from fpj_worker.pod.index import run_index
from fpj_worker.pod.report import LateReportError, ReportError, StatusWriter
from fpj_worker.pod.shard import run_shard
from fpj_worker.pod.task import Task, read_task
from fpj_worker.pool import Outcome
from fpj_worker.stopping import Stop
from fpj_worker.tasks import ImageDone, ImageHandler, ImageTask, WrittenFile
from simulation.apiserver import request_of
from simulation.disks import SimFolder, SimSource
from simulation.kernel import CURRENT, TIME, Killed, Process
from simulation.network import StoreClient

if TYPE_CHECKING:
    from simulation.world import World

_TASKS_PER_CHILD = 2


class PodProcess(Process):
    """The process of one pod."""

    world: World
    stop: Stop
    tokens: int = 0
    folder: SimFolder
    """The cache folder as it is mounted in this pod."""
    dies_after: int = 0
    """It is killed after so many more steps: calls of the store, and files of the folder."""

    def step(self) -> None:
        """Before and after each step. Raises `Killed`."""
        if self.dies_after:
            self.dies_after -= 1
            if not self.dies_after:
                self.kernel.note("FAULT", f"{self.name} is killed at this step")
                self.world.cluster.kill(self)
        self.check()


@dataclass
class SimPool:
    """See `fpj_worker.pool.ProcessPool`: children that take their time and make names of files."""

    handler: ImageHandler
    workers: int
    running: deque[tuple[float, ImageTask]] = field(default_factory=deque)
    outcomes: list[Outcome[ImageTask, ImageDone]] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.process: PodProcess = CURRENT.get()  # type: ignore[assignment]
        self.digests = tier_digests(self.handler.tiers)
        TIME.sleep(0.2)  # children start

    @property
    def in_flight(self) -> int:
        return len(self.running)

    @property
    def has_room(self) -> bool:
        return not self.stopped and self.in_flight < self.workers * _TASKS_PER_CHILD

    def submit(self, task: ImageTask) -> None:
        world = self.process.world
        ahead = max((due for due, _ in self.running), default=TIME.monotonic())
        self.running.append(
            (ahead + world.image_seconds * world.kernel.dice.uniform(0.5, 1.5) / self.workers, task)
        )

    def poll(self, timeout: float) -> list[Outcome[ImageTask, ImageDone]]:
        end = TIME.monotonic() + timeout
        if not self.outcomes and not self.stopped and timeout > 0:
            due = self.running[0][0] if self.running else end
            TIME.sleep(min(max(due - TIME.monotonic(), 0.0), timeout))
        self._work()
        finished, self.outcomes = self.outcomes, []
        return finished

    def stop(self, grace: float) -> list[ImageTask]:
        if self.stopped:
            return []
        end = TIME.monotonic() + grace
        while self.running and self.running[0][0] <= end:
            TIME.sleep(max(self.running[0][0] - TIME.monotonic(), 0.0))
            self._work()
        self.stopped = True
        returned = [task for _, task in self.running]
        self.running.clear()
        return returned

    def _work(self) -> None:
        self.process.check()
        while self.running and self.running[0][0] <= TIME.monotonic():
            _, task = self.running.popleft()
            try:
                self.outcomes.append(Outcome(task, self._made(task), None, 0.1))
            except ImageError as error:
                self.outcomes.append(Outcome(task, None, error, 0.1))

    def _made(self, task: ImageTask) -> ImageDone:
        photos = self.process.world.photos_of(self.handler.collection)
        photos.check()
        version = photos.shown.get(task.key)
        if version is None:
            raise ImageError(ErrorType.NOT_FOUND, f"{task.key} is gone")
        if task.key in photos.bad:
            raise ImageError(ErrorType.CORRUPT_IMAGE, "cut off")
        files = []
        for tier in task.lacking:
            path = task.path(self.handler.collection, tier, "jpg")
            size = self.process.world.size_of(task.key, self.digests[tier])
            content = (size, version, self.digests[tier])
            self.process.folder.disk.write(path, content, self.process)
            self.process.world.kernel.note(self.process.name, f"file {task.key} {tier}")
            files.append(WrittenFile(tier, path, 10, 10, size))
        return ImageDone(ImageFacts(10, 10, "jpeg"), tuple(files))


class SimStatusWriter(StatusWriter):
    """The same patch, by our own network."""

    @override
    def write(self, status: Mapping[str, Any]) -> None:
        process: PodProcess = CURRENT.get()  # type: ignore[assignment]
        request = request_of(
            "PATCH", self._path, self.patch(status), "application/json-patch+json", process.name
        )
        code, body = process.world.network.blocking_request(process, request, 5.0)
        if code == 422:
            raise LateReportError(body)
        if code >= 400:
            raise ReportError(body)


def _holder(who: str) -> str:
    process = CURRENT.get(None)
    return f"{who} in {process.name}" if process else who


def install() -> None:
    """Have pods use them, and do in several steps what they would do at once for so few images."""
    fpj_worker.indexer._BATCH = fpj_worker.verify._BATCH = 4
    fpj_core.store.sqlite_jobs._STEP = 3
    vars(fpj_worker.pod.shard).update(start_image_pool=SimPool, StatusWriter=SimStatusWriter)
    # A pod knows no process of another container.
    vars(fpj_worker.locking).update(local_holder=_holder, is_dead=lambda _holder: False)


def run(process: PodProcess, command: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """What `fpj_worker.pod.run` does: exit code and termination message."""
    world = process.world
    process.folder = world.folder_of(process)
    world.on_pod(process, command)
    try:
        store: Any = StoreClient(world.network, process)
        if command == "evict":
            mine = replace(read_folder_task(environment), config=process.folder)
            return ExitCode.DONE, run_evict(mine, store, process.stop)
        found = read_task(environment)
        source = SimSource(world.photos_of(found.collection))
        task: Task = replace(found, source=source, folder=process.folder)
        {"index": run_index, "shard": run_shard}[command](task, store, process.stop)
    except Killed:
        raise
    except Exception as error:  # noqa: BLE001 - as pods do
        if not isinstance(error, FpjError):
            world.kernel.fail(error)
        ending = ending_of(error)
        message = termination_message(ending.reason, str(error)) if ending.reason else ""
        return ending.code, message
    return ExitCode.DONE, ""
