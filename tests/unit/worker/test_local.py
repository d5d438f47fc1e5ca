"""A whole run over a scripted pool: phases, counts, locks, and every way to end."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from obstore import exceptions
from typing_extensions import override
from unit.worker.fakes import (
    COLLECTION,
    FULL,
    THUMBNAIL,
    Clock,
    Fate,
    ListSource,
    MemoryFolder,
    ScriptedPool,
    entries,
    job,
)

from fpj_cli.endings import code_of
from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    ErrorType,
    FencedError,
    ImageError,
    LeaseHeldError,
    SourceChangedError,
    SourceError,
    StoreUnavailableError,
)
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.names import lease_name
from fpj_core.leases import local_holder
from fpj_core.model import (
    Counts,
    Derivative,
    Folder,
    ImageLimits,
    Job,
    Phase,
    ShardState,
    SourceEntry,
)
from fpj_core.progress import Progress
from fpj_core.sources.base import FORGETFUL, Memory, Source, nothing
from fpj_core.store.protocol import Store
from fpj_worker.local import JobFailedError, LocalRun
from fpj_worker.localjob import LocalJob
from fpj_worker.preview import Why
from fpj_worker.stopping import InterruptedRunError

CORRUPT = ImageError(ErrorType.CORRUPT_IMAGE, "cut off")
LEASE = lease_name(COLLECTION)


@dataclass
class Watcher:
    """An observer that remembers."""

    stages: list[str] = field(default_factory=list)
    shown: list[tuple[Progress, Mapping[str, int]]] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def listed(self, images: int) -> None:
        pass

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        self.shown.append((progress, dict(errors)))

    def waiting(self, why: str, left: float) -> None:
        self.waited.append(why)


@dataclass
class Bench:
    """Runs jobs over one store, source and folder."""

    store: Store
    clock: Clock
    folder: MemoryFolder = field(default_factory=MemoryFolder)
    source: ListSource = field(default_factory=lambda: ListSource(entries(40)))
    fate: Fate = lambda _task, _attempt: None
    watcher: Watcher = field(default_factory=Watcher)
    pools: list[ScriptedPool] = field(default_factory=list)

    def request(self, current: Job, **changes: Any) -> LocalJob:
        whole = LocalJob(
            job=current,
            source=self.source,
            tiers=(FULL, THUMBNAIL),
            limits=ImageLimits(),
            folder=self.folder,
            folder_record=Folder("cache", "memory"),
            workers=2,
            batch_size=5,
            shard_size=lambda _pending: 10,
            identity="list",
        )
        return replace(whole, **changes)

    def pool(self) -> ScriptedPool:
        self.pools.append(ScriptedPool(self.folder, self.fate, clock=self.clock))
        return self.pools[-1]

    def prepare(
        self,
        current: Job | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        **changes: Any,
    ) -> LocalRun:
        self.watcher = Watcher()
        local = LocalRun(
            self.store, self.request(current or job(), **changes), self.watcher, should_stop
        )
        local._pool = self.pool  # type: ignore[assignment, method-assign]
        return local

    def run(self, current: Job | None = None, **options: Any) -> tuple[Job, Counts]:
        local = self.prepare(current, **options)
        done = local.run()
        return done, local.progress()[1]


@pytest.fixture
def bench(store: Store, clock: Clock) -> Iterator[Bench]:
    bench = Bench(store, clock)
    yield bench
    lease = store.lease(LEASE)
    assert lease is None or lease.expires_at == 0 or lease.holder.startswith("other"), (
        "the lease is given back"
    )


def numbers(counts: Counts) -> tuple[int, int, int]:
    return counts.completed, counts.skipped, counts.failed


def recorded(bench: Bench) -> list[Derivative]:
    return bench.store.derivatives(COLLECTION, 0, 10_000, ["full", "thumbnail"])


def test_a_run_from_nothing_to_its_end(bench: Bench) -> None:
    done, counts = bench.run()
    assert (done.phase, done.reason, done.total) == (Phase.COMPLETED, "AllImagesDone", 40)
    assert numbers(counts) == (40, 0, 0)
    assert bench.watcher.stages == ["Index", "Check", "Plan", "Process", "Finish"]
    assert bench.store.get_job(done.id) == done
    assert done.finished_at and done.started_at and done.started_at <= done.finished_at
    assert bench.store.job_counts(done.id, 1)[1] == {ShardState.SUCCEEDED: 4}
    (folder,) = bench.store.folders()
    assert (folder.files, folder.bytes, folder.collections) == (
        80,
        sum(bench.folder.files.values()),
        1,
    )
    last, _ = bench.watcher.shown[-1]
    assert (last.percent, last.completed, last.eta_seconds) == (100, 40, 0.0)


def test_a_second_run_makes_nothing(bench: Bench) -> None:
    bench.run()
    done, counts = bench.run(job("job-2"))
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (0, 40, 0))
    assert len(bench.pools) == 1, "no pool is started for nothing"
    assert bench.store.shards("job-2", 1) == []


def test_an_empty_source(bench: Bench) -> None:
    bench.source.listed = []
    done, counts = bench.run()
    assert (done.phase, done.total, numbers(counts)) == (Phase.COMPLETED, 0, (0, 0, 0))


def test_only_what_changed_is_made(bench: Bench) -> None:
    bench.run()
    del bench.folder.files[next(iter(bench.folder.files))]
    bench.source.listed = [*entries(38), *entries(1, 38, "v2"), *entries(1, 50)]
    done, counts = bench.run(job("job-2"))
    assert (done.total, numbers(counts)) == (40, (3, 37, 0))


def test_without_the_file_check_the_record_is_trusted(bench: Bench) -> None:
    bench.run()
    bench.folder.files.clear()
    _, counts = bench.run(job("job-2"), check_files=False)
    assert numbers(counts) == (0, 40, 0)
    assert "Check" not in bench.watcher.stages


def test_force_makes_everything_again(bench: Bench) -> None:
    bench.run()
    _, counts = bench.run(job("job-2"), force=True)
    assert numbers(counts) == (40, 0, 0)
    assert sum(bench.pools[-1].attempts.values()) == 40


def test_failed_images_are_counted_by_type_and_tried_again_next_time(bench: Bench) -> None:
    bench.fate = lambda task, _: CORRUPT if task.ordinal in (3, 30) else None
    done, counts = bench.run()
    assert (done.phase, done.reason) == (Phase.COMPLETED_WITH_ERRORS, "ImagesFailed")
    assert (numbers(counts), counts.errors) == ((38, 0, 2), {"CorruptImage": 2})
    assert bench.watcher.shown[-1][1] == {"CorruptImage": 2}
    bench.fate = lambda *_: None
    done, counts = bench.run(done)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert sum(bench.pools[-1].attempts.values()) == 2, "only what was not done"
    assert bench.store.failures(done.id) == []


def test_listing_problems_count_as_failed_images(bench: Bench) -> None:
    bench.source.troubles = (("secret", ErrorType.ACCESS_DENIED, "no"),)
    done, counts = bench.run()
    assert (done.phase, done.total, numbers(counts)) == (
        Phase.COMPLETED_WITH_ERRORS,
        41,
        (40, 0, 1),
    )


def test_a_dry_run_says_what_there_is_to_do(bench: Bench) -> None:
    plan = bench.prepare().preview()
    assert (plan.total, plan.pending, plan.reasons[Why.NEW]) == (40, 40, 40)
    sources = sum(entry.size for entry in bench.source.listed)
    assert 0 < plan.need_bytes <= 2 * 2 * sources, "small pictures have small files"
    assert bench.store.jobs() == []
    assert bench.folder.files == {}
    bench.run()
    assert bench.prepare(job("job-2")).preview().pending == 0
    assert bench.prepare(job("job-2"), force=True).preview().reasons[Why.FORCED] == 40


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_a_dry_run_says_why_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    """Not even into the store: a wrong cache folder forgets nothing,
    and a held lock keeps nobody from asking.
    """
    bench.run()
    bench.store.acquire_lease(LEASE, "other", 60, bench.clock.time())
    before = _dump(tmp_path / "fpj.db")
    del bench.folder.files[next(iter(bench.folder.files))]
    bench.source.listed = [*entries(38), *entries(1, 38, "v2"), *entries(2, 50)]
    named: list[tuple[Why, str]] = []
    plan = bench.prepare(job("job-2")).preview(lambda why, key: named.append((why, key)))
    assert {why: count for why, count in plan.reasons.items() if count} == {
        Why.NEW: 2,
        Why.CHANGED: 1,
        Why.FILE_LOST: 1,
    }
    assert (Why.CHANGED, "p38.jpg") in named and (Why.NEW, "p50.jpg") in named
    assert (
        bench.prepare(tiers=(replace(FULL, quality=50), THUMBNAIL))
        .preview()
        .reasons[Why.SETTINGS_CHANGED]
        > 30
    )
    typo = bench.prepare(folder_record=Folder("typo", "elsewhere")).preview()
    assert typo.reasons[Why.FILE_LOST] == 38
    assert _dump(tmp_path / "fpj.db") == before


def test_a_dry_run_says_that_what_failed_is_tried_again(bench: Bench) -> None:
    """Even after other runs of the collection. An image that changed since is one that changed."""
    bench.fate = lambda task, _: CORRUPT if task.ordinal in (3, 30, 31) else None
    bench.run()
    bench.source.listed = [*entries(31), *entries(1, 31, "v2"), *entries(9, 32)]
    named: list[tuple[Why, str]] = []
    plan = bench.prepare(job("job-2")).preview(lambda why, key: named.append((why, key)))
    assert {why: count for why, count in plan.reasons.items() if count} == {
        Why.FAILED_BEFORE: 2,
        Why.CHANGED: 1,
        Why.NEW: 1,
    }
    assert {key for why, key in named if why is Why.FAILED_BEFORE} == {"p3.jpg", "p30.jpg"}
    bench.fate = lambda task, _: CORRUPT if task.ordinal == 3 else None
    bench.run(job("job-2"))
    assert bench.prepare(job("job-3")).preview().reasons[Why.FAILED_BEFORE] == 1
    bench.fate = lambda *_: None
    bench.run(job("job-3"))
    assert bench.prepare(job("job-4")).preview().pending == 0


def test_the_figures_shown_are_those_of_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits for the store: not the count, and not the time."""
    bench.source.listed = entries(400)
    settled: list[float] = []
    local = bench.prepare(batch_size=1_000)
    began = 0.0

    def stage(name: str) -> None:
        nonlocal began
        began = bench.clock.now if name == "Process" else began

    def progress(shown: Progress, _errors: Mapping[str, int]) -> None:
        pool = bench.pools[-1] if bench.pools else None
        made = sum(pool.attempts.values()) - len(pool.waiting) - len(pool.finished) if pool else 0
        if made and bench.clock.now > began:
            assert shown.completed == made
            assert shown.images_per_second == pytest.approx(
                made / (bench.clock.now - began), rel=0.05
            )
            settled.append(bench.clock.now - began)

    monkeypatch.setattr(bench.watcher, "stage", stage)
    monkeypatch.setattr(bench.watcher, "progress", progress)
    local.run()
    assert settled[0] < 1.0
    assert len(settled) > 20


