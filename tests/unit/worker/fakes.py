"""A source, a cache folder, a pool and a clock that do as the tests say, in no time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from fpj_core.errors import CacheFolderError, ErrorType, ImageError, SourceError
from fpj_core.folders.base import Expected, lacking_by_asking
from fpj_core.folders.ownership import FolderState
from fpj_core.folders.walking import Entry, order_of
from fpj_core.model import Fit, Format, ImageFacts, Job, SourceEntry, TierSpec
from fpj_core.sources.base import FORGETFUL, Memory, Problems, nothing
from fpj_core.sources.filters import Filter, LeftOut
from fpj_worker.pool import Outcome
from fpj_worker.tasks import ImageDone, ImageTask, WrittenFile

COLLECTION = "holiday"
JOB = "job-1"
FULL = TierSpec("full", 1920, 1080, 85, Format.JPEG, Fit.INSIDE)
THUMBNAIL = TierSpec("thumbnail", 300, 300, 80, Format.JPEG, Fit.INSIDE)


def entries(count: int, start: int = 0, version: str = "v1") -> list[SourceEntry]:
    return [
        SourceEntry(f"p{number}.jpg", 100 + number, version)
        for number in range(start, start + count)
    ]


def job(job_id: str = JOB, **changes: Any) -> Job:
    return Job(job_id, "it", COLLECTION, {}, "digest", created_at=1.0, **changes)


class ListSource:
    """Lists what it is given.

    ``problems`` are known once the listing is exhausted, as in real sources.
    """

    def __init__(
        self,
        listed: Iterable[SourceEntry] = (),
        *troubles: tuple[str, ErrorType, str],
        left_out: Callable[[str], bool] = lambda _key: False,
    ) -> None:
        self.leaves_out = left_out
        self.listed = list(listed)
        self.troubles = troubles
        self.problems = Problems()
        self.left_out = LeftOut()
        self.filter = Filter()
        self.sick = ""

    def build(self) -> ListSource:
        return self

    def list(
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        self.problems = Problems()
        self.memory = memory
        yield from self.listed
        for trouble in self.troubles:
            self.problems.add(*trouble)

    def open(self, key: str, size: int, *, max_file_size: int) -> Any:
        raise NotImplementedError

    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        if self.sick:
            raise SourceError(self.sick)
        return [None for _ in keys]


class MemoryFolder:
    """A cache folder that remembers sizes alone."""

    location = "memory"

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.most = 0
        """Bytes that it has held at a time."""
        self.removed: list[str] = []
        self.swept = 0
        self.refuses_removal = False
        self.synced: set[str] = set()
        self.sync_error: CacheFolderError | None = None
        self.sick = ""
        self._unwritten: set[str] = set()

    def build(self) -> MemoryFolder:
        return self

    def check_writable(self) -> None:
        pass

    def look(self) -> FolderState:
        return FolderState(marker=b"")

    def mark(self, marker: bytes, own: Sequence[str]) -> None:
        pass

    def require_marker(self) -> None:
        pass

    def free_bytes(self) -> int | None:
        return None

    def write(self, relative: str, data: bytes, *, token: str) -> None:
        self.files[relative] = len(data)
        self.most = max(self.most, sum(self.files.values()))
        self._unwritten.add(relative)

    answers_at_once = True

    def size(self, relative: str) -> int | None:
        return self.files.get(relative)

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return [self.size(path) for path in paths]

    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str]]:
        return lacking_by_asking(self, expected, on_step)

    def entries(
        self, below: str, depth: int, on_step: Callable[[], None] = nothing
    ) -> Iterator[Entry]:
        """As a bucket has them; every file is old."""
        start = f"{below}/" if below else ""
        seen = set()
        for path in sorted(self.files, key=order_of):
            if path.startswith(start):
                parts = path.removeprefix(start).split("/")
                deep = len(parts) > depth + 1
                shown = start + "/".join(parts[: depth + 1]) + "/" if deep else path
                if shown not in seen:
                    seen.add(shown)
                    yield Entry(shown, None if deep else self.files[path])

    def now(self) -> float:
        return 1e9

    def remove(self, relative: str) -> None:
        if self.refuses_removal:
            raise ImageError(ErrorType.ACCESS_DENIED, "not here")
        self.files.pop(relative, None)
        self.removed.append(relative)

    def remove_many(self, paths: Sequence[str]) -> dict[str, str]:
        left = {}
        for path in paths:
            try:
                self.remove(path)
            except ImageError as error:
                left[path] = error.message
        return left

    def sweep(self, own: Sequence[str], store: str) -> None:
        self.swept += 1

    def probe(self, own: str) -> None:
        if self.sick:
            raise CacheFolderError(self.sick)

    def syncer(self) -> Callable[[], None]:
        return self._sync

    def _sync(self) -> None:
        """As a kernel does: an error is reported once, and what it was about is lost."""
        error, self.sync_error = self.sync_error, None
        written, self._unwritten = self._unwritten, set()
        if error:
            raise error
        self.synced |= written


def size_of(ordinal: int, tier: str) -> int:
    """Bytes of a derivative in these tests: every one differs from the next."""
    return 1_000 + 2 * ordinal + (tier == "full")


Fate = Callable[[ImageTask, int], ImageError | None]
"""From a task and which attempt at it this is, to what becomes of it."""


@dataclass
class ScriptedPool:
    """Finishes tasks in an order drawn from ``chance``, each as its ``fate`` says.

    Its files are in the folder.
    """

    folder: MemoryFolder
    fate: Fate = lambda _task, _attempt: None
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    room: int = 8
    extension: str = "jpg"
    clock: Clock | None = None
    attempts: Counter[int] = field(default_factory=Counter)
    waiting: list[ImageTask] = field(default_factory=list)
    finished: list[Outcome[ImageTask, ImageDone]] = field(default_factory=list)
    stopped: bool = False
    pace: float = 0.05
    """Seconds that pass in each poll with tasks in flight."""
    most_at_once: int = 3
    slowest: set[int] = field(default_factory=set)
    """Ordinals that finish only when nothing else is left."""

    def __enter__(self) -> ScriptedPool:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop(0)

    @property
    def in_flight(self) -> int:
        return len(self.waiting)

    @property
    def has_room(self) -> bool:
        return not self.stopped and len(self.waiting) < self.room

    def submit(self, task: ImageTask) -> None:
        assert self.has_room
        self.attempts[task.ordinal] += 1
        self.waiting.append(task)

    def poll(self, timeout: float) -> list[Outcome[ImageTask, ImageDone]]:
        if self.clock:
            self.clock.now += self.pace if self.waiting else timeout
        ready = [task for task in self.waiting if task.ordinal not in self.slowest] or self.waiting
        for task in self.chance.sample(
            ready, min(len(ready), self.chance.randint(0, self.most_at_once))
        ):
            self.waiting.remove(task)
            self.finished.append(self._finish(task))
        finished, self.finished = self.finished, []
        return finished

    def stop(self, grace: float) -> list[ImageTask]:
        if self.stopped:
            return []
        self.stopped = True
        for task in self.chance.sample(
            self.waiting, self.chance.randint(0, len(self.waiting)) if grace else 0
        ):
            self.waiting.remove(task)
            self.finished.append(self._finish(task))
        returned, self.waiting = self.waiting, []
        return returned

    def _finish(self, task: ImageTask) -> Outcome[ImageTask, ImageDone]:
        error = self.fate(task, self.attempts[task.ordinal])
        if error:
            return Outcome(task, None, error, 0.5)
        files = []
        for tier in task.lacking:
            path = task.path(COLLECTION, tier, self.extension)
            self.folder.write(path, bytes(size_of(task.ordinal, tier)), token="t")
            files.append(WrittenFile(tier, path, 4, 3, size_of(task.ordinal, tier)))
        return Outcome(
            task, ImageDone(ImageFacts(40, 30, "jpeg", b"\1", "#aabbcc"), tuple(files)), None, 0.25
        )


class Clock(SimpleNamespace):
    """Stands in for the time module: moves only when someone waits."""

    def __init__(self) -> None:
        super().__init__(now=1_000.0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return float(self.now)

    def time(self) -> float:
        return float(self.now)
