"""What controllers call a resource by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """Which FileProcessingJob, or which schedule."""

    namespace: str
    name: str