def test_what_a_run_did_itself_is_told_apart(bench: Bench) -> None:
    first = bench.prepare(should_stop=lambda: len(bench.folder.files) > 30)
    with pytest.raises(InterruptedRunError):
        first.run()
    made = first.of_this_run()
    assert 0 < made.completed < 40 and made == first.progress()[1]
    second = bench.prepare(first.job)
    second.run()
    mine = second.of_this_run()
    by_second = len(bench.pools[-1].attempts)
    assert numbers(mine) == (by_second, 40 - by_second, 0)
    assert 0 < mine.bytes_written < second.progress()[1].bytes_written
    assert numbers(second.progress()[1]) == (40, 0, 0), (
        "the job's own counts are those of all its runs"
    )


# Ending early -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 2, 5, 10, 20, 30])
def test_an_interrupted_run_is_gone_on_with(bench: Bench, after: int) -> None:
    """Wherever it is stopped: the next run ends with the same files and counts,
    and makes nothing twice.
    """
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(InterruptedRunError):
        bench.run(should_stop=should_stop)
    (stopped,) = bench.store.jobs()
    assert (stopped.phase, stopped.reason, stopped.finished_at) == (
        Phase.SUSPENDED,
        "Interrupted",
        None,
    )
    lease = bench.store.lease(LEASE)
    assert lease and lease.expires_at == 0
    kept = len(bench.folder.files)
    done, counts = bench.run(stopped)
    assert (done.phase, done.total, numbers(counts)) == (Phase.COMPLETED, 40, (40, 0, 0))
    assert counts.bytes_written == sum(bench.folder.files.values())
    if kept < len(bench.folder.files):
        assert 2 * sum(bench.pools[-1].attempts.values()) == len(bench.folder.files) - kept


