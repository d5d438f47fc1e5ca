"""What this process may use: cores and memory, as the container or the machine allows."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CHILD_SHARE = 0.6
_HEAVY_SHARE = 0.4


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def usable_memory() -> int:
    """Bytes of memory: the control group's limit where there is one, else the machine's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            return min(total, int(text))
    return total


def child_memory_limit() -> int:
    """Bytes of address space a child may add: one child may take most of the memory,
    never all of it.
    """
    return int(usable_memory() * _CHILD_SHARE)


def heavy_budget() -> int:
    """Bytes that all heavy decodes under way may need together."""
    return int(usable_memory() * _HEAVY_SHARE)
