"""The bytes that whoever makes files may still write to a cache folder that has a limit.

They are reserved in the store before images are given out, some images at a time, and are the
folder's own once their records are (`fpj_core.store.room`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fpj_core import formatting
from fpj_core.errors import CacheFolderFullError
from fpj_core.model import Folder, Format, TierSpec
from fpj_core.store.protocol import Store
from fpj_core.store.room import RESERVED_SECONDS, Room

_FEW = 10
"""Images for which room is asked where a batch does not fit."""
_AGAIN_SECONDS = 1.0
"""After a refusal."""
_REFRESH_SECONDS = RESERVED_SECONDS / 4
_BYTES_PER_PIXEL = {Format.PNG: 1.5, Format.WEBP: 0.15, Format.AVIF: 0.1}
_BYTES_PER_PIXEL_ELSE = 0.25
"""Of photographs at the default qualities (the samples, within a factor of two):
an estimate for lack of records.
"""


def bytes_per_file(store: Store, collection: str, tiers: Sequence[TierSpec]) -> Mapping[str, int]:
    """By tier: as large as those on record; else a guess by its box."""
    known = store.statistics(collection)
    by_tier = known[0].by_tier if known else {}
    sizes = {}
    for tier in tiers:
        files, size = by_tier.get(tier.name, (0, 0))
        guess = tier.width * tier.height * _BYTES_PER_PIXEL.get(tier.format, _BYTES_PER_PIXEL_ELSE)
        sizes[tier.name] = size // files if files else round(guess)
    return sizes


def allowance_for(
    store: Store,
    folder: Folder,
    holder: str,
    collection: str,
    tiers: Sequence[TierSpec],
    batch: int,
) -> Allowance | None:
    """What ``holder`` may write of a collection; None for a folder without a limit."""
    if folder.max_bytes is None:
        return None
    found = store.statistics(collection)
    known = all(tier.name in found[0].by_tier for tier in tiers) if found else False
    guess = sum(bytes_per_file(store, collection, tiers).values())
    return Allowance(store, folder.name, holder, guess, batch, known=known)


class Allowance:
    """Counts what a process writes against what it has reserved.

    ``guess``: bytes of one image's files until some are made; ``known`` says that it is the mean of
    some on record. ``batch``: images for which room is reserved at a time. Each call may raise
    `StoreError`.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        holder: str,
        guess: int,
        batch: int,
        *,
        known: bool = True,
    ) -> None:
        self._store, self._folder, self._holder = store, folder, holder
        self._batch = batch
        self._reserved = self._unrecorded = 0
        self._given = 0
        self._guess, self._known = guess, known
        self._images = self._bytes = 0
        self._refused: Room | None = None
        self._not_before = self._reserved_at = float("-inf")

    def take(self) -> bool:
        """Whether one more image may be given out; it counts as given out then.

        Asks the store where what is reserved does not suffice.
        """
        if self._need(1) > self._reserved and not self._reserve():
            return False
        self._given += 1
        return True

    def settle(self, size: int) -> None:
        """An image is back, with so many bytes written; 0 where it failed."""
        self._given -= 1
        self._unrecorded += size
        if size:
            self._images += 1
            self._bytes += size

    def recorded(self, size: int) -> None:
        """So many of these bytes are on record: what was reserved for them is used up."""
        self._unrecorded -= size
        self._reserved = max(self._reserved - size, 0)
        self._not_before = float("-inf")

    def keep(self) -> None:
        """Called every few seconds, so that the reservation does not lapse while it is used."""
        now = time.monotonic()
        if self._reserved and now - self._reserved_at >= _REFRESH_SECONDS:
            # Where the limit was lowered, it stays as it is: these bytes are being written.
            self._ask(max(self._need(0), self._reserved))

    def release(self) -> None:
        """Give back what is reserved: nothing is given out any more."""
        self._reserved = self._given = self._unrecorded = 0
        self._store.reserve(self._folder, self._holder, 0)

    def refusal(self) -> CacheFolderFullError:
        """Why `take` said no."""
        return folder_full(self._folder, self._refused or Room(False, None, 0, 0), self._need(1))

    def _need(self, more: int) -> int:
        per_image = -(-self._bytes // self._images) if self._images else self._guess
        return self._unrecorded + (self._given + more) * per_image

    def _reserve(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        for images in dict.fromkeys((self._batch, min(_FEW, self._batch), 1)):
            if self._ask(self._need(images)):
                return True
        if self._ask_for_a_first():
            return True
        self._not_before = time.monotonic() + _AGAIN_SECONDS
        return False

    def _ask_for_a_first(self) -> bool:
        """A guess alone refuses nothing: one image shows how large they are."""
        refused = self._refused
        known = self._known or self._images > 0
        if known or self._given or refused is None or refused.limit is None:
            return False
        left = refused.limit - refused.used - refused.reserved
        return self._unrecorded < left < self._guess and self._ask(left)

    def _ask(self, size: int) -> bool:
        answer = self._store.reserve(self._folder, self._holder, size)
        if answer.granted:
            self._reserved, self._reserved_at = size, time.monotonic()
            return True
        self._refused = answer
        return False


def folder_full(folder: str, room: Room, need: int) -> CacheFolderFullError:
    """What is said of a folder without room for ``need`` bytes."""
    others = f", and {formatting.size(room.reserved)} are reserved" if room.reserved else ""
    return CacheFolderFullError(
        f"cache folder {folder} is full: it holds {formatting.size(room.used)} of"
        f" {formatting.size(room.limit or 0)}{others}; {formatting.size(need)} more are needed."
        " Raise its limit (--max-bytes, spec.maxBytes), or let more of it be evicted"
    )