def test_an_interrupted_forced_run_starts_over_nothing(bench: Bench) -> None:
    bench.run()
    with pytest.raises(InterruptedRunError):
        bench.run(
            job("job-2"),
            force=True,
            should_stop=lambda: len(bench.pools) > 1 and bench.pools[1].attempts.total() > 20,
        )
    stopped = bench.store.get_job("job-2")
    assert stopped
    made = len(list(bench.store.made_by(stopped)))
    assert 0 < made < 40
    done, counts = bench.run(stopped, force=True)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert bench.pools[-1].attempts.total() == 40 - made


def test_force_switched_on_in_the_middle_of_a_job_makes_again_what_others_made(
    bench: Bench,
) -> None:
    """What this job has made stays: of every other image, also of one that was up to date,
    all tiers are made.
    """
    bench.run()
    for ordinal in range(1, 24):
        for made in bench.store.derivatives(
            COLLECTION, ordinal, ordinal + 1, ["full", "thumbnail"]
        ):
            del bench.folder.files[made.path]
    (half,) = bench.store.derivatives(COLLECTION, 0, 1, ["full"])
    del bench.folder.files[half.path]
    with pytest.raises(InterruptedRunError):
        bench.run(
            job("job-2"),
            should_stop=lambda: len(bench.pools) > 1 and bench.pools[1].attempts.total() > 15,
        )
    stopped = bench.store.get_job("job-2")
    assert stopped
    before = {(each.ordinal, each.tier) for each in recorded(bench) if each.job == "job-2"}
    whole = {
        ordinal for ordinal, _ in before if {(ordinal, "full"), (ordinal, "thumbnail")} <= before
    }
    assert (0, "full") in before and whole and whole < set(range(1, 24))
    done, counts = bench.run(stopped, force=True)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert {each.job for each in recorded(bench)} == {"job-2"}
    assert bench.pools[-1].attempts.total() == 40 - len(whole), (
        "nothing of this job's is made twice"
    )


