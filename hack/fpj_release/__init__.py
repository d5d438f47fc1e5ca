"""What goes into a release and under which licences: read from the lock files,
from installed metadata, from an image.

Standard library and ``packaging`` alone, except ``bom``, which needs the tools of `make
release-tools`.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "requirements" / "cluster.txt"


class ReleaseError(Exception):
    """Something that a release must not have, or that cannot be determined.

    The text is for people.
    """
