"""Process one shard: skip what is up to date, hand the rest to the pool, record results in order.

Images finish out of order; the cursor moves only over a finished prefix. Files made beyond it are
recorded as soon as a batch of them has gathered, so a killed worker repeats at most one batch, and
an image that this job made before it was killed counts as completed again, not as skipped. Files
are on disk before they are recorded.
"""

from __future__ import annotations

import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, takewhile
from typing import Protocol, TypeVar

from typing_extensions import override

from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    ErrorType,
    FencedError,
    FpjError,
    ImageError,
    StoreError,
    StoreUnavailableError,
)
from fpj_core.faults import may_be_environment
from fpj_core.folders.base import CacheFolder
from fpj_core.model import (
    Counts,
    Derivative,
    Failure,
    ImageFacts,
    ImageLimits,
    ImageRecord,
    Layout,
    RemovalReason,
    Shard,
    ShardBatch,
    ShardState,
    TierSpec,
    tier_digests,
)
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store
from fpj_worker.breaker import Breaker
from fpj_worker.indexer import listing_problem
from fpj_worker.naming import MirrorNames
from fpj_worker.pool import Outcome, PoolError, ProcessPool
from fpj_worker.probe import is_environment
from fpj_worker.removal import Removed, Remover
from fpj_worker.room import Allowance
from fpj_worker.tasks import ImageDone, ImageTask, is_answer

_READ = 1_000
_WINDOW_BATCHES = 10
"""How many batches of images may be read and not yet recorded.

Bounds the supervisor's memory, not how far the fastest image may be ahead of the slowest.
"""
_FLUSH_SECONDS = 2.0
_HEARTBEAT_SECONDS = 5.0
_POLL_SECONDS = 0.2
_OUTAGE_POLL_SECONDS = 1.0
_RETRY_BASE_SECONDS = 0.25
_RETRY_MAX_SECONDS = 10.0

log = logging.getLogger("fpj.worker")

T = TypeVar("T")

Pool = ProcessPool[ImageTask, ImageDone]

Ask = Callable[[Callable[[], None]], str | None]
"""What is wrong with source or cache folder, None for nothing; see `fpj_worker.probe.Probe`."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What is the same for all shards of a job."""

    job: str
    collection: str
    tiers: tuple[TierSpec, ...]
    limits: ImageLimits
    folder_name: str
    fence: int
    batch_size: int = 100
    check_files: bool = True
    layout: Layout = Layout.HASHED


@dataclass(slots=True)
class _Slot:
    """One image between being read and being counted, or a run of recorded ones, of which only the
    counts are left.
    """

    image: ImageRecord
    counts: Counts | None = None
    """None while unfinished."""
    derivatives: tuple[Derivative, ...] = ()
    facts: ImageFacts | None = None
    failure: Failure | None = None
    recorded: bool = False
    planned: Counts = field(default_factory=Counts)
    """How the plan has counted it, if it took it for up to date.

    Of its bytes, those that are made again.
    """
    attempts: int = 0
    doubted: bool = False
    """Whether it has had its last try, and after that a probe found source and folder well:
    then one more decides.
    """


class Meter(Protocol):
    """Is notified of what happens, for metrics."""

    def settled(self, source_bytes: int, seconds: float) -> None:
        """An image of so many bytes left the pool after so many seconds of work, well or badly."""

    def failed(self, failure: Failure) -> None:
        """An image is given up."""

    def counted(self, counts: Counts) -> None:
        """So much has been recorded, once and for all."""


class _Unmetered(Meter):
    @override
    def settled(self, source_bytes: int, seconds: float) -> None: ...

    @override
    def failed(self, failure: Failure) -> None: ...

    @override
    def counted(self, counts: Counts) -> None: ...