def test_a_forced_job_that_is_gone_on_with_finds_its_files_gone(bench: Bench) -> None:
    done, _ = bench.run(job("job-1"), force=True)
    path = recorded(bench)[7].path
    del bench.folder.files[path]
    done, counts = bench.run(done, force=True)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert path in bench.folder.files
    assert bench.pools[-1].attempts.total() == 1


@pytest.mark.parametrize(("bound", "phase"), [(1, Phase.FAILED), (2, Phase.COMPLETED_WITH_ERRORS)])
def test_too_many_failed_images_end_the_job(bench: Bench, bound: int, phase: Phase) -> None:
    bench.source.listed = entries(400)
    bench.fate = lambda task, _: CORRUPT if task.ordinal in (3, 4) else None
    if phase is Phase.FAILED:
        with pytest.raises(
            JobFailedError, match="2 images failed, maxFailedImages allows 1"
        ) as error:
            bench.run(max_failed=lambda _total: bound)
        assert error.value.reason == "TooManyFailedImages"
    else:
        bench.run(max_failed=lambda _total: bound)
    (ended,) = bench.store.jobs()
    assert ended.phase is phase
    assert (bench.pools[-1].attempts.total() < 400) == (phase is Phase.FAILED), (
        "it is given up early"
    )


def test_too_many_failed_images_count_in_the_shortest_job(bench: Bench) -> None:
    """Also in one that is over before its progress is looked at again."""
    bench.source.listed = entries(3)
    bench.fate = lambda *_: CORRUPT
    local = bench.prepare(max_failed=lambda _total: 0)
    pool = ScriptedPool(bench.folder, bench.fate, most_at_once=1)  # no time passes
    local._pool = lambda: pool  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(JobFailedError, match="3 images failed, maxFailedImages allows 0"):
        local.run()
    assert bench.store.jobs()[0].phase is Phase.FAILED


def test_a_deadline_ends_the_job(bench: Bench) -> None:
    bench.source.listed = entries(400)
    with pytest.raises(JobFailedError, match=r"activeDeadlineSeconds \(2\) passed"):
        bench.run(deadline_seconds=2)
    (ended,) = bench.store.jobs()
    assert (ended.phase, ended.reason) == (Phase.FAILED, "DeadlineExceeded")


