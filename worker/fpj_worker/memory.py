"""What earlier listings found out, for the next one: read from the images' records,
and noted among them.

An object that is not an image is recorded like a deleted image, with a version prefix of `Noted`:
nothing else ever sees it, and an unchanged one need not be opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from typing_extensions import override

from fpj_core.errors import ErrorType
from fpj_core.model import ImageRecord, SourceEntry
from fpj_core.sources.base import ListingProblem, Memory, Noted
from fpj_core.sources.keys import MEMBER
from fpj_core.store.protocol import Store


class StoreMemory(Memory):
    """See `fpj_core.sources.base.Memory`.

    ``trouble_of`` tells records that stand for a listing problem.
    """

    def __init__(
        self,
        store: Store,
        collection: str,
        trouble_of: Callable[[ImageRecord], tuple[ErrorType, str] | None],
    ) -> None:
        self._store = store
        self._collection = collection
        self._trouble_of = trouble_of
        self._none: list[SourceEntry] = []
        self._archives: list[SourceEntry] = []

    @override
    def versions(self, keys: Sequence[str]) -> Mapping[str, str]:
        known = self._store.images_by_key(self._collection, keys)
        return {key: image.version for key, image in known.items()}

    @override
    def members(self, container: str) -> Iterator[SourceEntry | ListingProblem]:
        for image in self._store.images_below(self._collection, container + MEMBER):
            if trouble := self._trouble_of(image):
                yield ListingProblem(image.key, *trouble)
            else:
                yield SourceEntry(image.key, image.size, image.version)

    @override
    def note(self, entry: SourceEntry) -> None:
        """It is recorded by whoever takes it."""
        (self._archives if entry.version.startswith(Noted.ARCHIVE) else self._none).append(entry)

    def take(self, *, archives: bool) -> list[SourceEntry]:
        """What was noted since; ``archives`` only once all that was listed before is recorded."""
        taken, self._none = self._none, []
        if archives:
            taken, self._archives = taken + self._archives, []
        return taken

    @property
    def full(self) -> bool:
        """Whether enough has gathered to be taken."""
        return len(self._none) >= 1_000


class ReadOnlyMemory(StoreMemory):
    """The same, for whoever must write nothing."""

    @override
    def note(self, entry: SourceEntry) -> None:
        """Forgotten."""
