"""What the time-out benchmark runs in a pool's children; a module that they can import."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from fpj_core.model import Format, ImageLimits, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.pool import Admit

_TIERS = (TierSpec("thumbnail", 300, 300, 80, Format.JPEG),)


@dataclass(frozen=True)
class HangsOnNothing:
    """Makes an image's thumbnail; hangs on an empty one,
    in C and with the interpreter's lock held.
    """

    def __call__(self) -> Callable[[bytes, Admit], int]:
        """See `fpj_worker.tasks.ImageHandler`."""
        from fpj_worker.engine import process_image

        def handle(data: bytes, _admit: Admit) -> int:
            if not data:
                ctypes.PyDLL(None).sleep(600)
            return len(
                process_image(OpenedImage("x", data=data), _TIERS, ImageLimits()).outputs[0].data
            )

        return handle