def test_a_source_that_is_not_there_fails_the_job(bench: Bench) -> None:
    class Missing(ListSource):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            if not self.listed:
                raise SourceError("/photos: No such file or directory")
            yield from self.listed

    bench.source = Missing()
    with pytest.raises(SourceError):
        bench.run()
    (ended,) = bench.store.jobs()
    assert (ended.phase, ended.reason) == (Phase.FAILED, "Source")
    assert ended.message == "/photos: No such file or directory"


def test_a_store_that_goes_away_ends_the_run_and_the_next_one_finds_the_truth(bench: Bench) -> None:
    flush = bench.store.flush
    left = 3

    def failing(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise StoreUnavailableError("away")
        flush(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.store, "flush", failing)
        with pytest.raises(StoreUnavailableError):
            bench.run()
    (ended,) = bench.store.jobs()
    assert (ended.phase, ended.reason) == (Phase.FAILED, "StoreUnavailable")
    _, counts = bench.run(ended)
    assert numbers(counts) == (40, 0, 0)


# The lease ----------------------------------------------------------------------------------------


# Environment faults -------------------------------------------------------------------------------

EIO = ImageError(ErrorType.READ_FAILED, "EIO", environment=True)
FULL_DISK = ImageError(ErrorType.DISK_FULL, "full", environment=True)
GONE = ImageError(ErrorType.NOT_FOUND, "the file is gone")


def sickening(bench: Bench, error: ImageError, *, since: int, until: float) -> Fate:
    """What was well for so many images is sick until that time, for every image and for a probe."""

    def fate(_task: Any, _attempt: int) -> ImageError | None:
        sick = len(bench.folder.files) >= 2 * since and bench.clock.now < until
        return error if sick else None

    probe, look = bench.folder.probe, bench.source.look

    def probed(own: str) -> None:
        bench.folder.sick = "full" if error is FULL_DISK and bench.clock.now < until else ""
        probe(own)

    def looked(keys: Any) -> Any:
        bench.source.sick = "gone" if error is not FULL_DISK and bench.clock.now < until else ""
        return look(keys)

    bench.folder.probe, bench.source.look = probed, looked  # type: ignore[method-assign]
    return fate


@pytest.mark.parametrize("error", [EIO, FULL_DISK, GONE])
@pytest.mark.parametrize("since", [0, 17])
def test_an_environment_that_fails_costs_no_image_and_is_waited_for(
    bench: Bench, error: ImageError, since: int
) -> None:
    bench.fate = sickening(bench, error, since=since, until=bench.clock.now + 200)
    done, counts = bench.run()
    assert (done.phase, numbers(counts), counts.errors) == (Phase.COMPLETED, (40, 0, 0), {})
    assert done.reason == "AllImagesDone" and not done.message
    assert bench.store.failures(done.id) == []
    assert len(recorded(bench)) == 80
    assert bench.watcher.waited
    assert bench.watcher.stages.count("Process") == 2
    assert done.active_seconds < 100, "waiting is not work"
    assert sum(pool.attempts.total() for pool in bench.pools) < 40 + 3 * 10, "no more is given out"


@pytest.mark.parametrize("error", [EIO, FULL_DISK, GONE])
def test_an_environment_that_does_not_heal_suspends_the_job(
    bench: Bench, error: ImageError
) -> None:
    began = bench.clock.now
    bench.fate = sickening(bench, error, since=17, until=began + 10_000)
    local = bench.prepare(wait_seconds=300.0)
    with pytest.raises(EnvironmentFaultError):
        local.run()
    assert 300 <= bench.clock.now - began < 340
    stored = bench.store.get_job("job-1")
    assert stored and (stored.phase, stored.reason) == (Phase.SUSPENDED, "EnvironmentFault")
    assert stored.message
    counts = local.progress()[1]
    assert counts.failed == 0
    assert len(recorded(bench)) == len(bench.folder.files) >= 2 * 17, "what is made is kept"
    bench.clock.now = began + 20_000
    done, counts = bench.run(stored)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))


def test_waiting_can_be_interrupted(bench: Bench) -> None:
    began = bench.clock.now
    bench.fate = sickening(bench, EIO, since=17, until=began + 10_000)
    local = bench.prepare(should_stop=lambda: bench.clock.now > began + 60)
    with pytest.raises(InterruptedRunError):
        local.run()
    stored = bench.store.get_job("job-1")
    assert stored and (stored.phase, stored.reason) == (Phase.SUSPENDED, "Interrupted")
    assert local.progress()[1].failed == 0


