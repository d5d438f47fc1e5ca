"""What a purge would remove, from the store's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from fpj_api.dryruns import MOST_FILES, MOST_SHOWN, largest, too_large
from fpj_api.purgemodels import NewPurge, PurgedFile, PurgePlan
from fpj_core import formatting
from fpj_core.kube.names import store_collection
from fpj_core.leases import is_locked
from fpj_core.store.protocol import Store

ADVICE = "`fpj forget COLLECTION --dry-run` says what there is of it, with the store's address"
_Found = tuple[int, str, str, int]
"""Ordinal, tier, path, bytes."""


def purge_plan(
    store: Store, namespace: str, folder: str, wanted: NewPurge, on_step: Callable[[], None]
) -> PurgePlan:
    """What would be removed from the folder, whose name is as in the store.

    Raises a problem (409) for a collection that is too large to be looked at here.
    """
    amounts = store.folder_amounts(folder)
    collection = _collection(store, namespace, wanted.collection)
    by_tier = {tier: amount for (each, tier), amount in amounts.items() if each == collection}
    unknown: list[str] = []
    if wanted.images is None:
        files = sum(amount[0] for amount in by_tier.values())
        if files > MOST_FILES:
            raise too_large(
                f"the collection has {formatting.count(files)} files in this folder, more than the"
                f" {formatting.count(MOST_FILES)} that can be listed here",
                ADVICE,
            )
        found = _all(store, collection, folder, on_step)
    else:
        keys = list(dict.fromkeys(wanted.images))
        known = store.images_by_key(collection, keys)
        unknown = [key for key in keys if key not in known]
        ordinals = sorted(image.ordinal for image in known.values())
        found = _of_images(store, collection, folder, ordinals, sorted(by_tier), on_step)
    tiers: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    first: list[_Found] = []
    for each in found:
        count, size = tiers[each[1]]
        tiers[each[1]] = count + 1, size + each[3]
        if len(first) < MOST_SHOWN:
            first.append(each)
    sources = _keys(store, collection, {each[0] for each in first})
    return PurgePlan(
        namespace=namespace,
        cache_folder=wanted.cache_folder,
        collection=wanted.collection,
        files=sum(count for count, _ in tiers.values()),
        bytes=sum(size for _, size in tiers.values()),
        by_tier=largest(tiers),
        first=[
            PurgedFile(source=sources.get(ordinal, ""), tier=tier, path=path, bytes=size)
            for ordinal, tier, path, size in first
        ],
        unknown=unknown[:MOST_SHOWN],
        busy=is_locked(store, collection),
    )


def _collection(store: Store, namespace: str, given: str) -> str:
    """As the store names it: a purge may name it so, or as jobs do."""
    own = store_collection(namespace, given)
    return given if given.startswith(f"{namespace}.") and not store.next_ordinal(own) else own


def _all(
    store: Store, collection: str, folder: str, on_step: Callable[[], None]
) -> Iterator[_Found]:
    for ordinal, tier, where, path, size in store.derivative_files(collection, None, on_step):
        if where == folder:
            yield ordinal, tier, path, size


def _of_images(
    store: Store,
    collection: str,
    folder: str,
    ordinals: Sequence[int],
    tiers: Sequence[str],
    on_step: Callable[[], None],
) -> Iterator[_Found]:
    for ordinal in ordinals:
        on_step()
        for made in store.derivatives(collection, ordinal, ordinal + 1, tiers):
            if made.folder == folder:
                yield made.ordinal, made.tier, made.path, made.bytes


def _keys(store: Store, collection: str, ordinals: Iterable[int]) -> dict[int, str]:
    """Of images that are in the source."""
    found = (store.images(collection, ordinal, ordinal + 1) for ordinal in sorted(ordinals))
    return {image.ordinal: image.key for images in found for image in images}
