"""Where the benchmarks keep what takes long to make: outside the checkout,
so that `make clean` does not cost it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """The benchmarks' cache, made if missing."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "fpj" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``, made by ``make`` under a temporary name if it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".unfinished-{os.getpid()}{path.suffix}")
        make(unfinished)
        unfinished.rename(path)
    return path