def test_a_store_on_the_same_full_disk_is_waited_for_too(bench: Bench) -> None:
    until = bench.clock.now + 100
    bench.fate = sickening(bench, FULL_DISK, since=17, until=until)
    flush, renew = bench.store.flush, bench.store.renew_lease

    def full(ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            if len(bench.folder.files) >= 2 * 17 and bench.clock.now < until:
                raise StoreUnavailableError("database or disk is full")
            return ask(*arguments)

        return asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.store, "flush", full(flush))
        patch.setattr(bench.store, "renew_lease", full(renew))
        done, counts = bench.run()
    assert (done.phase, sum(numbers(counts)), counts.failed) == (Phase.COMPLETED, 40, 0)
    assert len(recorded(bench)) == 80


@pytest.mark.parametrize(
    "error", [EIO, GONE, ImageError(ErrorType.ACCESS_DENIED, "mode 000", environment=True)]
)
def test_what_is_an_images_own_fault_is_charged_as_ever(bench: Bench, error: ImageError) -> None:
    bench.fate = lambda task, _attempt: error if task.ordinal % 4 == 1 else None
    done, counts = bench.run()
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED_WITH_ERRORS, (30, 0, 10))
    assert {each.attempts for each in bench.store.failures(done.id)} == {
        3 if error.error_type.transient else 1
    }
    assert not bench.watcher.waited


def test_storage_that_hangs_is_suspected_while_all_images_wait_for_it(bench: Bench) -> None:
    """No image ends, so none fails: each has minutes for its bytes."""
    until, make, look = bench.clock.now + 300, bench.pool, bench.source.look

    def hanging() -> ScriptedPool:
        pool = make()
        pool.most_at_once = 0 if bench.clock.now < until else 3
        return pool

    def looked(keys: Any) -> Any:
        bench.source.sick = "no answer" if bench.clock.now < until else ""
        return look(keys)

    bench.pool, bench.source.look = hanging, looked  # type: ignore[method-assign]
    done, counts = bench.run()
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert bench.watcher.waited[0].endswith("no answer")
    assert len(bench.pools) == 2, "no more is given out while it hangs"


def test_a_common_path_asks_for_no_probe(bench: Bench) -> None:
    bench.fate = lambda task, _attempt: CORRUPT if task.ordinal % 4 == 1 else None
    bench.source.sick = bench.folder.sick = "nobody may ask"
    _, counts = bench.run()
    assert numbers(counts) == (30, 0, 10)


# Faults before the first image --------------------------------------------------------------------

REFUSED = OSError(errno.EACCES, "Permission denied")
ANSWERS_503 = exceptions.GenericError(
    "Server returned non-2xx status code: 503 Service Unavailable"
)


def unlisted(bench: Bench, cause: BaseException, until: float) -> None:
    """The source cannot be listed until that time."""
    listed = bench.source.list

    def list_(on_step: Callable[[], None] = nothing, memory: Any = FORGETFUL) -> Iterator[Any]:
        if bench.clock.now < until:
            raise SourceError(f"the source: {cause}") from cause
        yield from listed(on_step, memory)

    bench.source.list = list_  # type: ignore[method-assign]


PASSING = [OSError(errno.ESTALE, "Stale file handle"), OSError(errno.EIO, "I/O error"), ANSWERS_503]
FOR_A_PERSON = [
    REFUSED,
    OSError(errno.ENOENT, "No such file"),
    exceptions.PermissionDeniedError("403"),
]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("cause", [*PASSING, *FOR_A_PERSON])
def test_a_source_that_cannot_be_listed_is_waited_for(
    bench: Bench, cause: BaseException, known: bool
) -> None:
    """What a person must change is waited for only where it has worked before:
    else it was named wrongly.
    """
    if known:
        bench.run(job("before"))
    unlisted(bench, cause, bench.clock.now + 100)
    if not known and cause in FOR_A_PERSON:
        with pytest.raises(SourceError):
            bench.run()
        assert not bench.watcher.waited
        return
    done, counts = bench.run()
    assert (done.phase, done.reason, done.message) == (Phase.COMPLETED, "AllImagesDone", "")
    assert (counts.done, counts.failed) == (40, 0)
    assert bench.watcher.waited
    assert bench.watcher.stages == ["Index", "Check", "Plan", "Process", "Finish"], (
        "each try is part of the wait"
    )


