"""Which cache folder a job writes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fpj_core.errors import CacheFolderError
from fpj_core.model import Folder, Layout


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cache folder and the free bytes of where it lives (None: unbounded)."""

    folder: Folder
    free_bytes: int | None

    @property
    def room(self) -> float:
        """Bytes that may still be written, by the disk and by the folder's own bound."""
        bounds = [float(self.free_bytes)] if self.free_bytes is not None else []
        if self.folder.max_bytes is not None:
            bounds.append(float(self.folder.max_bytes - self.folder.bytes))
        return min(bounds, default=float("inf"))

    @property
    def used_share(self) -> float:
        """The used part of what it can hold, 0 to 1; 0 where nothing bounds it."""
        total = self.folder.bytes + self.room
        return self.folder.bytes / total if total > 0 and total != float("inf") else 0.0


def select_folder(
    candidates: Sequence[Candidate],
    need_bytes: int,
    name: str | None = None,
    unfit: Mapping[str, str] = MappingProxyType({}),
) -> Folder:
    """By name; else of those with room the highest priority.

    Of equals the one with the least used share.

    One of the layout Mirror, which holds one collection alone, is chosen by name only; so is one
    that is ``unfit``, with the reason by its name. Raises `CacheFolderError` that says of each
    candidate why it was rejected.
    """
    if name is not None:
        for candidate in candidates:
            if candidate.folder.name == name:
                return candidate.folder
        known = ", ".join(sorted(candidate.folder.name for candidate in candidates)) or "none"
        raise CacheFolderError(f"unknown cache folder {name!r} (known: {known})")
    named = [
        candidate.folder.name
        for candidate in candidates
        if candidate.folder.layout is Layout.MIRROR
    ]
    passed_over = (
        [f"{', '.join(named)}, of layout Mirror, which a job must name in cacheFolder"]
        if named
        else []
    )
    passed_over += [
        f"{folder}, which {why}" for folder, why in unfit.items() if folder not in named
    ]
    candidates = [each for each in candidates if each.folder.name not in {*named, *unfit}]
    fitting = [candidate for candidate in candidates if candidate.room >= need_bytes]
    if fitting:
        return min(fitting, key=lambda c: (-c.folder.priority, c.used_share, c.folder.name)).folder
    if not candidates:
        besides = f" but {'; '.join(passed_over)}" if passed_over else ""
        raise CacheFolderError(f"there is no cache folder{besides}")
    rooms = ", ".join(f"{c.folder.name} has room for {c.room:,.0f}" for c in candidates)
    raise CacheFolderError(f"no cache folder has room for {need_bytes:,} bytes: {rooms}")
