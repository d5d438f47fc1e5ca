"""Walking through a folder on a file system, in the order of paths as bytes.

Links are not followed.
Memory holds the names of one folder at most, and not even those where they are very many.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fpj_core.folders.ownership import is_litter
from fpj_core.places import words_of
from fpj_core.sources.local import CACHE_TAG
from fpj_core.sources.natural import sorted_externally

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is found in a cache folder; ``path`` is relative to it.

    ``size`` is None for a link, a socket, and a folder that was not entered (its path ends in a
    slash). ``modified`` is by the clock that dates the folder's files. ``trouble``
    says why more is not known: of a folder, then nothing is known of what is in it, either.
    """

    path: str
    size: int | None = None
    modified: float = 0.0
    trouble: str = ""

    @property
    def order(self) -> bytes:
        """Paths ascend by this."""
        return order_of(self.path)


def order_of(path: str) -> bytes:
    """Paths as buckets list them; folders are walked through in the same order."""
    return os.fsencode(path)


def is_left_out(path: str) -> bool:
    """Whether systems, or fpj itself, leave such things: right in the cache folder, or right in
    one of the folders that hold outputs.
    """
    parts = path.split("/")
    if len(parts) == 1:
        return is_litter(path)
    return len(parts) == 2 and (parts[1].startswith(".") or parts[1] == CACHE_TAG)


def walk(root: str, below: str, depth: int, on_step: Callable[[], None]) -> Iterator[Entry]:
    """What is in the folder ``below``, which is relative to ``root`` and empty for all of it.

    Folders ``depth`` levels further down are given as they are, and not entered.
    """
    levels = [_entries(root, below, on_step)]
    first = below.count("/") + 1 if below else 0
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif not found.path.endswith("/") or found.trouble:
            yield found
        elif found.path.count("/") - first <= depth:
            levels.append(_entries(root, found.path[:-1], on_step))
        else:
            yield found


def _entries(root: str, folder: str, on_step: Callable[[], None]) -> Iterator[Entry]:
    """One folder's, ascending; those that are folders end in a slash."""
    try:
        yield from sorted_externally(
            _scanned(root, folder, on_step), key=lambda each: each.order, on_step=on_step
        )
    except (FileNotFoundError, NotADirectoryError):
        return  # it has gone, and whoever expects something in it will ask for that
    except OSError as error:
        yield Entry(f"{folder}/" if folder else "", trouble=words_of(error))


def _scanned(root: str, folder: str, on_step: Callable[[], None]) -> Iterator[Entry]:
    descriptor = _opened(root, folder)
    try:
        with os.scandir(descriptor) as entries:
            for number, each in enumerate(entries):
                if number % _STEP == 0:
                    on_step()
                path = f"{folder}/{each.name}" if folder else each.name
                if not is_left_out(path) and (entry := _entry(each, path)):
                    yield entry
    finally:
        os.close(descriptor)


def _entry(found: os.DirEntry[str], path: str) -> Entry | None:
    """None for one that has gone meanwhile."""
    try:
        if found.is_dir(follow_symlinks=False):
            return Entry(f"{path}/")
        info = found.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Entry(path, trouble=words_of(error))
    size = info.st_size if stat.S_ISREG(info.st_mode) else None
    return Entry(path, size, info.st_mtime)


def _opened(root: str, folder: str) -> int:
    """A descriptor of it, opened component by component below ``root``. Raises `OSError`."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for component in folder.split("/") if folder else ():
        above = current
        try:
            current = os.open(component, _FOLDER_FLAGS, dir_fd=above)
        finally:
            os.close(above)
    return current