def test_a_source_that_cannot_be_listed_for_long_suspends_the_job(bench: Bench) -> None:
    bench.run(job("before"))
    began = bench.clock.now
    unlisted(bench, PASSING[0], began + 10_000)
    with pytest.raises(EnvironmentFaultError, match="Stale"):
        bench.run(wait_seconds=300.0)
    assert 300 <= bench.clock.now - began < 340
    stored = bench.store.get_job("job-1")
    assert stored and (stored.phase, stored.reason) == (Phase.SUSPENDED, "EnvironmentFault")
    assert bench.store.count_images(COLLECTION) == 40, "nothing is marked deleted"
    bench.clock.now = began + 20_000
    done, _ = bench.run(stored)
    assert done.phase is Phase.COMPLETED


def test_a_source_that_comes_back_empty_at_first_is_waited_for(bench: Bench) -> None:
    """The mount point is there before what is mounted on it."""
    bench.run(job("before"))
    began, whole = bench.clock.now, bench.source.listed
    unlisted(bench, OSError(errno.ENOENT, "No such file"), began + 50)
    bench.source.listed = []

    def mounted() -> bool:
        bench.source.listed = whole if bench.clock.now > began + 100 else []
        return False

    done, counts = bench.run(should_stop=mounted)
    assert (done.phase, counts.done) == (Phase.COMPLETED, 40)
    assert any("not in the source any more" in why for why in bench.watcher.waited)


def test_a_source_that_dies_while_it_is_listed_charges_nothing(bench: Bench) -> None:
    """Its folders then cannot be read one after another, and none of them is to blame."""
    until = bench.clock.now + 100
    bench.source.listed, whole = entries(7), bench.source.listed
    bench.source.troubles = (
        ("2019", ErrorType.READ_FAILED, "EIO"),
        ("2020", ErrorType.NOT_FOUND, "gone"),
    )
    look = bench.source.look

    def looked(keys: Any) -> Any:
        bench.source.sick = "EIO" if bench.clock.now < until else ""
        return look(keys)

    def healed() -> bool:
        if bench.clock.now >= until:
            bench.source.listed, bench.source.troubles = whole, ()
        return False

    bench.source.look = looked  # type: ignore[method-assign]
    done, counts = bench.run(should_stop=healed)
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED, (40, 0, 0))
    assert bench.watcher.waited


def test_a_folder_that_alone_cannot_be_read_is_named_as_ever(bench: Bench) -> None:
    bench.source.troubles = (("2019", ErrorType.READ_FAILED, "EIO"),)
    done, counts = bench.run()
    assert (done.phase, numbers(counts)) == (Phase.COMPLETED_WITH_ERRORS, (40, 0, 1))
    assert not bench.watcher.waited


@pytest.mark.parametrize("step", ["mark", "lacking"])
def test_a_cache_folder_that_fails_before_the_first_image_is_waited_for(
    bench: Bench, step: str
) -> None:
    until, do = bench.clock.now + 100, getattr(bench.folder, step)

    def failing(*arguments: Any, **options: Any) -> Any:
        if bench.clock.now < until:
            raise CacheFolderError("the cache folder is full") from OSError(
                errno.ENOSPC, "No space left"
            )
        return do(*arguments, **options)

    if step == "lacking":
        bench.run(job("before"))
    setattr(bench.folder, step, failing)
    done, counts = bench.run()
    assert (done.phase, counts.done) == (Phase.COMPLETED, 40)
    assert bench.watcher.waited


def test_a_collection_that_another_holds_is_left_alone(bench: Bench) -> None:
    bench.store.acquire_lease(LEASE, "other", 60, bench.clock.now)
    with pytest.raises(LeaseHeldError):
        bench.run()
    assert bench.store.jobs() == []
    bench.clock.now += 61
    bench.run()


def test_a_dead_process_holds_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = local_holder("gone")
    bench.store.acquire_lease(LEASE, holder, 60, bench.clock.now)
    monkeypatch.setattr("fpj_worker.locking.is_dead", lambda given: given == holder)
    done, _ = bench.run()
    assert done.phase is Phase.COMPLETED


