"""The source `photos` cannot be listed, for the reason given, while a certain file is there."""

from __future__ import annotations

import errno
import os
from typing import Any

_scandir = os.scandir


def scandir(path: Any = ".") -> Any:
    if os.fsdecode(path).endswith("/photos") and os.path.exists(os.environ["PYTHON_TEST_MARK"]):
        number = getattr(errno, os.environ["PYTHON_TEST_ERRNO"])
        raise OSError(number, os.strerror(number), os.fsdecode(path))
    return _scandir(path)


os.scandir = scandir
