"""Changes of jobs on their way to streams: numbered, the latest kept for whoever comes back,
merged for the slow.

An id is ``<instance>-<number>``: another process has other numbers, and must not take them for its
own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass

KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """An event to send. ``uid`` is the job's; ``body`` is JSON."""

    number: int
    kind: str
    namespace: str
    uid: str
    body: str


class Subscriber:
    """What one stream still has to send: of each job only the latest, `KEPT` at most.

    Beyond, it must start again.
    """

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._pending: dict[str, Change] = {}
        self._lost = False

    def offer(self, change: Change) -> None:
        """Add a change, in place of an earlier one of the same job."""
        # So that what is left stays in the order of the numbers.
        self._pending.pop(change.uid, None)
        self._pending[change.uid] = change
        if len(self._pending) > KEPT:
            self.lose()
        self.woken.set()

    def lose(self) -> None:
        """Forget all: the stream must learn that it missed something."""
        self._pending.clear()
        self._lost = True
        self.woken.set()

    @property
    def missed(self) -> bool:
        """Whether something was forgotten that the stream does not know of yet."""
        return self._lost

    def lost(self) -> bool:
        """The same, once: whoever asks tells the stream."""
        lost, self._lost = self._lost, False
        return lost

    def take(self) -> Change | None:
        """The earliest change; None if there is none now."""
        if not self._pending:
            self.woken.clear()
            return None
        return self._pending.pop(next(iter(self._pending)))


class Hub:
    """Passes changes on. Everything happens in one event loop, and nothing waits."""

    def __init__(self, instance: str | None = None) -> None:
        self.closing = False
        self._instance = instance or secrets.token_hex(6)
        self._number = 0
        self._latest: deque[Change] = deque(maxlen=KEPT)
        self._subscribers: set[Subscriber] = set()

    def publish(self, kind: str, namespace: str, uid: str, body: str) -> None:
        """Tell all streams."""
        self._number += 1
        change = Change(self._number, kind, namespace, uid, body)
        self._latest.append(change)
        for each in self._subscribers:
            each.offer(change)

    def id(self, change: Change | None = None) -> str:
        """Of a change; of the present without one."""
        return f"{self._instance}-{change.number if change else self._number}"

    def subscribe(self, last_id: str | None = None) -> Subscriber:
        """From now on, or after an id; where that is not known any more,
        the subscriber has lost something.
        """
        made = Subscriber()
        self._subscribers.add(made)
        if last_id is not None:
            number = self._number_of(last_id)
            if number is None:
                made.lose()
            else:
                for change in self._latest:
                    if change.number > number:
                        made.offer(change)
        return made

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """It hears no more."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Have all streams end."""
        self.closing = True
        for each in self._subscribers:
            each.woken.set()

    def _number_of(self, last_id: str) -> int | None:
        """What follows it is still there in full."""
        instance, _, number = last_id.rpartition("-")
        if instance != self._instance or not (
            number.isascii() and number.isdigit() and len(number) < 20
        ):
            return None
        oldest = self._latest[0].number if self._latest else self._number + 1
        return int(number) if oldest - 1 <= int(number) <= self._number else None
