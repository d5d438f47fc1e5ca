"""A store that is opened when it is first used:
jobs show why they wait while it cannot be reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.store import Store, open_store

_AWAY_SECONDS = 5.0


class LateStore:
    """Has every operation of a store; each raises `StoreError` while the store cannot be opened.

    Whoever asks while somebody else tries to open it shares that attempt, and whoever asks within
    ``away_seconds`` of a failed one gets its error at once: an attempt may take ten seconds, and
    forty jobs must not wait for one another.
    """

    def __init__(
        self,
        url: str,
        open_it: Callable[[str], Store] = open_store,
        *,
        away_seconds: float = _AWAY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._open, self._away_seconds, self._clock = url, open_it, away_seconds, clock
        self._store: Store | None = None
        self._lock = threading.Lock()
        self._attempt: Future[Store] | None = None
        self._failed: tuple[float, str] | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(self._opened(), name)(*arguments, **options)

        return call

    def _opened(self) -> Store:
        with self._lock:
            if self._store is not None:
                return self._store
            if self._failed is not None and self._clock() < self._failed[0] + self._away_seconds:
                raise StoreUnavailableError(self._failed[1])
            mine = self._attempt is None
            attempt = self._attempt = self._attempt or Future()
        if mine:
            self._try(attempt)
        try:
            return attempt.result()
        except StoreError as error:
            # Each thread one of its own: they gather a traceback.
            raise type(error)(str(error)) from error

    def _try(self, attempt: Future[Store]) -> None:
        try:
            store = self._open(self._url)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            with self._lock:
                self._attempt = None
                if isinstance(error, StoreUnavailableError):
                    self._failed = (self._clock(), str(error))
            attempt.set_exception(error)
        else:
            with self._lock:
                self._store, self._attempt, self._failed = store, None, None
            attempt.set_result(store)