class ShardProcessor:
    """Runs shards one after another over one pool.

    ``on_tick`` is called every fraction of a second; what it raises ends the shard where it stands,
    after which `hand_back` keeps what is finished. For ``patience`` seconds a store that has gone
    is waited for, with all results kept; the heartbeat may lapse meanwhile, and who lost the shard
    to another is fenced as ever.

    With a ``probe``, no image is charged for a fault that may be the environment's before that has
    found it well. With an ``allowance``, none is given out without room for its files: once there
    is none, and nothing is in flight, `CacheFolderFullError` ends the shard.
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        folder: CacheFolder,
        context: JobContext,
        on_tick: Callable[[], None] = lambda: None,
        meter: Meter | None = None,
        patience: float = 0.0,
        probe: Ask | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._folder = folder
        self._context = context
        self._on_tick = on_tick
        self._meter = meter or _Unmetered()
        self._patience = patience
        self._patient = True
        self._probe = probe
        self._allowance = allowance
        self._breaker = Breaker()
        self._digests = tier_digests(context.tiers)
        self.removed = Removed()
        """What its shards replaced under other names."""
        self._naming = (
            MirrorNames(store, context.collection) if context.layout is Layout.MIRROR else None
        )

    @property
    def pending(self) -> int:
        """Ordinals of the current shard that are not accounted for yet."""
        return self._shard.stop - self._cursor

    @property
    def unrecorded(self) -> Counts:
        """What is done and not recorded yet: with the store's counts,
        where the shard stands at this moment.
        """
        return sum((slot.counts for slot in self._slots if slot.counts), Counts())

    def complete(self, shard: Shard, grace: Callable[[], float]) -> None:
        """Process the shard and record its end: done, or, when anything but a lost claim stops it,
        handed back.

        Images in flight then get as many seconds as ``grace`` says. Raises what `run` raises, also
        where the store is unreachable: the claim then lapses by itself. Where source or cache
        folder are the cause, that is `EnvironmentFaultError`.
        """
        try:
            self.run(shard)
            self._remove_superseded(shard)
        except FencedError:
            raise
        except FpjError as error:
            with suppress(StoreError):
                with suppress(CacheFolderError):  # what is not surely on disk is not recorded
                    self.hand_back(grace())
                self._store.finish_shard(shard, ShardState.PENDING, self._store.now())
            if trouble := self._behind(error):
                raise EnvironmentFaultError(trouble) from error
            raise
        self._patiently(
            lambda: self._store.finish_shard(shard, ShardState.SUCCEEDED, self._store.now())
        )

    def _remove_superseded(self, shard: Shard) -> None:
        """Files that the shard's outputs replace under other names, those of its earlier holders
        too; while it is held, so that nobody makes them again at the time.
        """
        context = self._context
        remover = Remover(
            self._store, self._folder, context.folder_name, context.collection, self._on_tick
        )
        try:
            self.removed += remover.finish(shard.start, shard.stop, (RemovalReason.SUPERSEDED,))
        except FencedError:
            raise
        except (CacheFolderError, ImageError, StoreError) as error:
            # They are in nobody's way, and the next job of the collection tries again.
            log.warning("replaced files were not removed: %s", error)

    def run(self, shard: Shard) -> None:
        """Process the shard from its cursor to its end.

        Raises `fpj_core.errors.FencedError` when another holder took the shard, and whatever
        ``on_tick`` raises.
        """
        self._begin(shard)
        while not self._finished:
            self._fill()
            self._dispatch()
            outcomes = self._pool.poll(
                _POLL_SECONDS if self._pool.in_flight else self._idle_seconds()
            )
            for outcome in outcomes:
                self._settle(outcome)
            self._listen(heard=bool(outcomes))
            self._judge()
            self._record(force=not self._by_ordinal)  # nothing left to wait for
            self._on_tick()

    def hand_back(self, grace: float) -> None:
        """Stop the pool, giving images in flight ``grace`` seconds,
        and record every finished one.
        """
        self._patient = False
        _returned = self._pool.stop(grace)
        for outcome in self._pool.poll(0):
            if outcome.error is None:
                self._settle(outcome)
        self._record(force=True)

    # Reading ahead --------------------------------------------------------------------------------

    def _begin(self, shard: Shard) -> None:
        self._patient = True
        self._shard = shard
        self._cursor = shard.cursor
        self._unread = shard.cursor
        self._ahead: Iterator[_Slot] = iter(())
        self._slots: deque[_Slot] = deque()
        self._by_ordinal: dict[int, _Slot] = {}
        self._ready: deque[ImageTask] = deque()
        self._waiting: list[tuple[float, int, ImageTask]] = []
        self._doubtful: list[tuple[_Slot, ImageError, float, ImageTask]] = []
        self._gathered = 0
        self._held = 0
        self._passed = 0
        self._untrusted = False
        self._sizes: dict[str, int | None] = {}
        self._names: dict[str, str] = {}
        self._flushed_at = self._heartbeat_at = self._heard_at = time.monotonic()
        self._counted_ahead = self._count_ahead(shard)
        self._sync = self._folder.syncer()
        self._earlier, self._late = self._patiently(lambda: self._made_beyond(shard))

    def _count_ahead(self, shard: Shard) -> int:
        """How many images after the cursor the plan found up to date, and has counted.

        Exactly those are not counted again: what is left to count is what the shard's counts lack
        of its images.
        """
        ahead = self._store.count_images(shard.collection, shard.cursor, shard.stop)
        return ahead - self._left_to_count(shard)

    def _left_to_count(self, shard: Shard) -> int:
        return (
            self._store.count_images(shard.collection, shard.start, shard.stop) - shard.counts.done
        )

    def _made_beyond(self, shard: Shard) -> tuple[bool, frozenset[int]]:
        """Which of what this job made after the cursor the plan has not counted:
        a killed holder recorded it there.

        Whether earlier attempts made any; if none did, all that this job made is such. Else the
        ordinals that are, the ones made last. They are looked for in a pass of its own, which a
        first attempt does not need.
        """
        job = self._store.get_job(shard.job)
        if self._counted_ahead <= 0 or job is None or not job.made_before:
            return False, frozenset()
        recorded, left = 0, self._left_to_count(shard)
        latest: list[tuple[float, int]] = []
        for start in range(shard.cursor, shard.stop, _READ):
            for image, derivatives in self._read(start, min(start + _READ, shard.stop)):
                if not self._is_all_recorded(image, derivatives):
                    continue
                recorded += 1
                if made := [
                    each.created_at for each in derivatives.values() if each.job == shard.job
                ]:
                    heapq.heappush(latest, (max(made), image.ordinal))
                    if len(latest) > left:
                        heapq.heappop(latest)
            self._on_tick()
        late = heapq.nlargest(max(recorded - self._counted_ahead, 0), latest)
        return True, frozenset(ordinal for _, ordinal in late)

    @property
    def _finished(self) -> bool:
        return not self._slots and self._unread >= self._shard.stop

    def _fill(self) -> None:
        """Read images until the pool has enough to do, the window is full, or many were skipped."""
        window = self._context.batch_size * _WINDOW_BATCHES
        passed = self._passed + max(window, _READ)
        while (
            self._unread < self._shard.stop
            and self._held < window
            and len(self._ready) < _READ
            and self._passed < passed
        ):
            stop = min(self._unread + _READ, self._shard.stop)
            read = self._patiently(partial(self._read, self._unread, stop))
            self._sizes = self._sizes_of(
                [each for _, derivatives in read for each in derivatives.values()]
            )
            self._names = self._names_of([image for image, _ in read])
            for image, derivatives in read:
                self._take(image, derivatives)
            self._unread = stop

    def _read(self, start: int, stop: int) -> list[tuple[ImageRecord, dict[str, Derivative]]]:
        """Images of a range, each with its recorded derivatives by tier."""
        context = self._context
        recorded: dict[str, dict[str, Derivative]] = {}
        tiers = [tier.name for tier in context.tiers]
        for derivative in self._store.derivatives(context.collection, start, stop, tiers):
            recorded.setdefault(derivative.image, {})[derivative.tier] = derivative
        images = self._store.images(context.collection, start, stop)
        return [(image, recorded.get(image.id, {})) for image in images]

    def _names_of(self, images: Sequence[ImageRecord]) -> dict[str, str]:
        """By image id; none where files are named by ids."""
        return self._patiently(partial(self._naming.of, images)) if self._naming else {}

    @property
    def _looks(self) -> bool:
        """Whether files are looked at once more.

        Where that is not cheap, the plan's check of a moment ago must do.
        """
        return self._context.check_files and self._folder.answers_at_once

    def _sizes_of(self, recorded: Sequence[Derivative]) -> dict[str, int | None]:
        """The sizes of files that may be up to date, by path."""
        if not self._looks:
            return {}
        folder = self._context.folder_name
        paths = [
            d.path for d in recorded if d.folder == folder and d.digest == self._digests[d.tier]
        ]
        return dict(zip(paths, self._folder.sizes(paths), strict=True))

    def _take(self, image: ImageRecord, recorded: dict[str, Derivative]) -> None:
        slot = _Slot(image)
        lacking = tuple(
            tier.name for tier in self._context.tiers if not self._up_to_date(image, tier, recorded)
        )
        if self._is_counted(image, recorded):
            self._counted_ahead -= 1
            again = sum(
                recorded[tier].bytes for tier in lacking if recorded[tier].job == self._context.job
            )
            slot.planned = replace(self._counts_of_made(recorded.values()), bytes_written=again)
        if problem := listing_problem(image):
            slot.attempts = 1
            self._fail(slot, ImageError(*problem), 0.0)
        elif not lacking:
            slot.counts = Counts() if slot.planned.done else self._counts_of_made(recorded.values())
            slot.recorded = True
            self._passed += 1
        else:
            self._by_ordinal[image.ordinal] = slot
            name = self._names.get(image.id)
            self._ready.append(
                ImageTask(image.ordinal, image.id, image.key, image.size, lacking, name)
            )
        self._held += not slot.recorded
        _append(self._slots, slot)

    def _is_counted(self, image: ImageRecord, recorded: dict[str, Derivative]) -> bool:
        """Whether the plan counted it: by its records alone, for a file may have gone since."""
        if self._counted_ahead <= 0 or not self._is_all_recorded(image, recorded):
            return False
        if any(derivative.job == self._context.job for derivative in recorded.values()):
            return self._earlier and image.ordinal not in self._late
        return True

    def _is_all_recorded(self, image: ImageRecord, recorded: dict[str, Derivative]) -> bool:
        return all(self._is_recorded(image, tier, recorded) for tier in self._context.tiers)

    def _is_recorded(
        self, image: ImageRecord, tier: TierSpec, recorded: dict[str, Derivative]
    ) -> bool:
        derivative = recorded.get(tier.name)
        return (
            derivative is not None
            and derivative.digest == self._digests[tier.name]
            and derivative.source_version == image.version
        )

    def _up_to_date(
        self, image: ImageRecord, tier: TierSpec, recorded: dict[str, Derivative]
    ) -> bool:
        return (
            self._is_recorded(image, tier, recorded)
            and (derivative := recorded[tier.name]).folder == self._context.folder_name
            and (not self._looks or self._sizes[derivative.path] == derivative.bytes)
        )

    def _counts_of_made(self, recorded: Iterable[Derivative]) -> Counts:
        """How an up-to-date image counts: completed if this job made any of it before it was
        stopped.
        """
        sizes = [derivative.bytes for derivative in recorded if derivative.job == self._context.job]
        return Counts(completed=1, bytes_written=sum(sizes)) if sizes else Counts(skipped=1)

    # The pool -------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._waiting)[2])
        while self._ready and self._pool.has_room and self._may_write():
            task = self._ready.popleft()
            self._by_ordinal[task.ordinal].attempts += 1
            self._pool.submit(task)

    def _may_write(self) -> bool:
        """Whether the cache folder has room for one more image.

        What is in flight is waited for, and recorded: it may be smaller than was reserved.
        """
        allowance = self._allowance
        if allowance is None or self._patiently(allowance.take):
            return True
        if not self._pool.in_flight:
            self._record(force=True)
            if not self._patiently(allowance.take):
                raise allowance.refusal()
            return True
        return False

    def _idle_seconds(self) -> float:
        """How long to sleep when nothing is in flight: until the next retry is due."""
        if not self._waiting:
            return _POLL_SECONDS if self._doubtful else 0.0
        return min(max(self._waiting[0][0] - time.monotonic(), 0.0), _POLL_SECONDS)

    def _settle(self, outcome: Outcome[ImageTask, ImageDone]) -> None:
        task = outcome.task
        slot = self._by_ordinal[task.ordinal]
        error = outcome.error
        if error is None and not is_answer(outcome.result, task, self._context.collection):
            error = ImageError(
                ErrorType.WORKER_CRASHED, "the decoder's answer is not about this image"
            )
        self._meter.settled(task.size, outcome.elapsed)
        if self._allowance:
            made = outcome.result.files if error is None and outcome.result else ()
            self._allowance.settle(sum(file.bytes for file in made))
        if error is None and outcome.result is not None:
            self._breaker.went_well()
            self._complete(slot, outcome.result, outcome.elapsed)
            del self._by_ordinal[task.ordinal]
            return
        error = error or ImageError(ErrorType.INTERNAL, "the worker returned nothing")
        last = not error.error_type.transient or slot.attempts >= self._context.limits.max_attempts
        doubtful = self._probe is not None and may_be_environment(
            error.error_type, error.environment
        )
        if doubtful:
            self._breaker.fault(last=last)
        if not last:
            due = time.monotonic() + _backoff(slot.attempts)
            heapq.heappush(self._waiting, (due, task.ordinal, task))
        elif doubtful:
            self._doubtful.append((slot, error, outcome.elapsed, task))
        else:
            self._charge(slot, error, outcome.elapsed)

    def _charge(self, slot: _Slot, error: ImageError, elapsed: float) -> None:
        self._fail(slot, error, elapsed)
        del self._by_ordinal[slot.image.ordinal]

    # The environment ------------------------------------------------------------------------------

    def _listen(self, *, heard: bool) -> None:
        """Suspect the environment where no image ends for as long as one may take:
        all may wait for storage.
        """
        now = time.monotonic()
        if heard or not self._pool.in_flight:
            self._heard_at = now
        elif now - self._heard_at >= self._context.limits.timeout_seconds:
            self._heard_at = now
            self._breaker.fault(last=True)

    def _judge(self) -> None:
        """Charge images for what may be the environment's fault, once that is known to be well.

        It may have healed since their last try: each gets one more, which no longer counts, and is
        asked about again. Raises `EnvironmentFaultError` where it is not well.
        """
        began = time.monotonic()
        if self._probe is None or not self._breaker.asks(began):
            return
        if trouble := self._probe(self._on_tick):
            raise EnvironmentFaultError(trouble)
        now = time.monotonic()
        self._breaker.was_well(now, now - began)
        for slot, error, elapsed, task in self._doubtful:
            if slot.doubted:
                self._charge(slot, error, elapsed)
            else:
                slot.doubted = True
                slot.attempts -= 1
                heapq.heappush(self._waiting, (now, task.ordinal, task))
        self._doubtful.clear()

    def _behind(self, error: FpjError) -> str | None:
        """What of the environment is behind an error that stopped the shard."""
        if self._probe is None or isinstance(error, EnvironmentFaultError):
            return None
        if is_environment(error):
            return str(error)
        if isinstance(error, PoolError | StoreUnavailableError | CacheFolderError):
            return self._probe(self._on_tick)
        return None

    def _complete(self, slot: _Slot, done: ImageDone, elapsed: float) -> None:
        context = self._context
        now = time.time()
        slot.facts = done.facts
        slot.derivatives = tuple(
            Derivative(
                image=slot.image.id,
                tier=file.tier,
                collection=context.collection,
                ordinal=slot.image.ordinal,
                digest=self._digests[file.tier],
                source_version=slot.image.version,
                folder=context.folder_name,
                path=file.path,
                width=file.width,
                height=file.height,
                bytes=file.bytes,
                job=context.job,
                created_at=now,
                cost_ms=file.cost_ms,
            )
            for file in done.files
        )
        made = Counts(
            completed=1,
            bytes_written=sum(file.bytes for file in done.files),
            processing_ms=elapsed * 1000,
        )
        slot.counts = made - slot.planned
        self._gathered += 1

    def _fail(self, slot: _Slot, error: ImageError, elapsed: float) -> None:
        slot.failure = Failure(
            job=self._context.job,
            collection=self._context.collection,
            ordinal=slot.image.ordinal,
            image=slot.image.id,
            key=slot.image.key,
            error_type=error.error_type,
            message=display_key(error.message),
            attempts=slot.attempts,
            at=time.time(),
        )
        self._meter.failed(slot.failure)
        slot.counts = (
            Counts(failed=1, processing_ms=elapsed * 1000, errors={error.error_type.value: 1})
            - slot.planned
        )
        self._gathered += 1

    # Recording ------------------------------------------------------------------------------------

    def _record(self, *, force: bool) -> None:
        """Flush when a batch has gathered or time is up; otherwise keep the heartbeat going."""
        now = time.monotonic()
        prefix_done = bool(self._slots) and self._slots[0].counts is not None
        full = self._gathered >= self._context.batch_size
        if (
            force
            or full
            or (now - self._flushed_at >= _FLUSH_SECONDS and (prefix_done or self._gathered))
        ):
            self._flush()
        elif prefix_done and self._passed >= _READ:
            self._flush()  # a long run of skipped images moves the cursor too
        if now - self._heartbeat_at >= _HEARTBEAT_SECONDS:
            self._patiently(lambda: self._store.heartbeat(self._shard, self._store.now()))
            self._heartbeat_at = time.monotonic()
            if self._allowance:
                self._patiently(self._allowance.keep)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, once the store answers.

        Raises `StoreUnavailableError` when patience has run out.
        """
        until = time.monotonic() + self._patience
        while True:
            try:
                return ask()
            except StoreUnavailableError:
                if not self._patient or time.monotonic() + _OUTAGE_POLL_SECONDS > until:
                    raise
            time.sleep(_OUTAGE_POLL_SECONDS)
            self._on_tick()

    def _flush(self) -> None:
        """Record what can be.

        Nothing is forgotten here before the store has it: a flush that failed is tried again.
        """
        if self._untrusted:
            return
        prefix = list(takewhile(lambda slot: slot.counts is not None, self._slots))
        rest = list(islice(self._slots, len(prefix), None))
        cursor = rest[0].image.ordinal if rest else self._unread
        beyond = [slot for slot in rest if slot.derivatives and not slot.recorded]
        fresh = [slot for slot in (*prefix, *beyond) if not slot.recorded]
        if cursor != self._cursor or fresh:
            batch = self._batch(prefix, fresh, cursor)
            if batch.derivatives:
                self._bring_to_disk()
            self._patiently(lambda: self._store.flush(batch, self._store.now()))
            self._meter.counted(batch.counts)
            if self._allowance:
                self._allowance.recorded(sum(each.bytes for each in batch.derivatives))
            self._heartbeat_at = time.monotonic()
        self._cursor = cursor
        for slot in fresh:
            slot.recorded = True
        self._slots = deque()
        for slot in rest:
            _append(self._slots, slot)
        self._held = sum(not slot.recorded for slot in self._slots)
        self._gathered = self._passed = 0
        self._flushed_at = time.monotonic()

    def _bring_to_disk(self) -> None:
        """Raises `CacheFolderError`; nothing more of this shard is then recorded,
        for the next sync would succeed.
        """
        try:
            self._sync()
        except CacheFolderError:
            self._untrusted = True
            self._slots.clear()
            raise

    def _batch(self, prefix: list[_Slot], fresh: list[_Slot], cursor: int) -> ShardBatch:
        return ShardBatch(
            job=self._shard.job,
            attempt=self._shard.attempt,
            index=self._shard.index,
            collection=self._context.collection,
            epoch=self._shard.epoch,
            fence=self._context.fence,
            expected_cursor=self._cursor,
            cursor=cursor,
            counts=sum(
                (slot.counts for slot in prefix if slot.counts), self._no_longer_skipped(cursor)
            ),
            derivatives=tuple(derivative for slot in fresh for derivative in slot.derivatives),
            failures=tuple(slot.failure for slot in prefix if slot.failure),
            facts={slot.image.ordinal: slot.facts for slot in fresh if slot.facts},
        )

    def _no_longer_skipped(self, cursor: int) -> Counts:
        """At the shard's end, minus what the plan counted and nobody found:
        a killed holder has made it again.
        """
        if cursor < self._shard.stop or self._earlier:
            return Counts()
        return Counts() - Counts(skipped=max(self._counted_ahead, 0))


def _append(slots: deque[_Slot], slot: _Slot) -> None:
    """Append it; neighbors that are recorded become one."""
    if slot.recorded and slots and slots[-1].recorded:
        last = slots[-1]
        slots[-1] = _Slot(
            last.image, (last.counts or Counts()) + (slot.counts or Counts()), recorded=True
        )
    elif slot.recorded:
        slots.append(_Slot(slot.image, slot.counts, recorded=True))
    else:
        slots.append(slot)


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: exponential, with full jitter over the upper half."""
    ceiling = min(_RETRY_BASE_SECONDS * 2.0 ** (attempt - 1), _RETRY_MAX_SECONDS)
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
