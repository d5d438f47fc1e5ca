"""Whether temporary files can be kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpj_core.errors import EnvironmentFaultError
from fpj_core.scratch import require_room

MIB = 2**20


@pytest.mark.parametrize(
    ("blocks", "free", "enough"),
    [
        (1_000 * MIB, 17 * MIB, True),
        (1_000 * MIB, 15 * MIB, False),
        (20 * MIB, 11 * MIB, True),
        (20 * MIB, 9 * MIB, False),
        (0, 0, True),
    ],
)
def test_room_is_asked_for_and_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, free: int, enough: bool
) -> None:
    """Images may need it at this moment.

    A file system that states no size may be one without a limit.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken: list[int] = []

    def look(descriptor: int) -> SimpleNamespace:
        taken.append(os.stat(descriptor).st_size)
        return SimpleNamespace(
            f_frsize=4_096, f_blocks=blocks // 4_096, f_bfree=free // 4_096, f_bavail=free // 4_096
        )

    monkeypatch.setattr("os.fstatvfs", look)
    if enough:
        require_room()
    else:
        with pytest.raises(EnvironmentFaultError, match="No space left"):
            require_room()
    assert taken == [4_096]


def test_a_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EnvironmentFaultError, match=r"gone: No such file"):
        require_room()
