"""What a run would remove, found out without writing anything (`--dry-run`)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from fpj_core.folders.base import BATCH
from fpj_core.model import RemovalReason
from fpj_core.ordinals import Ordinals
from fpj_core.store.codec import batched, spans
from fpj_core.store.protocol import Store
from fpj_worker.removal import Cleanup, Removed, unrequested


class RemovalPreview:
    """Says what of a collection's files in one folder would go.

    ``on_step`` is called every few thousand images; what it raises ends the preview.
    """

    def __init__(
        self, store: Store, collection: str, folder_name: str, on_step: Callable[[], None]
    ) -> None:
        self._store = store
        self._collection = collection
        self._folder_name = folder_name
        self._on_step = on_step

    def of(self, cleanup: Cleanup, seen: Ordinals | None) -> Removed:
        """What would go, were this run to end well; but for files that it replaces.

        ``seen`` are the known images that the source has now; None where it could not be listed
        whole. Then only what vanished before is known.
        """
        tiers = self._tiers()
        unwanted = set(unrequested(self._store.requested_tiers(self._collection), cleanup.asked))
        removed = self._left()
        gone = self._vanished(cleanup, seen)
        for some in batched(gone, BATCH):
            removed += self._of_images(some, tiers)
            self._on_step()
        for tier in sorted(unwanted & tiers):
            removed += self._of_tier(tier, gone)
        return removed

    def _tiers(self) -> set[str]:
        return {tier for each in self._store.statistics(self._collection) for tier in each.by_tier}

    def _left(self) -> Removed:
        """What an earlier run has left."""
        removed = Removed()
        for each in self._store.removals(self._collection, self._folder_name):
            if not each.recorded:
                removed += Removed(1, each.bytes, {each.reason: 1})
        return removed

    def _vanished(self, cleanup: Cleanup, seen: Ordinals | None) -> Ordinals:
        gone = Ordinals()
        if cleanup.vanished_grace is None:
            return gone
        until = self._store.now() - cleanup.vanished_grace
        for ordinal, _, key in self._store.vanished(self._collection, until, self._on_step):
            if not cleanup.leaves_out(key) and not (seen and ordinal in seen):
                gone.add((ordinal,))
        if seen is not None and not cleanup.vanished_grace:
            gone.add(self._unseen(cleanup, seen))
        return gone

    def _unseen(self, cleanup: Cleanup, seen: Ordinals) -> Iterator[int]:
        """Live images that the source does not have any more."""
        unseen = (o for o in self._store.live_ordinals(self._collection) if o not in seen)
        for some in batched(unseen, BATCH):
            self._on_step()
            wanted = set(some)
            for start, stop in spans(some):
                for image in self._store.images(self._collection, start, stop):
                    if image.ordinal in wanted and not cleanup.leaves_out(image.key):
                        yield image.ordinal

    def _of_images(self, ordinals: list[int], tiers: set[str]) -> Removed:
        wanted = set(ordinals)
        sizes = [
            each.bytes
            for start, stop in spans(ordinals)
            for each in self._store.derivatives(self._collection, start, stop, sorted(tiers))
            if each.ordinal in wanted and each.folder == self._folder_name
        ]
        return _removed(sizes, RemovalReason.VANISHED)

    def _of_tier(self, tier: str, gone: Ordinals) -> Removed:
        """Files of the tier, but for those of images that are gone: these are counted already."""
        files = self._store.derivative_files(self._collection, [tier], self._on_step)
        sizes = array(
            "q",
            (
                size
                for ordinal, _, folder, _, size in files
                if folder == self._folder_name and ordinal not in gone
            ),
        )
        return _removed(sizes, RemovalReason.UNREQUESTED)


def _removed(sizes: Sequence[int], reason: RemovalReason) -> Removed:
    return Removed(len(sizes), sum(sizes), {reason: len(sizes)} if sizes else {})
