"""What a person sees while a job runs."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from fpj_cli.runscreen import LiveDisplay, PlainDisplay, QuietDisplay, choose_display
from fpj_core.model import Counts, Job
from fpj_core.progress import Progress, measure

STAGES = ("Index", "Check", "Plan", "Process", "Finish")


def half() -> Progress:
    job = Job("id", "name", "c", {}, "d", total=2_000, active_seconds=10.0)
    return measure(job, Counts(completed=800, skipped=100, failed=100))


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(
        file=text, force_terminal=terminal, width=100, color_system=None, legacy_windows=False
    ), text


def test_the_display_fits_the_place() -> None:
    terminal, log = console(terminal=True)[0], console(terminal=False)[0]
    assert isinstance(choose_display(terminal, quiet=False), LiveDisplay)
    assert isinstance(choose_display(log, quiet=False), PlainDisplay)
    assert type(choose_display(terminal, quiet=True)) is QuietDisplay


def test_a_log_gets_a_line_per_stage_and_one_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    target, text = console(terminal=False)
    with PlainDisplay(target) as shown:
        for stage in STAGES:
            shown.stage(stage)
        assert len(text.getvalue().splitlines()) == len(STAGES)
        for _ in range(100):
            now += 0.25
            shown.progress(half(), {"TooLarge": 1_200, "CorruptImage": 2})
        shown.listed(7)
        now += 5
        shown.listed(12_345)
    lines = text.getvalue().splitlines()[len(STAGES) :]
    assert lines == ["  50%  1,000/2,000  90.0/s  11s left  CorruptImage 2  TooLarge 1,200"] * 5 + [
        "  12,345 images listed"
    ]


def test_a_terminal_gets_a_bar() -> None:
    target, text = console(terminal=True)
    shown = LiveDisplay(target)
    for stage in STAGES:
        shown.stage(stage)
        target.print(shown._render())
    shown.stage("Index")
    shown.listed(1_500)
    target.print(shown._render())
    assert "Listing images 1,500 images" in " ".join(text.getvalue().split())
    shown.stage("Process")
    shown.progress(half(), {"TooLarge": 3})
    target.print(shown._render())
    assert "50%  1,000/2,000" in text.getvalue()
    assert "failed:  TooLarge 3" in text.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_the_figures_fit_whatever_the_width(width: int) -> None:
    text = io.StringIO()
    target = Console(
        file=text, force_terminal=True, width=width, color_system=None, legacy_windows=False
    )
    shown = LiveDisplay(target)
    shown.stage("Process")
    shown.progress(half(), {})
    target.print(shown._render())
    lines = text.getvalue().splitlines()
    assert len(lines) == 1 and len(lines[0].rstrip()) <= width
    assert "50%  1,000/2,000  90.0/s  11s left" in lines[0]
    assert ("Making images" in lines[0]) == (width >= 60)


def test_a_terminal_is_left_clean() -> None:
    target, text = console(terminal=True)
    with LiveDisplay(target) as shown:
        shown.stage("Process")
    assert text.getvalue().rstrip("\n").endswith(("\x1b[?25h", "\x1b[2K")), (
        "the cursor is shown again, the line erased"
    )
    assert "\x1b[?25h" in text.getvalue()


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with QuietDisplay() as shown:
        shown.stage("Index")
        shown.listed(1)
        shown.progress(half(), {})
    assert capsys.readouterr() == ("", "")
