"""Index: bring the store's images of a collection in line with what the source holds now.

Unchanged images are left alone, so indexing again costs reads only. New ones get the next ordinals
in the source's natural order; ordinals are never given twice. What the source no longer lists is
marked deleted. Memory is one bit per image beside one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fpj_core.errors import ErrorType, SourceShrankError
from fpj_core.ids import image_id
from fpj_core.model import ImageRecord, SourceEntry
from fpj_core.sources.base import ListingProblem, Source, nothing
from fpj_core.sources.filters import Reason
from fpj_core.store.codec import batched, spans
from fpj_core.store.protocol import Store
from fpj_worker.memory import StoreMemory

_BATCH = 1_000
_TICK_IMAGES = 5_000
_PROBLEM = "problem:"
_WAS = "\nversion:"
"""Before the version that an image had when trouble hid it: if it comes back as it was,
it is unchanged.
"""
_DOUBTFUL = frozenset(
    {
        ErrorType.NOT_FOUND,
        ErrorType.ACCESS_DENIED,
        ErrorType.READ_FAILED,
        ErrorType.STORE_UNAVAILABLE,
    }
)
"""Troubles of a folder or a file that a source has, too, which stops working while it is listed."""
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
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason (`fpj_core.sources.filters.Reason`):
    files and folders that do not belong to the collection.
    """


def name_nothing(_left_out: Sequence[tuple[Reason, str]]) -> None:
    """Do nothing: for callers who need no names of what is left out."""


def index_collection(
    store: Store,
    source: Source,
    collection: str,
    on_progress: Callable[[int], None] = lambda _listed: None,
    *,
    fence: int,
    accept_vanished: bool = False,
    before_first: Callable[[], None] = nothing,
    in_doubt: Callable[[], None] = nothing,
    on_left_out: Callable[[Sequence[tuple[Reason, str]]], None] = name_nothing,
) -> IndexResult:
    """List ``source`` and record its images under ``collection``.

    ``on_progress`` is called with the number listed so far after each batch, and often while the
    source lists; what it raises ends the indexing, and the next one goes on from what is recorded.
    ``fence`` is that of the collection's lease; ``before_first`` is called before the first images
    are recorded. Unless ``accept_vanished``, a source that is suddenly empty, or lacks more than
    half of a hundred or more images, is not believed. Images that are left out now, by a filter or
    for what they are, are not lacking: they are marked deleted without that question.
    ``on_left_out`` gets the names of what is left out, some at a time. ``in_doubt`` is called where
    parts of the source could not be read, for reasons that may be the whole source's; what it
    raises ends the indexing before anything is believed to be gone.

    Raises `SourceShrankError` for what is not believed, and nothing is marked deleted;
    `FencedError` once the lease was taken over, `fpj_core.errors.SourceError` and `StoreError`.
    """
    index = _Index(store, source, collection, fence, accept_vanished=accept_vanished)

    memory = StoreMemory(store, collection, listing_problem)
    begin = once(before_first)

    def on_step() -> None:
        if len(source.left_out.untaken) >= _BATCH:
            on_left_out(source.left_out.take())
        if len(source.problems.untaken) >= _BATCH:
            index.add_problems(source.problems.take())
        if memory.full:
            begin()
            index.note(memory.take(archives=False))
        on_progress(index.result.listed)

    def keep_notes() -> None:
        if notes := memory.take(archives=True):
            begin()
            # An archive's, before the archive counts as listed.
            index.add_problems(source.problems.take())
            index.note(notes)

    for batch in batched(source.list(on_step, memory), _BATCH):
        begin()
        index.add(batch)
        keep_notes()
        on_step()
    keep_notes()
    index.add_problems(source.problems.take())
    on_left_out(source.left_out.take())
    if index.doubtful:
        in_doubt()
    index.mark_vanished(on_step)
    return replace(index.result, left_out=source.left_out.document())


def once(call: Callable[[], None]) -> Callable[[], None]:
    """``call``, but for all times after the first."""
    left = [call]

    def first() -> None:
        if left:
            left.pop()()

    return first


def listing_problem(image: ImageRecord) -> tuple[ErrorType, str] | None:
    """Reason the source could not list this entry as an image, or None for an image."""
    if not image.version.startswith(_PROBLEM):
        return None
    error_type, _, message = image.version.removeprefix(_PROBLEM).partition(_WAS)[0].partition(":")
    return ErrorType(error_type), message


def _entry_of(problem: ListingProblem) -> SourceEntry:
    """A trouble found while listing takes an image's place,
    so that it is counted and shown like a failed image.
    """
    return SourceEntry(
        key=problem.key, size=0, version=f"{_PROBLEM}{problem.error_type}:{problem.message}"
    )


