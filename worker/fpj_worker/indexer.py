"""Index: bring the store's images of a collection in line with what the source holds now.

Unchanged images are left alone, so indexing again costs reads only. New ones get the next ordinals in the source's
natural order; ordinals are never given twice. What the source no longer lists is marked deleted. Memory is one bit
per image beside one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fpj_core.errors import ErrorType, SourceShrankError
from fpj_core.ids import image_id
from fpj_core.model import ImageRecord, SourceEntry
from fpj_core.sources.base import ListingProblem, Source, nothing
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store

_BATCH = 1_000
_TICK_IMAGES = 5_000
_PROBLEM = "problem:"
_WAS = "\nversion:"
"""Before the version that an image had when trouble hid it: if it comes back as it was, it is unchanged."""
_FEW = 100
"""Images of which any number may vanish, but not all."""


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What indexing found, in images."""

    listed: int = 0
    added: int = 0
    changed: int = 0
    deleted: int = 0
    problems: int = 0


def index_collection(
    store: Store,
    source: Source,
    collection: str,
    on_progress: Callable[[int], None] = lambda _listed: None,
    *,
    fence: int,
    accept_vanished: bool = False,
    before_first: Callable[[], None] = nothing,
) -> IndexResult:
    """List ``source`` and record its images under ``collection``.

    ``on_progress`` is called with the number listed so far after each batch, and often while the source lists; what
    it raises ends the indexing, and the next one goes on from what is recorded. ``fence`` is that of the
    collection's lease; ``before_first`` is called before the first images are recorded. Unless ``accept_vanished``,
    a source that is suddenly empty, or lacks more than half of a hundred or more images, is not believed. Raises
    `SourceShrankError` then, and nothing is marked deleted; `FencedError` once the lease was taken over,
    `fpj_core.errors.SourceError` and `StoreError`.
    """
    index = _Index(store, collection, fence, accept_vanished=accept_vanished)
    for batch in batched(source.list(lambda: on_progress(index.result.listed)), _BATCH):
        if not index.result.listed:
            before_first()
        index.add(batch)
        on_progress(index.result.listed)
    problems = list(source.problems.first)
    index.add([_entry_of(problem) for problem in problems])
    if source.problems.count == len(problems):
        index.mark_vanished(problems, lambda: on_progress(index.result.listed))
    return replace(index.result, problems=source.problems.count, listed=index.result.listed - len(problems))


def listing_problem(image: ImageRecord) -> tuple[ErrorType, str] | None:
    """Why the source could not list this entry as an image, or None for an image."""
    if not image.version.startswith(_PROBLEM):
        return None
    error_type, _, message = image.version.removeprefix(_PROBLEM).partition(_WAS)[0].partition(":")
    return ErrorType(error_type), message


def _entry_of(problem: ListingProblem) -> SourceEntry:
    """A trouble found while listing takes an image's place, so that it is counted and shown like a failed image."""
    return SourceEntry(key=problem.key, size=0, version=f"{_PROBLEM}{problem.error_type}:{problem.message}")


class _Index:
    """One pass over a source."""

    def __init__(self, store: Store, collection: str, fence: int, *, accept_vanished: bool) -> None:
        self.result = IndexResult()
        self._accept_vanished = accept_vanished
        self._kept = 0
        self._store = store
        self._collection = collection
        self._fence = fence
        self._next = store.next_ordinal(collection)
        self._seen = bytearray(self._next // 8 + 1)

    def add(self, entries: list[SourceEntry]) -> None:
        known = self._store.images_by_key(self._collection, [entry.key for entry in entries])
        changes = []
        added = changed = 0
        for entry in entries:
            image = known.get(entry.key)
            if image is None:
                changes.append(self._new_image(entry))
                added += 1
                continue
            self._see(image.ordinal)
            self._kept += not image.deleted
            if image.deleted or image.version != entry.version:
                changes.append(_fresh(image, entry))
                changed += 1
        if changes:
            self._store.upsert_images(changes, self._fence)
        self.result = replace(
            self.result,
            listed=self.result.listed + len(entries),
            added=self.result.added + added,
            changed=self.result.changed + changed,
        )

    def mark_vanished(self, problems: list[ListingProblem], on_step: Callable[[], None]) -> None:
        """Mark what this pass did not see, but for what lies behind a folder or archive that could not be read."""
        if any(not problem.key for problem in problems):  # the source itself: everything lies behind it
            return
        hidden = tuple(prefix for problem in problems for prefix in _below(problem.key))
        if not self._accept_vanished:
            self._refuse_shrunk(self.result.listed - len(problems), hidden, on_step)
        deleted = 0
        for ordinals in self._vanished(hidden, on_step):
            self._store.mark_deleted(self._collection, ordinals, self._fence)
            on_step()
            deleted += len(ordinals)
        self.result = replace(self.result, deleted=deleted)

    def _vanished(self, hidden: tuple[str, ...], on_step: Callable[[], None]) -> Iterator[list[int]]:
        unseen = (ordinal for ordinal in self._live(on_step) if not self._was_seen(ordinal))
        for ordinals in batched(unseen, _BATCH):
            yield [o for o in ordinals if not self._key_of(o).startswith(hidden)] if hidden else ordinals

    def _refuse_shrunk(self, listed: int, hidden: tuple[str, ...], on_step: Callable[[], None]) -> None:
        vanished = sum(len(ordinals) for ordinals in self._vanished(hidden, on_step))
        known = vanished + self._kept
        if vanished and (listed == 0 or (known >= _FEW and 2 * vanished > known)):
            raise SourceShrankError(vanished, known)

    def _live(self, on_step: Callable[[], None]) -> Iterator[int]:
        for number, ordinal in enumerate(self._store.live_ordinals(self._collection), 1):
            yield ordinal
            if number % _TICK_IMAGES == 0:
                on_step()

    def _new_image(self, entry: SourceEntry) -> ImageRecord:
        ordinal = self._next
        self._next += 1
        if len(self._seen) * 8 < self._next:
            self._seen.extend(bytes(len(self._seen)))
        self._see(ordinal)
        return ImageRecord(
            collection=self._collection,
            ordinal=ordinal,
            id=image_id(self._collection, entry.key),
            key=entry.key,
            size=entry.size,
            version=entry.version,
        )

    def _see(self, ordinal: int) -> None:
        self._seen[ordinal >> 3] |= 1 << (ordinal & 7)

    def _was_seen(self, ordinal: int) -> bool:
        return bool(self._seen[ordinal >> 3] & (1 << (ordinal & 7)))

    def _key_of(self, ordinal: int) -> str:
        (image,) = self._store.images(self._collection, ordinal, ordinal + 1)
        return image.key


def _fresh(image: ImageRecord, entry: SourceEntry) -> ImageRecord:
    """The image as it is now: what decoding taught about other content is forgotten, that of the same content kept."""
    was = image.version.partition(_WAS)[2] if image.version.startswith(_PROBLEM) else image.version
    if entry.version.startswith(_PROBLEM):
        return replace(image, deleted=False, version=f"{entry.version}{_WAS}{was}" if was else entry.version)
    if entry.version == was:
        return replace(image, deleted=False, size=entry.size, version=entry.version)
    return ImageRecord(
        collection=image.collection,
        ordinal=image.ordinal,
        id=image.id,
        key=image.key,
        size=entry.size,
        version=entry.version,
    )


def _below(key: str) -> tuple[str, str]:
    """What the keys behind a folder or an archive begin with."""
    return f"{key.rstrip('/')}/", f"{key}!/"
