"""What the numbers were measured on: without it they say nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pyvips

from bench.peers import sharp_version


def conditions(*, quick: bool) -> dict[str, str]:
    """Machine, load and versions, as text by name."""
    found = {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "extent": "quick" if quick else "full",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load average": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        "fpj": version("fpj"),
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
        "SQLite": sqlite3.sqlite_version,
    }
    found |= {
        name: version(name) for name in ("simplejpeg", "opencv-python-headless", "pillow", "pyvips")
    }
    peers = {
        "sharp": sharp_version(),
        "vipsthumbnail": _tool_version("vipsthumbnail", "--vips-version"),
        "ImageMagick": _tool_version("convert", "-version"),
        "Node.js": _tool_version("node", "--version"),
    }
    return found | {name: text or "missing" for name, text in peers.items()}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _tool_version(tool: str, option: str) -> str | None:
    if shutil.which(tool) is None:
        return None
    said = subprocess.run([tool, option], check=False, capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)+(-\d+)?", said)
    return found.group() if found else "unknown"


assert sys.platform == "linux", "the benchmarks read /proc"
