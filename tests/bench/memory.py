"""Reading what the kernel knows of a process's memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def peak_bytes(process: int | str = "self") -> int:
    """The most memory that a process has held (VmHWM) since it started or since `forget_peak`."""
    return _field(process, "VmHWM")


def resident_bytes(process: int | str = "self") -> int:
    """What a process holds now (VmRSS)."""
    return _field(process, "VmRSS")


def forget_peak(process: int | str = "self") -> None:
    """Reset the peak (proc(5), clear_refs)."""
    with suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")


def _field(process: int | str, name: str) -> int:
    with open(f"/proc/{process}/status", encoding="ascii") as status:
        return next(
            (int(line.split()[1]) * 1024 for line in status if line.startswith(f"{name}:")), 0
        )
