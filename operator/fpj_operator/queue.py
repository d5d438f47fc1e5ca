"""Which jobs are at work in a namespace, and whose turn it is. Fed by events, so no job is asked for twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fpj_core.model import Phase
from fpj_operator.conditions import seconds_of
from fpj_operator.state import Key
from fpj_operator.trouble import CANNOT_RUN

_QUEUED = ("", "Queued")
NO_SLOT = CANNOT_RUN | {"ChildRejected"}
"""Why no pod of a job can run, although it has started. It holds no slot, and must get one before its pods work."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the queue keeps of a job: a hundred bytes or so."""

    uid: str
    phase: Phase
    priority: int
    created_at: float
    waits: bool
    """In the queue for a slot, not for something else."""
    version: int = 0
    """The resourceVersion that shows it so."""
    trouble: str = ""
    """Why it does not move although it is at work."""

    @property
    def active(self) -> bool:
        """Whether it takes a slot."""
        return self.phase.active

    @property
    def rank(self) -> tuple[int, float, str]:
        """Smaller goes first: priority, then age; the uid settles a draw."""
        return (-self.priority, self.created_at, self.uid)


class JobQueue:
    """Per namespace, at most ``limit`` jobs at work; the rest by priority, then age."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[str, dict[str, Entry]] = defaultdict(dict)

    def note(self, body: Mapping[str, Any]) -> Key:
        """Take in a FileProcessingJob as an event shows it, or an answer of the API server; what is older is ignored.

        An event that comes late must not put a job back in the queue that has taken its slot since.
        """
        metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
        key, version = Key(metadata["namespace"], metadata["name"]), int(metadata.get("resourceVersion") or 0)
        known = self._entries[key.namespace].get(key.name)
        if known is not None and known.uid == metadata["uid"] and 0 < version <= known.version:
            return key
        phase = Phase(status.get("phase") or Phase.PENDING)
        conditions = {each["type"]: each for each in status.get("conditions", [])}
        ready, moving = conditions.get("Ready", {}), conditions.get("Progressing", {})
        entry = Entry(
            uid=metadata["uid"],
            phase=phase,
            priority=spec.get("priority") or 0,
            created_at=seconds_of(metadata.get("creationTimestamp")),
            waits=phase is Phase.PENDING and ready.get("reason", "") in _QUEUED and not spec.get("suspend"),
            version=version,
            trouble=moving.get("reason", "") if phase.active and moving.get("status") == "False" else "",
        )
        self._entries[key.namespace][key.name] = entry
        return key

    def started(self, key: Key) -> None:
        """A job takes its slot now; the event that says so comes later."""
        self._change(key, Phase.INDEXING)

    def gave_back(self, key: Key, phase: Phase) -> None:
        """A job that took its slot could not start; it waits for something else."""
        self._change(key, phase)

    def _change(self, key: Key, phase: Phase) -> None:
        entry = self._entries[key.namespace].get(key.name)
        if entry is not None:
            self._entries[key.namespace][key.name] = replace(entry, phase=phase, waits=False)

    def uid_of(self, key: Key) -> str | None:
        """None for a job that is not known."""
        entry = self._entries[key.namespace].get(key.name)
        return entry.uid if entry else None

    def forget(self, key: Key) -> str | None:
        """The job is gone; its uid, if it was known."""
        entry = self._entries[key.namespace].pop(key.name, None)
        return entry.uid if entry else None

    def is_at_work(self, key: Key) -> bool:
        """Whether the job takes a slot."""
        entry = self._entries[key.namespace].get(key.name)
        return entry is not None and entry.active

    def at_work(self) -> list[Key]:
        """All jobs that take a slot, over all namespaces."""
        return [
            Key(namespace, name)
            for namespace, entries in self._entries.items()
            for name, each in entries.items()
            if each.active
        ]

    def place(self, key: Key) -> tuple[bool, int]:
        """(whether the job may start, jobs that go before it)."""
        entries = self._entries[key.namespace]
        me = entries.get(key.name)
        if me is None:
            return False, 0
        if me.active:
            return True, 0
        free = self._limit - sum(each.active for each in entries.values())
        ahead = sum(each.waits and each.rank < me.rank for each in entries.values() if each is not me)
        return ahead < free, ahead

    def next_in(self, namespace: str) -> list[Key]:
        """Jobs that may start now."""
        entries = self._entries[namespace]
        free = self._limit - sum(each.active for each in entries.values())
        waiting = sorted((each.rank, name) for name, each in entries.items() if each.waits)
        return [Key(namespace, name) for _, name in waiting[: max(free, 0)]]

    def others_pending(self, namespace: str) -> list[Key]:
        """Jobs that wait for something that another job's end may have changed, such as a lock."""
        entries = self._entries[namespace]
        return [
            Key(namespace, name)
            for name, each in entries.items()
            if each.phase in (Phase.PENDING, Phase.RECOVERING) and not each.waits
        ]

    def counts(self) -> dict[Phase, int]:
        """Jobs by phase, over all namespaces."""
        found: dict[Phase, int] = dict.fromkeys(Phase, 0)
        for entries in self._entries.values():
            for each in entries.values():
                found[each.phase] += 1
        return found

    def queued(self) -> int:
        """Jobs that wait for a slot, over all namespaces."""
        return sum(each.waits for entries in self._entries.values() for each in entries.values())

    def troubles(self) -> Counter[str]:
        """Jobs at work that do not move, by reason, over all namespaces."""
        return Counter(each.trouble for entries in self._entries.values() for each in entries.values() if each.trouble)
