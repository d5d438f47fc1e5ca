"""What this process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpj_worker import resources

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], MACHINE),
        (["1048576\n"], 1048576),
        (["max\n"], MACHINE),
        (["max\n", "2097152\n"], 2097152),
        ([None, "2097152\n"], 2097152),
        (["9223372036854771712\n"], MACHINE),
        (["", ""], MACHINE),
    ],
)
def test_memory_is_what_the_control_group_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, texts: list[str | None], expected: int
) -> None:
    paths = [tmp_path / str(number) for number in range(2)]
    for path, text in zip(paths, texts, strict=False):
        if text is not None:
            path.write_text(text)
    monkeypatch.setattr(resources, "_CGROUP_LIMITS", tuple(map(str, paths)))
    assert resources.usable_memory() == expected
    assert 0 < resources.heavy_budget() < resources.child_memory_limit() < expected


def test_cores_are_those_this_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5, 7})
    assert resources.usable_cores() == 3
