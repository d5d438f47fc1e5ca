"""A collection that exists only as names: for measuring indexing and the store without a disk's
help or hindrance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from fpj_core.errors import ImageError
from fpj_core.model import SourceEntry
from fpj_core.sources.base import FORGETFUL, Memory, OpenedImage, Problems, nothing
from fpj_core.sources.filters import LeftOut

_IN_FOLDER = 1_000
_BYTES = 2_900_000


class SyntheticSource:
    """``count`` photographs in folders of a thousand. See `fpj_core.sources.base.Source`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.problems = Problems()
        self.left_out = LeftOut()

    def leaves_out(self, key: str) -> bool:
        """Nothing."""
        return False

    def list(
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        """Every entry in natural order."""
        for number in range(self._count):
            key = f"{2000 + number // _IN_FOLDER}/IMG_{number:08}.jpg"
            yield SourceEntry(
                key, _BYTES + number, f"{_BYTES + number}-{1_700_000_000_000_000_000 + number}"
            )

    def open(
        self, key: str, size: int, *, max_file_size: int
    ) -> AbstractContextManager[OpenedImage]:
        """There is nothing to open."""
        raise NotImplementedError

    def look(self, keys: Sequence[str]) -> Sequence[ImageError | None]:
        """There is nothing to read."""
        raise NotImplementedError
