"""Decoders that are slow, or misbehave over images of certain names.

Python loads a module of this name when it starts.

Only the fork server is changed, and so the children it forks: that is where decoders run. Its
environment is clean, but for a few names: Python's own variables are kept, so what is set here for
a test begins as those do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

if "TEST_SLOWNESS" in os.environ:  # as a job may set it
    os.environ["PYTHON_TEST_SLOWNESS"] = os.environ["TEST_SLOWNESS"]


def hang(path: Path) -> None:
    started(path)
    time.sleep(1e6)


def hang_at_first(path: Path) -> None:
    if started(path):
        time.sleep(1e6)


def started(path: Path) -> bool:
    """Leave this process's id where the test looks for it, if it does; whether it is the first to
    do so.
    """
    if "PYTHON_TEST_MARKS" not in os.environ:
        return True
    mark = Path(os.environ["PYTHON_TEST_MARKS"], path.stem)
    first = not mark.exists()
    unfinished = mark.with_suffix(".unfinished")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(mark)
    return first


def raise_error(_path: Path) -> None:
    raise KeyError("a bug")


def eat_memory(_path: Path) -> None:
    import numpy as np

    eaten = []
    while True:
        # Never touched: it takes address space, but no memory.
        eaten.append(np.empty(2**28, np.uint8))


def fill_memory(_path: Path) -> None:
    """Until the kernel ends this process: first all that its own limit lets it have,
    then what that does not count.
    """
    import numpy as np

    block = bytes(2**20)
    kept = []
    with suppress(MemoryError):
        while True:
            kept.append(np.ones(2**21, np.uint8))
    file = os.memfd_create("filled")
    while True:
        os.write(file, block)


def die_writing(_path: Path) -> None:
    """The kernel ends this process when a file of its making reaches 100 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    bound_files(100)


def fail_to_write(_path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bound_files(100)


def bound_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill_folder(_path: Path) -> None:
    """A file with a name: the kubelet does not see others."""
    (Path(os.environ["TMPDIR"]) / "filled").write_bytes(bytes(20 * 2**20))
    time.sleep(1e6)


def make_cache_read_only(_path: Path) -> None:
    if os.system('mount -o remount,ro "$PYTHON_TEST_MOUNT"'):
        raise OSError("cannot remount")


MISBEHAVIOUR: dict[str, Callable[[Path], object]] = {
    "hangs": hang,
    "hangs-at-first": hang_at_first,
    "aborts": lambda _path: os.abort(),
    "segfaults": lambda _path: ctypes.string_at(0),
    "exits": lambda _path: os._exit(3),
    "raises": raise_error,
    "eats-memory": eat_memory,
    "fills-memory": fill_memory,
    "fills-its-folder": fill_folder,
    "dies-writing": die_writing,
    "cannot-be-written": fail_to_write,
    "vanishes": Path.unlink,
    "0-takes-a-folder-along": lambda path: shutil.rmtree(path.parent / "vanishing"),
    "1-makes-the-cache-read-only": make_cache_read_only,
}
"""By an image's name without its extension."""


def install() -> None:
    import fpj_worker.engine as engine

    decode = engine.process_image

    def process_image(opened: Any, *arguments: Any, **options: Any) -> Any:
        bound_files(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        path = Path(os.fsdecode(opened.path or b""))
        time.sleep(float(os.environ.get("PYTHON_TEST_SLOWNESS", "0")))
        if misbehave := MISBEHAVIOUR.get(path.stem):
            misbehave(path)
        return decode(opened, *arguments, **options)

    engine.process_image = process_image


if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    install()
