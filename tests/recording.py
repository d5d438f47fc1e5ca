"""Which commands a store sends to MongoDB, by the method of the store that sent them."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from pymongo import monitoring
from typing_extensions import override

from fpj_core.store import open_store
from fpj_core.store.protocol import Store

OPENING = "open_store"


class Commands(monitoring.CommandListener):
    """``sent`` is by method and command; ``calls`` by method."""

    def __init__(self) -> None:
        self.sent: dict[str, Counter[str]] = defaultdict(Counter)
        self.calls: Counter[str] = Counter()
        self._within = threading.local()

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent[getattr(self._within, "method", "")][event.command_name] += 1

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing more is counted."""

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing more is counted."""

    @contextmanager
    def within(self, method: str) -> Iterator[None]:
        """What this thread sends meanwhile belongs to a method."""
        self.calls[method] += 1
        self._within.method = method
        try:
            yield
        finally:
            self._within.method = ""

    def of(self, *methods: str) -> int:
        """Commands that these methods sent."""
        return sum(self.sent[method].total() for method in methods)

    def each(self, method: str) -> float:
        """Commands of one call."""
        return self.of(method) / self.calls[method]


class _Recorded:
    """A store whose methods are noted."""

    def __init__(self, store: Store, commands: Commands) -> None:
        self._store = store
        self._commands = commands

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            with self._commands.within(name):
                return found(*arguments, **options)

        return call


@contextmanager
def recorded_store(url: str) -> Iterator[tuple[Store, Commands]]:
    """A store of MongoDB's that is there already, and what it sends from its opening on."""
    open_store(url).close()
    commands = Commands()
    monitoring.register(commands)
    try:
        with commands.within(OPENING):
            store = open_store(url)
        try:
            yield cast("Store", _Recorded(store, commands)), commands
        finally:
            store.close()
    finally:
        monitoring._LISTENERS.command_listeners.remove(commands)
