"""The page of capacity, from the figures of `fpj_fleet`."""

from __future__ import annotations

from fpj_fleet.figures import load
from fpj_fleet.page import page


def files() -> dict[str, str]:
    """File name to text."""
    return {"capacity.md": page(load())}
