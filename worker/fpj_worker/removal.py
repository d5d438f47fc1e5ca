"""Removing what a collection no longer needs: first the records, then the files.

See `fpj_core.store.removals` for the two phases. Only the holder of the collection's lease, or of
the shard that a range of images belongs to, does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from fpj_core.errors import CacheFolderError
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.ownership import MARKER, read_marker
from fpj_core.model import THUMBNAIL_TIER, Removal, RemovalReason, TierSpec
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store

TOGETHER = 5_000
"""Removals that become durable together: a busy disk takes its time for each such step."""
_MOST_TROUBLES = 10


def _ignored(_gone: Sequence[Removal]) -> None:
    """For callers who need not know."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed.

    ``troubles`` are some of the files that could not be, with the reason; they are tried again the
    next time.
    """

    files: int = 0
    bytes: int = 0
    by_reason: Mapping[RemovalReason, int] = field(default_factory=dict)
    """Files."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    bytes_by_reason: Mapping[RemovalReason, int] = field(default_factory=dict, compare=False)

    def __add__(self, other: Removed) -> Removed:
        by_reason = Counter(self.by_reason) + Counter(other.by_reason)
        sizes = Counter(self.bytes_by_reason) + Counter(other.bytes_by_reason)
        troubles = dict([*self.troubles.items(), *other.troubles.items()][:_MOST_TROUBLES])
        files, size = self.files + other.files, self.bytes + other.bytes
        return Removed(files, size, dict(by_reason), troubles, dict(sizes))


def asked_by(job: str, tiers: Sequence[TierSpec]) -> dict[str, tuple[str, ...]]:
    """Who asks for which tiers, for `Cleanup.asked`.

    A job of type Thumbnail says nothing of cache tiers, and one of type Cache nothing of the
    thumbnail: one name may stand for both, as it does where a folder is given to `fpj run` twice.
    """
    names = tuple(tier.name for tier in tiers)
    asked = {
        f"{job}/cache": tuple(name for name in names if name != THUMBNAIL_TIER),
        f"{job}/thumbnail": tuple(name for name in names if name == THUMBNAIL_TIER),
    }
    return {who: wanted for who, wanted in asked.items() if wanted}


def unrequested(
    requested: Mapping[str, Sequence[str]], asked: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Tiers that those who ask now asked for before, and that now nobody asks for."""
    wanted = {tier for tiers in {**requested, **asked}.values() for tier in tiers}
    before = (tier for who in asked for tier in requested.get(who, ()))
    return tuple(dict.fromkeys(tier for tier in before if tier not in wanted))


def require_ours(store: Store, folder: CacheFolder) -> None:
    """Raise `CacheFolderError` where the folder has no marker, or one of another store.

    Of such a folder "not there" would mean nothing, and what is there may be somebody else's.
    """
    folder.require_marker()
    marked = read_marker(folder.look().marker).store
    if marked and marked != store.identity():
        raise CacheFolderError(
            f"the marker ({MARKER}) of the cache folder names another store ({marked}), this one is"
            f" {store.identity()}: nothing is removed from it"
        )


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What of a collection is to be removed.

    ``asked`` says who asks for which tiers (`asked_by`). What was made of images that vanished
    ``vanished_grace`` seconds ago or earlier goes; None keeps it. ``leaves_out`` says which keys a
    filter leaves out: what was made of those stays.
    """

    asked: Mapping[str, Sequence[str]]
    vanished_grace: float | None
    leaves_out: Callable[[str], bool]


class Remover:
    """Removes files of one collection from one cache folder.

    ``on_step`` is called between batches; what it raises ends the removal, and the next one goes on
    from there.
    """

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        folder_name: str,
        collection: str,
        on_step: Callable[[], None],
    ) -> None:
        self._store = store
        self._folder = folder
        self._folder_name = folder_name
        self._collection = collection
        self._on_step = on_step

    def start(self, cleanup: Cleanup, fence: int) -> None:
        """The first phase: find what is to be removed, and list it no more.

        ``fence`` is that of the collection's lease. Raises `FencedError` and `StoreError`.
        """
        store, collection = self._store, self._collection
        if cleanup.vanished_grace is not None:
            until = store.now() - cleanup.vanished_grace
            gone = store.vanished(collection, until, self._on_step)
            refs = ((at, tier) for at, tier, key in gone if not cleanup.leaves_out(key))
            self._start(refs, RemovalReason.VANISHED, fence)
        requested = store.requested_tiers(collection)
        for tier in unrequested(requested, cleanup.asked):
            files = store.derivative_files(collection, [tier], self._on_step)
            refs = ((ordinal, tier) for ordinal, *_ in files)
            self._start(refs, RemovalReason.UNREQUESTED, fence)
        for who, tiers in cleanup.asked.items():  # last: a removal that ended early starts over
            if tuple(requested.get(who, ())) != tuple(tiers):
                store.record_requested_tiers(collection, who, tiers, fence)

    def start_tiers(self, tiers: Sequence[str], reason: RemovalReason, fence: int) -> None:
        """The first phase, for all that was made in these tiers, in whichever cache folder it is.

        ``fence`` as for `start`. Raises `FencedError` and `StoreError`.
        """
        if not tiers:
            return
        files = self._store.derivative_files(self._collection, tiers, self._on_step)
        self._start(((ordinal, tier) for ordinal, tier, *_ in files), reason, fence)

    def _start(self, refs: Iterable[tuple[int, str]], reason: RemovalReason, fence: int) -> None:
        for some in batched(refs, TOGETHER):
            self._store.start_removals(self._collection, some, reason, fence)
            self._on_step()

    def finish(
        self,
        start: int = 0,
        stop: int | None = None,
        reasons: Sequence[RemovalReason] = tuple(RemovalReason),
        *,
        ordinals: Set[int] = frozenset(),
        on_gone: Callable[[Sequence[Removal]], None] = _ignored,
    ) -> Removed:
        """The second phase: remove the files of images with ``start <= ordinal < stop``, and then
        the removals.

        Only those of the ``reasons``, and of the images ``ordinals`` whatever the reason. Also what
        an earlier run left. ``on_gone`` gets the removals of a batch once their files are gone, and
        before they are forgotten: whoever is stopped there gets them again. Raises
        `CacheFolderError`, `ImageError` and `StoreError`.
        """
        removed = Removed()
        pending = self._store.removals(self._collection, self._folder_name, start, stop)
        wanted = (each for each in pending if each.reason in reasons or each.ordinal in ordinals)
        for some in batched(wanted, TOGETHER):
            require_ours(self._store, self._folder)
            removed += self._remove(some, on_gone)
            self._on_step()
        return removed

    def _remove(
        self, some: Sequence[Removal], on_gone: Callable[[Sequence[Removal]], None]
    ) -> Removed:
        going = [each for each in some if not each.recorded]
        sync = self._folder.syncer()
        troubles = self._folder.remove_many([each.path for each in going])
        sync()  # a file must not come back, say after a power cut, once nothing knows of it
        gone = [each for each in going if each.path not in troubles]
        on_gone(gone)
        self._store.end_removals([each for each in some if each.path not in troubles])
        by_reason, sizes = Counter[RemovalReason](), Counter[RemovalReason]()
        for each in sorted(gone, key=lambda one: one.reason):
            by_reason[each.reason] += 1
            sizes[each.reason] += each.bytes
        some_troubles = dict(list(troubles.items())[:_MOST_TROUBLES])
        return Removed(len(gone), sizes.total(), dict(by_reason), some_troubles, dict(sizes))
