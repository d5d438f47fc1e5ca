"""Files of images cannot be opened (EIO) while a certain file is there.

Python loads a module of this name at start.

Both who makes images and who probes the source meet it. Images take a moment longer, so that it can
befall a run.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

_open = os.open


def opened(path: Any, *arguments: Any, **options: Any) -> int:
    name = os.fsdecode(path) if isinstance(path, str | bytes) else ""
    if name.endswith(".jpg") and "/photos/" in name:
        if os.path.exists(os.environ["PYTHON_TEST_EIO"]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        time.sleep(0.02)
    return _open(path, *arguments, **options)


os.open = opened
