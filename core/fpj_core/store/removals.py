"""The contract of removing derivatives, in two phases.

First the record of a derivative becomes that of a removal, in one step: nothing lists the file any
more, and it is still there. Then the file is removed, and at last the removal's record. Whatever
ends this early, the next one finds the removals that are left and goes on.

Only the holder of the collection's lease removes, so nobody writes the same files at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from fpj_core.model import Removal, RemovalReason


class Removals(Protocol):
    """What a store knows of files to remove."""

    def vanished(
        self, collection: str, until: float, on_step: Callable[[], None]
    ) -> Iterator[tuple[int, str, str]]:
        """(ordinal, tier, image's key) of derivatives whose image was marked as vanished up to
        ``until``.

        Seconds by the store's clock. In any order. ``on_step`` is called every few thousand images.
        What it costs grows with the vanished images alone.
        """

    def start_removals(
        self,
        collection: str,
        refs: Sequence[tuple[int, str]],
        reason: RemovalReason,
        fence: int,
    ) -> None:
        """Make derivatives, by (ordinal, tier) and up to 5,000, removals: the first phase.

        Those that are not recorded are left out. ``fence`` as for `Store.upsert_images`.
        Raises `FencedError`.
        """

    def removals(
        self, collection: str, folder: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Removal]:
        """Files to remove in a folder, of images with ``start <= ordinal < stop``, ascending."""

    def removing_from(self, folder: str) -> list[str]:
        """Collections of which files are to be removed from a folder."""

    def end_removals(self, removals: Sequence[Removal]) -> None:
        """Forget removals of one collection, up to 5,000: their files are gone, or stay."""

    def requested_tiers(self, collection: str) -> Mapping[str, Sequence[str]]:
        """The names of the tiers that each job of the collection asked for last, by its name."""

    def record_requested_tiers(
        self, collection: str, job: str, tiers: Sequence[str], fence: int
    ) -> None:
        """Record what the job of this name asks for. ``fence`` as for `start_removals`."""
