"""The page of capacity: ``python hack/capacity.py [--check] docs/guide``. See `fpj_fleet`."""

from __future__ import annotations

import sys

from fpj_fleet.figures import load
from fpj_fleet.page import page

from fpj_core.generated import write_or_check

if __name__ == "__main__":
    sys.exit(write_or_check({"capacity.md": page(load())}, "Generate the page of capacity."))
