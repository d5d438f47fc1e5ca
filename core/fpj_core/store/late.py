"""A store that is opened when it is first used: jobs are told why they wait while it cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fpj_core.store import Store, open_store


class LateStore:
    """Has every operation of a store; each raises `StoreError` while the store cannot be opened."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(self._opened(), name)(*arguments, **options)

        return call

    def _opened(self) -> Store:
        with self._lock:
            if self._store is None:
                self._store = open_store(self._url)
            return self._store