class _Index:
    """One pass over a source."""

    def __init__(
        self, store: Store, source: Source, collection: str, fence: int, *, accept_vanished: bool
    ) -> None:
        self.result = IndexResult()
        self._accept_vanished = accept_vanished
        self._kept = 0
        self.doubtful = False
        """Whether a trouble of this pass may be that of the whole source."""
        self._is_whole = True
        """Whether the source itself could be listed to its end: everything lies behind it."""
        self._store = store
        self._source = source
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
            self._kept += not image.deleted and _is_image(image)
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

    def note(self, entries: list[SourceEntry]) -> None:
        """Record objects that are not images, so that they need not be opened again while they are
        unchanged.

        One that was an image, or a trouble, until now is not seen any more: that is said first, and
        this next time.
        """
        for some in batched(entries, _BATCH):
            known = self._store.images_by_key(self._collection, [entry.key for entry in some])
            notes = []
            for entry in some:
                image = known.get(entry.key)
                if image is None:
                    notes.append(replace(self._new_image(entry), deleted=True))
                elif image.deleted and image.version != entry.version:
                    notes.append(replace(_fresh(image, entry), deleted=True))
            if notes:
                self._store.upsert_images(notes, self._fence)

    def add_problems(self, problems: list[ListingProblem]) -> None:
        """Troubles take the places of images: whatever cannot be listed is counted and named."""
        self._is_whole = self._is_whole and all(problem.key for problem in problems)
        self.doubtful = self.doubtful or any(
            problem.error_type in _DOUBTFUL for problem in problems
        )
        listed = self.result.listed
        for some in batched(map(_entry_of, problems), _BATCH):
            self.add(some)
        self.result = replace(
            self.result, listed=listed, problems=self.result.problems + len(problems)
        )

    def mark_vanished(self, on_step: Callable[[], None]) -> None:
        """Mark what this pass did not see, but for what lies behind a folder or archive that could
        not be read.
        """
        if not self._is_whole:
            return
        if not self._accept_vanished:
            self._refuse_shrunk(on_step)
        deleted = 0
        for ordinals in self._vanished(on_step):
            self._store.mark_deleted(self._collection, ordinals, self._fence)
            on_step()
            deleted += len(ordinals)
        self.result = replace(self.result, deleted=deleted)

    def _vanished(self, on_step: Callable[[], None]) -> Iterator[list[int]]:
        unseen = (ordinal for ordinal in self._live(on_step) if not self._was_seen(ordinal))
        for ordinals in batched(unseen, _BATCH):
            yield self._not_hidden(ordinals) if self.result.problems else ordinals

    def _not_hidden(self, ordinals: list[int]) -> list[int]:
        """Those that lie behind no trouble of this pass.

        Troubles are looked up: there may be too many to remember.
        """
        above = {image.ordinal: _above(image.key) for image in self._records(ordinals)}
        hiding: set[str] = set()
        for keys in batched({key for each in above.values() for key in each}, _BATCH):
            for image in self._store.images_by_key(self._collection, keys).values():
                if self._was_seen(image.ordinal) and listing_problem(image):
                    hiding.add(image.key)
        return [ordinal for ordinal, keys in above.items() if hiding.isdisjoint(keys)]

    def _refuse_shrunk(self, on_step: Callable[[], None]) -> None:
        vanished = sum(len(ordinals) for ordinals in self._vanished(on_step))
        if self._is_too_few(vanished):
            vanished = sum(
                self._is_lost(each)
                for some in self._vanished(on_step)
                for each in self._records(some)
            )
        if self._is_too_few(vanished):
            raise SourceShrankError(vanished, vanished + self._kept)

    def _is_lost(self, image: ImageRecord) -> bool:
        """Problems that are over do not count as lost images,
        nor do images that a filter leaves out.

        A source in which nothing at all was found proves no filter: it may not be mounted.
        """
        found = self.result.listed > 0 or self._source.left_out.counts.total() > 0
        return _is_image(image) and not (found and self._source.leaves_out(image.key))

    def _is_too_few(self, vanished: int) -> bool:
        known = vanished + self._kept
        return vanished > 0 and (
            self.result.listed == 0 or (known >= _FEW and 2 * vanished > known)
        )

    def _records(self, ordinals: list[int]) -> Iterator[ImageRecord]:
        wanted = set(ordinals)
        for start, stop in spans(ordinals):
            for image in self._store.images(self._collection, start, stop):
                if image.ordinal in wanted:
                    yield image

    def _live(self, on_step: Callable[[], None]) -> Iterator[int]:
        for number, ordinal in enumerate(self._store.live_ordinals(self._collection), 1):
            yield ordinal
            if number % _TICK_IMAGES == 0:
                on_step()

    def _new_image(self, entry: SourceEntry) -> ImageRecord:
        ordinal = self._next
        self._next += 1
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
        # Also one that another has added since: whoever lost the lease is fenced.
        if ordinal >> 3 >= len(self._seen):
            self._seen.extend(bytes(max((ordinal >> 3) + 1 - len(self._seen), len(self._seen))))
        self._seen[ordinal >> 3] |= 1 << (ordinal & 7)

    def _was_seen(self, ordinal: int) -> bool:
        return ordinal >> 3 < len(self._seen) and bool(
            self._seen[ordinal >> 3] & (1 << (ordinal & 7))
        )


def _is_image(image: ImageRecord) -> bool:
    """Whether it ever was listed as one."""
    return not image.version.startswith(_PROBLEM) or _WAS in image.version


def _fresh(image: ImageRecord, entry: SourceEntry) -> ImageRecord:
    """The image as it is now: what decoding taught about other content is forgotten,
    that of the same content kept.
    """
    was = image.version.partition(_WAS)[2] if image.version.startswith(_PROBLEM) else image.version
    if entry.version.startswith(_PROBLEM):
        return replace(
            image, deleted=False, version=f"{entry.version}{_WAS}{was}" if was else entry.version
        )
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


def _above(key: str) -> list[str]:
    """The keys of the folders and archives that a key lies in."""
    ends = [at for at, character in enumerate(key) if character == "/"]
    return [
        above
        for at in ends
        for above in (key[:at], key[: at + 1], *([key[: at - 1]] if key[:at].endswith("!") else []))
    ]
