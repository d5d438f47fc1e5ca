"""What a child process does for one image: open, make the derivatives, write the files.

The supervisor sends an `ImageTask` and gets an `ImageDone` back; pixels never cross between processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpj_core.folders import FolderConfig
from fpj_core.model import ImageFacts, ImageLimits, TierSpec
from fpj_core.paths import derivative_path
from fpj_core.sources.base import SourceConfig
from fpj_worker.pool import Admit, ProcessPool
from fpj_worker.resources import child_memory_limit, heavy_budget


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image and the names of the tiers it lacks."""

    ordinal: int
    image: str
    key: str
    size: int
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A derivative's file as written. ``path`` is relative to the cache folder."""

    tier: str
    path: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ImageDone:
    """Everything that a child learnt and made."""

    facts: ImageFacts
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True, slots=True)
class ImageHandler:
    """Called once in each child process; returns the function that handles its tasks.

    ``token`` makes the temporary file names of this run unlike those of any other.
    """

    source: SourceConfig
    folder: FolderConfig
    collection: str
    tiers: tuple[TierSpec, ...]
    limits: ImageLimits
    token: str

    def __call__(self) -> Callable[[ImageTask, Admit], ImageDone]:
        """Open the source and the cache folder for this child."""
        # Image libraries are for children alone: the supervisor starts faster, and never forks after libvips.
        from fpj_worker.engine import process_image  # noqa: PLC0415

        source = self.source.build()
        folder = self.folder.build()

        def handle(task: ImageTask, admit: Admit) -> ImageDone:
            with source.open(task.key, task.size, max_file_size=self.limits.max_file_size) as opened:
                processed = process_image(opened, self.tiers, self.limits, make=task.lacking, admit=admit)
            files = []
            for output in processed.outputs:
                path = derivative_path(self.collection, output.tier, task.image, output.extension)
                folder.write(path, output.data, token=self.token)
                files.append(WrittenFile(output.tier, path, output.width, output.height, len(output.data)))
            return ImageDone(processed.facts, tuple(files))

        return handle


def start_image_pool(handler: ImageHandler, workers: int) -> ProcessPool[ImageTask, ImageDone]:
    """Child processes that make images, within what memory this process may use."""
    return ProcessPool[ImageTask, ImageDone](
        handler,
        workers=workers,
        timeout=handler.limits.timeout_seconds,
        memory_limit=child_memory_limit(),
        heavy_budget=heavy_budget(),
        preload=("fpj_worker.engine", "fpj_worker.tasks"),
    )
