"""What was so at each moment of a run, and from that how long fpj took to recover."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.journal import Seen
from podrunner import Api, ApiError
from pymongo.database import Database
from pymongo.errors import PyMongoError
from world import Document

from chaos.evidence import database

_INTERVAL = 0.2
_LEADER = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/fpj-operator"


@dataclass(frozen=True)
class Shards:
    """The shards of a job's attempt at a moment: by index, who holds them and how far they are."""

    at: float
    job: str
    attempt: int
    holders: dict[int, str]
    cursors: dict[int, int]
    done: int


@dataclass(frozen=True)
class Files:
    at: float
    number: int


@dataclass(frozen=True)
class Leader:
    at: float
    holder: str


class Samples:
    """Looks at files, store and leader five times a second for as long as it is entered.

    Each in a thread of its own.

    What does not answer is missing meanwhile. With ``only_store``, files and leader are left alone:
    looking costs too.
    """

    def __init__(
        self,
        out: Path,
        store: str,
        api: Api,
        system: str,
        uid: Callable[[], str],
        *,
        only_store: bool = False,
    ) -> None:
        self.files: list[Files] = []
        self.shards: list[Shards] = []
        self.leaders: list[Leader] = []
        self._out, self._store, self._api, self._uid = out, store, api, uid
        self._lease = _LEADER.format(system)
        self._ended = threading.Event()
        looks = [self._look_at_shards]
        looks += [] if only_store else [self._look_at_files, self._look_at_leader]
        self._threads = [
            threading.Thread(target=self._repeat, args=(look,), daemon=True) for look in looks
        ]

    def __enter__(self) -> Samples:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._ended.wait(_INTERVAL):
            with suppress(OSError, ApiError, PyMongoError):
                look()

    def _look_at_files(self) -> None:
        number = sum(path.suffix in (".jpg", ".jpeg") for path in self._out.rglob("*"))
        self.files.append(Files(time.monotonic(), number))

    def _look_at_shards(self) -> None:
        with database(self._store, patience=1.0) as store:
            while not self._ended.wait(_INTERVAL):
                if found := _shards(store, self._uid()):
                    self.shards.append(found)

    def _look_at_leader(self) -> None:
        lease = self._api.call("GET", self._lease, patience=0.0)
        self.leaders.append(Leader(time.monotonic(), lease["spec"].get("holderIdentity") or ""))


def _shards(store: Database[Document], uid: str) -> Shards | None:
    job = store.jobs.find_one({"_id": uid}) if uid else None
    if job is None:
        return None
    attempt = int(job.get("planned_attempt", 0))
    found = list(store.job_shards.find({"job": uid, "attempt": attempt}))
    counts = [each["counts"] for each in found] + [job["base"]]
    return Shards(
        time.monotonic(),
        uid,
        attempt,
        {each["index"]: each.get("holder") or "" for each in found if each["state"] == "Running"},
        {each["index"]: each["cursor"] for each in found},
        sum(each.get(name, 0) for each in counts for name in ("completed", "skipped", "failed")),
    )


# How long it took ---------------------------------------------------------------------------------


def files_again(samples: Sequence[Files], healed: float) -> float | None:
    """Seconds from then to the next new file; None if there was none."""
    before = [each.number for each in samples if each.at <= healed]
    if not before:
        return None
    later = (each.at - healed for each in samples if each.at > healed and each.number > before[-1])
    return next(later, None)


def shard_again(
    samples: Sequence[Shards], pod: str, started: float
) -> tuple[float | None, float | None]:
    """Seconds until a shard that the pod held then moved, and until another pod held it.

    None for what never came.
    """
    before = next((each for each in reversed(samples) if each.at <= started), None)
    if before is None:
        return None, None
    held = [index for index, holder in before.holders.items() if holder == pod]
    later = [
        each
        for each in samples
        if each.at > started and (each.job, each.attempt) == (before.job, before.attempt)
    ]
    moved = (
        each.at - started
        for each in later
        if any(each.cursors[at] > before.cursors[at] for at in held)
    )
    taken = (
        each.at - started
        for each in later
        if any(each.holders.get(at, pod) not in ("", pod) for at in held)
    )
    return next(moved, None), next(taken, None)


def another_leader(samples: Sequence[Leader], started: float) -> float | None:
    """Seconds until another operator led than the one that did then."""
    before = [each.holder for each in samples if each.at <= started]
    later = (
        each.at - started
        for each in samples
        if before and each.at > started and each.holder not in ("", before[-1])
    )
    return next(later, None)


def status_delays(samples: Sequence[Shards], seen: Sequence[Seen], uid: str) -> Iterator[float]:
    """Seconds from each record of more done images to the first status of that attempt that says at
    least so much.
    """
    statuses = [(each.at, each.done, each.status.get("attempt", {}).get("number")) for each in seen]
    known = 0, 0
    for each in samples:
        if each.job == uid and (each.attempt, each.done) > known:
            # What an attempt begins with was recorded by the one before.
            begins = each.attempt > known[0]
            known = each.attempt, each.done
            later = (
                at - each.at
                for at, done, attempt in statuses
                if attempt == each.attempt and done >= each.done
            )
            if not begins and (delay := next(later, None)) is not None:
                yield max(0.0, delay)
