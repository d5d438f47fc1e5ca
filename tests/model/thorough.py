"""More than there is time for in `make test`: two faults at a time. `make model` runs this, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from model.test_model import NOTHING_FOUND, SECONDS, check, jar

__all__ = ["jar"]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    "bounds",
    [
        {"Images": "1", "Faults": "2", "Turns": "1"},
        {"Images": "2", "Faults": "2", "Turns": "0"},
        {"Images": "1", "Faults": "1", "Turns": "2", "Attempts": "3"},
    ],
    ids=lambda bounds: " ".join(f"{name}={value}" for name, value in bounds.items()),
)
def test_what_must_never_happen_does_not(jar: str, tmp_path: Path, bounds: dict[str, str]) -> None:
    said = check(jar, tmp_path, bounds)
    assert NOTHING_FOUND in said, said[-8_000:]


@pytest.mark.timeout(SECONDS)
def test_planning_that_looks_and_puts_at_once_is_no_worse(jar: str, tmp_path: Path) -> None:
    """As SQLite does it: fewer behaviours than MongoDB's."""
    said = check(jar, tmp_path, {"Images": "1", "Faults": "2", "LookAndPutAreOne": "TRUE"})
    assert NOTHING_FOUND in said, said[-8_000:]