def test_the_lease_is_renewed_while_the_job_runs(bench: Bench) -> None:
    """Lost to another, it ends the run without another word: the job is the other's to tell of."""
    bench.source.listed = entries(4_000)

    def take_over() -> bool:
        if bench.clock.now > 1_030:
            bench.store.acquire_lease(LEASE, "other", 60, bench.clock.now + 60)
        return False

    with pytest.raises(FencedError):
        bench.run(should_stop=take_over)
    assert bench.clock.now < 1_060
    lease = bench.store.lease(LEASE)
    assert lease and lease.holder == "other"
    assert bench.store.jobs()[0].phase is Phase.RUNNING


def test_progress_is_persisted_and_leads_only_upwards(bench: Bench) -> None:
    bench.source.listed = entries(400)
    persisted: list[Job] = []

    def look() -> bool:
        persisted.extend(bench.store.jobs())
        return False

    done, _ = bench.run(should_stop=look)
    seconds = [each.active_seconds for each in persisted if each.phase is Phase.RUNNING]
    assert seconds == sorted(seconds)
    assert 0 < max(seconds) <= done.active_seconds
    shown = [progress.completed for progress, _ in bench.watcher.shown]
    assert shown == sorted(shown)
    assert len(set(shown)) > 5
    assert all(progress.total == 400 for progress, _ in bench.watcher.shown)


def test_sources_are_what_the_worker_expects() -> None:
    source: Source = ListSource()
    assert list(source.list()) == []


# The collection's source --------------------------------------------------------------------------


def test_another_source_of_the_same_collection_is_refused(bench: Bench) -> None:
    bench.run(identity="folder /a")
    made = recorded(bench)
    bench.source = ListSource(entries(40, 1_000))
    for attempt in (
        bench.prepare(identity="folder /b").run,
        bench.prepare(identity="folder /b").preview,
    ):
        with pytest.raises(
            SourceChangedError, match=r"folder /a.*folder /b.*--collection.*--accept-source"
        ) as refused:
            attempt()
        assert code_of(refused.value) is CommandExit.BAD_INPUT
    assert recorded(bench) == made and bench.store.count_images(COLLECTION) == 40


def test_a_source_that_moved_goes_on_where_someone_says_so(bench: Bench) -> None:
    bench.run(identity="folder /a")
    assert numbers(bench.run(job("job-2"), identity="folder /b", accept_source=True)[1]) == (
        0,
        40,
        0,
    )
    assert numbers(bench.run(job("job-3"), identity="folder /b")[1]) == (0, 40, 0)
    with pytest.raises(SourceChangedError):
        bench.run(identity="folder /a")


def test_a_source_is_remembered_once_something_was_found_in_it(bench: Bench) -> None:
    """A path that was mistyped, or not mounted, at the first run
    must not lock out the right one.
    """
    bench.source = ListSource([])
    bench.run(identity="folder /typo")
    bench.source = ListSource(entries(40))
    bench.run(identity="folder /a")
    assert bench.store.collection_source(COLLECTION) == "folder /a"


# The live figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 1_000])
def test_the_live_figures_are_those_of_whoever_counts_beside(bench: Bench, batch_size: int) -> None:
    """From the first second on, however rarely results are recorded,
    and over the bounds of shards.
    """
    bench.source = ListSource(entries(2_000))
    local = bench.prepare(batch_size=batch_size, shard_size=lambda _pending: 700)
    seen: list[tuple[float, int, Progress]] = []
    delivered: list[int] = []

    class Beside(Watcher):
        @override
        def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
            seen.append((bench.clock.now, len(delivered), progress))

    class Counted(ScriptedPool):
        @override
        def poll(self, timeout: float) -> Any:
            outcomes = super().poll(timeout)
            delivered.extend(outcome.task.ordinal for outcome in outcomes)
            return outcomes

    def pool() -> ScriptedPool:
        bench.pools.append(Counted(bench.folder, bench.fate, clock=bench.clock))
        return bench.pools[-1]

    local._observer = Beside()
    local._pool = pool  # type: ignore[assignment, method-assign]
    local.run()
    began = 1_000.0
    while_running = [each for each in seen if 0 < each[2].completed < 2_000]
    assert while_running[0][0] - began <= 1.0, "the first figure comes within a second"
    assert len(while_running) > 50
    for now, finished, progress in while_running:
        if now - began < 1.0:
            continue
        rate = finished / (now - began)
        assert progress.images_per_second == pytest.approx(rate, rel=0.05)
        assert progress.eta_seconds == pytest.approx((2_000 - finished) / rate, rel=0.05, abs=1.0)
