"""Which jobs are active in a namespace, and whose turn it is.

Fed by events, so no job is asked for twice.

A slot is for a job whose pods run or may run any moment. A job that cannot run (`NO_SLOT`) has
none. Neither has one that waits for its collection's lock: of those that wait for one collection
only the first is in line for a slot, and only while nobody here holds the lock. So who gets a lock
is decided by rank, too, and no free collection waits for another's lock. Every question costs the
logarithm of the number of jobs.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fpj_core.formatting import count, seconds_of
from fpj_core.model import Phase
from fpj_operator.conditionlist import condition
from fpj_operator.jobs.reasons import CANNOT_RUN
from fpj_operator.keys import Key

NO_SLOT = CANNOT_RUN | {"ChildRejected"}
"""Why no pod of a job can run, although it has started.

It holds no slot, and must get one before its pods work.
"""
_IN_LINE = frozenset({"", "Queued", "CollectionLocked", "StoreUnavailable"})
"""Why a job waits that would start if it had a slot.

What else it may wait for, such as a cache folder, comes first.
"""
_IDLE = NO_SLOT | {"Queued"}
"""Why an attempt does nothing; and, of a job that is recovering, these too:"""
_IDLE_BETWEEN = frozenset(
    {"Queued", "CollectionLocked", "StoreUnavailable", "NoCacheFolder", "ChildRejected"}
)
_GONE = 100
_ROUND_PLACES = (10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10)
_UNDER_WAY = frozenset({Phase.INDEXING, Phase.RUNNING})

Place = tuple[tuple[int, float, str], str]
"""(rank, name) of a job in line: smaller goes first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the queue keeps of a job: some hundred bytes."""

    uid: str
    phase: Phase
    priority: int
    created_at: float
    collection: str
    active: bool
    """Whether it takes a slot."""
    waits: bool
    """Whether it would start if it had a slot, and the lock where it needs one."""
    locks: bool
    """Whether it holds its collection."""
    said: str = ""
    """The message by which it says what it waits for."""
    reason: str = ""
    version: int = 0
    """The resourceVersion that shows it so."""
    trouble: str = ""
    """Why it does not move although it has started."""
    foreign: bool = False
    """Whether its collection was found locked by somebody who is not known here,
    such as `fpj run`.
    """

    @property
    def rank(self) -> tuple[int, float, str]:
        """Smaller goes first: priority, then age; the uid settles a draw."""
        return (-self.priority, self.created_at, self.uid)


class _Namespace:
    """The jobs of one namespace: by name, by collection, and those that may start, in order."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.active = 0
        self.line: list[Place] = []
        """Who gets the next slots: of each collection that is free the first,
        and who only lacks the slot.
        """
        self.stuck: set[str] = set()
        """Who waits for something else than a slot or a lock that is known here."""
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._waiting: dict[str, list[Place]] = defaultdict(list)

    def put(self, name: str, entry: Entry | None) -> None:
        """The job is so from now on; None: it is gone."""
        old = self.entries.get(name)
        collections = {each.collection for each in (old, entry) if each is not None}
        before = {each: self._first(each) for each in collections}
        if old is not None:
            self._take_out(name, old)
        if entry is not None:
            self._put_in(name, entry)
        for each, first in before.items():
            if (now := self._first(each)) != first:
                _remove(self.line, first)
                if now is not None:
                    insort(self.line, now)

    def blocker(self, name: str, entry: Entry) -> tuple[str, int]:
        """(a job that holds the collection, or is before this one in line for it; how many are)."""
        if entry.locks:
            return "", 0
        waiting = self._waiting.get(entry.collection, [])
        before = bisect_left(waiting, (entry.rank, name))
        holder = min(self._holders.get(entry.collection, ()), default="")
        return (holder or (waiting[0][1] if before else "")), before

    def is_held(self, collection: str) -> bool:
        """Whether a job that is known here holds it."""
        return bool(self._holders.get(collection))

    def _first(self, collection: str) -> Place | None:
        """Of those that wait for a collection, who may have it now."""
        waiting = self._waiting.get(collection)
        if not waiting or self._holders.get(collection) or self.entries[waiting[0][1]].foreign:
            return None
        return waiting[0]

    def _take_out(self, name: str, entry: Entry) -> None:
        del self.entries[name]
        self.active -= entry.active
        self.stuck.discard(name)
        if entry.waits:
            place = (entry.rank, name)
            _remove(self.line if entry.locks else self._waiting[entry.collection], place)
        if entry.locks:
            self._holders[entry.collection].discard(name)
        self._forget_empty(entry.collection)

    def _put_in(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry
        self.active += entry.active
        if entry.waits:
            insort(
                self.line if entry.locks else self._waiting[entry.collection], (entry.rank, name)
            )
        if (
            not entry.active
            and entry.phase in (Phase.PENDING, Phase.RECOVERING)
            and (entry.foreign or not entry.waits)
        ):
            self.stuck.add(name)
        if entry.locks:
            self._holders[entry.collection].add(name)

    def _forget_empty(self, collection: str) -> None:
        for kept in (self._holders, self._waiting):
            if not kept.get(collection):
                kept.pop(collection, None)


def _remove(line: list[Place], place: Place | None) -> None:
    if place is not None:
        found = bisect_left(line, place)
        if found < len(line) and line[found] == place:
            del line[found]


class JobQueue:
    """Per namespace, at most ``limit`` jobs at a time; the rest by priority, then age."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._namespaces: dict[str, _Namespace] = defaultdict(_Namespace)
        self._phases: Counter[Phase] = Counter()
        self._troubles: Counter[str] = Counter()
        self._queued = 0
        self._gone: deque[str] = deque(maxlen=_GONE)
        """Latest uids of jobs that are no more: an answer about one may still be under way."""

    def note(self, body: Mapping[str, Any]) -> Key:
        """Take in a FileProcessingJob as an event shows it, or an answer of the API server.

        What is older is ignored.

        An event that comes late must not put a job back in the queue that has taken its slot since.
        """
        metadata = body["metadata"]
        key, version = (
            Key(metadata["namespace"], metadata["name"]),
            int(metadata.get("resourceVersion") or 0),
        )
        known = self._entry(key)
        if metadata["uid"] in self._gone:
            return key
        same = known is not None and known.uid == metadata["uid"]
        if known is not None and same and 0 < version <= known.version:
            return key
        entry = _entry(body, version)
        if (
            known is not None
            and same
            and known.foreign
            and entry.waits
            and entry.reason == "CollectionLocked"
        ):
            entry = replace(entry, foreign=True)
        self._put(key, entry)
        return key

    def started(self, key: Key) -> None:
        """A job takes its slot, and its lock, now; the event that says so comes later."""
        if (entry := self._entry(key)) is not None:
            self._put(key, replace(entry, active=True, locks=True, waits=False, foreign=False))

    def gave_back(self, key: Key, phase: Phase, *, foreign: bool = False) -> None:
        """A job that took its slot could not start.

        ``foreign``: somebody who is not known here has its lock.
        """
        entry = self._entry(key)
        if entry is not None:
            self._put(
                key,
                replace(
                    entry, active=False, locks=phase in _UNDER_WAY, waits=foreign, foreign=foreign
                ),
            )

    def settled(self, key: Key, status: Mapping[str, Any], *, suspended: bool) -> None:
        """What a look came to, where no event will tell: the status says it already."""
        if (entry := self._entry(key)) is not None:
            self._put(
                key,
                replace(entry, active=takes_slot(status), **_standing(status, suspended=suspended)),
            )

    def collection_of(self, key: Key) -> str:
        """The id of the job's collection; empty for a job that is not known."""
        entry = self._entry(key)
        return entry.collection if entry else ""

    def version_of(self, key: Key) -> int:
        """The resourceVersion of what is known of the job."""
        entry = self._entry(key)
        return entry.version if entry else 0

    def uid_of(self, key: Key) -> str | None:
        """None for a job that is not known."""
        entry = self._entry(key)
        return entry.uid if entry else None

    def forget(self, key: Key, uid: str | None = None) -> str | None:
        """The job is gone; its uid, if it was known.

        With a ``uid`` only that one: a namesake may have come since.
        """
        entry = self._entry(key)
        if entry is not None and uid not in (None, entry.uid):
            self._gone.append(str(uid))
            return None
        if entry is not None:
            self._gone.append(entry.uid)
        self._put(key, None)
        return entry.uid if entry else None

    def is_active(self, key: Key) -> bool:
        """Whether the job has started, with a slot or without: it has a lease to keep."""
        entry = self._entry(key)
        return entry is not None and entry.phase.active

    def is_at_work(self, key: Key) -> bool:
        """Whether the job takes a slot."""
        entry = self._entry(key)
        return entry is not None and entry.active

    def is_finished(self, key: Key) -> bool:
        """Whether the job is known and has ended."""
        entry = self._entry(key)
        return entry is not None and entry.phase.finished

    def at_work(self) -> list[Key]:
        """All jobs that have started, with a slot or without, over all namespaces:
        their leases must be kept.
        """
        return [
            Key(namespace, name)
            for namespace, space in self._namespaces.items()
            for name, entry in space.entries.items()
            if entry.phase.active or entry.active
        ]

    def place(self, key: Key) -> tuple[bool, int]:
        """(whether there is a slot for the job, jobs that get one before it)."""
        entry = self._entry(key)
        if entry is None:
            return False, 0
        if entry.active:
            return True, 0
        space = self._namespaces[key.namespace]
        ahead = bisect_left(space.line, (entry.rank, key.name))
        return ahead < self._limit - space.active, ahead

    def lock(self, key: Key) -> str:
        """Why the job cannot have its collection's lock, as far as is known here.

        Empty if it may try.
        """
        entry = self._entry(key)
        if entry is None or entry.active:
            return ""
        space = self._namespaces[key.namespace]
        blocker, before = space.blocker(key.name, entry)
        if blocker and space.is_held(entry.collection):
            more = f"; jobs ahead: {_place(before)}" if before else ""
            return f"{blocker} is working on the collection{more}"
        if before:
            return f"{blocker} gets the collection first; jobs ahead: {_place(before)}"
        return entry.said if entry.foreign and not self.place(key)[0] else ""

    def next_in(self, namespace: str) -> list[Key]:
        """Jobs that may start now."""
        if (space := self._namespaces.get(namespace)) is None:
            return []
        return [
            Key(namespace, name) for _, name in space.line[: max(self._limit - space.active, 0)]
        ]

    def others_pending(self, namespace: str) -> list[Key]:
        """Jobs that wait for something else: a cache folder,
        or the lock of somebody who is not known here.
        """
        space = self._namespaces.get(namespace)
        return [Key(namespace, name) for name in space.stuck] if space else []

    def outdated(self) -> Iterator[Key]:
        """Jobs in line whose status says something else than their place by now."""
        for namespace, space in self._namespaces.items():
            for name, entry in list(space.entries.items()):
                key = Key(namespace, name)
                if (
                    entry.waits
                    and not entry.foreign
                    and (said := self._waits_for(key))
                    and said != entry.said
                ):
                    yield key

    def _waits_for(self, key: Key) -> str:
        """What the job should say that it waits for.

        Empty where that is more than a slot or a known lock.
        """
        slot_free, ahead = self.place(key)
        return self.lock(key) or ("" if slot_free else queue_words(self._limit, ahead))

    def namespaces(self) -> list[str]:
        """Those with jobs."""
        return [name for name, space in self._namespaces.items() if space.entries]

    def store_users(self) -> list[Key]:
        """Jobs that should say whether the store answers: those that have started,
        and whoever it keeps from it.
        """
        return [
            Key(namespace, name)
            for namespace, space in self._namespaces.items()
            for name, entry in space.entries.items()
            if entry.phase.active or entry.reason == "StoreUnavailable"
        ]

    def counts(self) -> dict[Phase, int]:
        """Jobs by phase, over all namespaces."""
        return {phase: self._phases[phase] for phase in Phase}

    def any_unfinished(self) -> bool:
        """Whether any job of any namespace is queued, active or suspended."""
        return any(self._phases[phase] for phase in Phase if not phase.finished)

    def queued(self) -> int:
        """Jobs that wait for a slot or their lock, over all namespaces."""
        return self._queued

    def troubles(self) -> Counter[str]:
        """Jobs that have started and do not move, by reason, over all namespaces."""
        return +self._troubles

    def _entry(self, key: Key) -> Entry | None:
        space = self._namespaces.get(key.namespace)
        return space.entries.get(key.name) if space else None

    def _put(self, key: Key, entry: Entry | None) -> None:
        for each, sign in ((self._entry(key), -1), (entry, 1)):
            if each is not None:
                self._phases[each.phase] += sign
                self._queued += sign * each.waits
                if each.trouble:
                    self._troubles[each.trouble] += sign
        if entry is not None or self._entry(key) is not None:
            self._namespaces[key.namespace].put(key.name, entry)


def queue_words(limit: int, ahead: int) -> str:
    """The message of a job that waits for a slot."""
    return f"waiting for one of the namespace's {limit} slots; jobs ahead: {_place(ahead)}"


def takes_slot(status: Mapping[str, Any]) -> bool:
    """Whether a job with this status has pods that run, or may run any moment."""
    phase = Phase(status.get("phase") or Phase.PENDING)
    idle = _IDLE if phase in _UNDER_WAY else _IDLE_BETWEEN
    return phase.active and _stopped_by(status) not in idle


def _stopped_by(status: Mapping[str, Any]) -> str:
    moving = condition(status, "Progressing")
    return str(moving.get("reason", "")) if moving.get("status") == "False" else ""


def _entry(body: Mapping[str, Any], version: int) -> Entry:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    phase = Phase(status.get("phase") or Phase.PENDING)
    return Entry(
        uid=metadata["uid"],
        phase=phase,
        priority=spec.get("priority") or 0,
        created_at=seconds_of(metadata.get("creationTimestamp")),
        collection=sys.intern((spec.get("collection") or {}).get("id") or metadata["name"]),
        active=takes_slot(status),
        version=version,
        trouble=_stopped_by(status) if phase.active else "",
        **_standing(status, suspended=bool(spec.get("suspend"))),
    )


def _standing(status: Mapping[str, Any], *, suspended: bool) -> dict[str, Any]:
    """What a status says of a job's wait and of its lock."""
    phase = Phase(status.get("phase") or Phase.PENDING)
    said = condition(status, "Progressing" if phase.active else "Ready")
    reason = str(said.get("reason", ""))
    active = takes_slot(status)
    if phase is Phase.PENDING or (phase is Phase.RECOVERING and not active):
        waits = reason in _IN_LINE
    else:
        waits = phase in _UNDER_WAY and not active and reason == "Queued"
    held = condition(status, "CollectionLocked").get("status") == "True"
    return {
        "waits": waits and not suspended,
        "locks": phase in _UNDER_WAY or (phase is Phase.RECOVERING and held),
        "said": sys.intern(str(said.get("message", ""))) if waits else "",
        "reason": sys.intern(reason),
    }


def _place(ahead: int) -> str:
    """Jobs that go first: in round numbers where there are many,
    or every job that ends would change all statuses.
    """
    above = next((places for places in _ROUND_PLACES if ahead > places), None)
    return str(ahead) if above is None else f"more than {count(above)}"
