"""Whether source, cache folder and temporary folder work at this moment: by using them a little,
as images would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    FpjError,
    ImageError,
    SourceError,
    StoreError,
)
from fpj_core.faults import PERMANENT, Fault, Scope, of_errno, of_object_error
from fpj_core.folders.base import FolderConfig
from fpj_core.scratch import require_room
from fpj_core.sources.base import SourceConfig
from fpj_core.store.protocol import Store
from fpj_worker.breaker import common_fault

_SAMPLE = 20
_WINDOW = 25
"""Ordinals among which one image of the sample is looked for."""
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.2


class Probe:
    """Asks in a thread, for storage over a network may never answer: that is an answer, too.

    ``own`` is a folder right below the cache folder that the job writes to.
    """

    def __init__(
        self, store: Store, source: SourceConfig, folder: FolderConfig, collection: str, own: str
    ) -> None:
        self._store = store
        self._source = source
        self._folder = folder
        self._collection = collection
        self._own = own
        self._thread: threading.Thread | None = None
        self._answer: str | None = None

    def __call__(self, on_tick: Callable[[], None]) -> str | None:
        """What is wrong, in a sentence; None if all is well.

        ``on_tick`` may raise, which ends the wait.
        """
        # One that hangs is waited for, not joined by another.
        if self._thread is None or not self._thread.is_alive():
            keys, known = self._sample()
            self._answer = None
            self._thread = threading.Thread(
                target=self._ask, args=(keys, known), name="probe", daemon=True
            )
            self._thread.start()
        until = time.monotonic() + _ANSWER_SECONDS
        while self._thread.is_alive():
            if time.monotonic() >= until:
                return f"source or cache folder have not answered for {_ANSWER_SECONDS:g} s"
            on_tick()
            self._thread.join(_POLL_SECONDS)
        return self._answer

    def _sample(self) -> tuple[list[str], int]:
        """Keys of some images, from all over the collection, and how many there are.

        None while the store is away.
        """
        store, collection = self._store, self._collection
        try:
            end = store.next_ordinal(collection)
            keys = []
            for number in range(_SAMPLE):
                start = end * number // _SAMPLE
                keys += [
                    image.key
                    for image in store.images(collection, start, min(start + _WINDOW, end))[:1]
                ]
            return list(dict.fromkeys(keys)), store.count_images(collection, 0, end)
        except StoreError:
            return [], 0

    def _ask(self, keys: list[str], known: int) -> None:
        try:
            fault = common_fault(self._source.build().look(keys), known)
            self._answer = f"the source does not work: {fault.message}" if fault else None
            if fault is None:
                self._folder.build().probe(self._own)
                require_room()
        except FpjError as error:
            self._answer = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no use in going on
            self._answer = f"{type(error).__name__}: {error}"


def is_environment(error: BaseException) -> bool:
    """Whether an error of a source or cache folder is the environment's, by the one table."""
    return _fault_of(error).environment


def may_heal(error: BaseException, *, known: bool) -> bool:
    """Whether an error of a source or cache folder is worth waiting for.

    That is what passes by itself; and of a collection that is ``known``, whose source and folder
    have worked before, also what is refused or gone: somebody may mount it again, or renew what has
    expired.
    """
    if isinstance(error, EnvironmentFaultError):
        return True
    fault = _fault_of(error)
    return (fault.environment and (fault.transient or known)) or (known and _is_gone(error))


def _fault_of(error: BaseException) -> Fault:
    if isinstance(error, ImageError):
        return _of_image(error)
    cause = error.__cause__
    if not isinstance(error, SourceError | CacheFolderError) or cause is None:
        return PERMANENT
    if isinstance(cause, ImageError):
        return _of_image(cause)
    return (
        of_errno(cause.errno)
        if isinstance(cause, OSError) and cause.errno
        else of_object_error(cause)
    )


def _of_image(error: ImageError) -> Fault:
    scope = Scope.ENVIRONMENT if error.environment else Scope.IMAGE
    return Fault(scope, transient=error.error_type.transient)


def _is_gone(error: BaseException) -> bool:
    """Whether a source as a whole is not there."""
    return isinstance(error, SourceError) and isinstance(
        error.__cause__, FileNotFoundError | NotADirectoryError
    )
