"""A source and a cache folder that take their time.

A module of its own: child processes import it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from typing_extensions import override

from fpj_core.folders.local import LocalFolder, LocalFolderConfig
from fpj_core.sources.base import OpenedImage
from fpj_core.sources.local import LocalSource, LocalSourceConfig

SLOWNESS = 0.7


class SlowSource(LocalSource):
    """As a folder on a network volume that takes its time."""

    @contextmanager
    @override
    def open(self, key: str, size: int, *, max_file_size: int) -> Iterator[OpenedImage]:
        time.sleep(SLOWNESS)
        with super().open(key, size, max_file_size=max_file_size) as opened:
            yield opened


class SlowFolder(LocalFolder):
    """As a cache folder on such a volume."""

    @override
    def write(self, relative: str, data: bytes, *, token: str) -> None:
        time.sleep(SLOWNESS)
        super().write(relative, data, token=token)


@dataclass(frozen=True, slots=True)
class Slow(LocalSourceConfig):
    """See `SlowSource`."""

    @override
    def build(self) -> LocalSource:
        return SlowSource(self.root, self.filter)


@dataclass(frozen=True, slots=True)
class SlowCache(LocalFolderConfig):
    """See `SlowFolder`."""

    @override
    def build(self) -> LocalFolder:
        return SlowFolder(self.location)
