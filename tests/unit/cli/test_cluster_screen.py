"""What `fpj watch` shows."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from fpj_cli.tables import Rows, fields
from fpj_cli.watchscreen import LineScreen, LiveScreen, choose_screen, in_short
from fpj_core.kube.jobresource import JobResource
from fpj_core.model import Phase


def job(
    name: str, phase: Phase | None = Phase.RUNNING, message: str = "", done: int = 0, **status: Any
) -> JobResource:
    progress = {
        "total": 12_000,
        "completed": done,
        "percent": done // 120,
        "imagesPerSecond": 41.3,
        "etaSeconds": 78,
    }
    conditions = [{"type": "Ready", "status": "False", "reason": "R", "message": message}]
    found = (
        {"phase": phase, "conditions": conditions}
        | ({"progress": progress} if done else {})
        | status
    )
    metadata = {"name": name, "namespace": "ns", "uid": name}
    return JobResource({"metadata": metadata, "status": found if phase else {}})


def console(
    width: int = 80, height: int = 24, *, terminal: bool = True
) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(
        file=text, force_terminal=terminal, width=width, height=height, color_system=None
    ), text


def picture(jobs: list[JobResource], width: int = 80, height: int = 24) -> list[str]:
    target, text = console(width, height)
    shown = LiveScreen(target, lambda each: each.name)
    shown.show(jobs)
    target.print(shown._render())
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_the_screen_fits_the_place() -> None:
    assert isinstance(choose_screen(console()[0], lambda each: each.name), LiveScreen)
    assert isinstance(choose_screen(console(terminal=False)[0], lambda each: each.name), LineScreen)


@pytest.mark.parametrize("width", [40, 80, 120, 250])
def test_bars_fit_the_terminal(width: int) -> None:
    long = "a-collection-with-a-name-as-long-as-names-may-be-in-this-place"
    why = "Back-off pulling image: " + "x" * 500
    lines = picture(
        [job(long, done=8_760, errorBreakdown={"CorruptImage": 250}), job("b", Phase.PENDING, why)],
        width,
    )
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)


def test_a_bar_says_how_far_and_what_failed() -> None:
    bar, note = picture(
        [job("photos", done=8_760, errorBreakdown={"TooLarge": 10, "CorruptImage": 250})]
    )
    assert bar[2:].split()[:2] == ["photos", "Running"]
    assert bar.endswith(" 73% 8,760/12,000 41.3/s 1m18s left")
    assert note == "  failed: CorruptImage 250, TooLarge 10"


def test_a_job_that_does_not_move_says_why() -> None:
    stuck = {
        "type": "Progressing",
        "status": "False",
        "reason": "ImagePullFailed",
        "message": "no such image",
    }
    pictured = [
        (
            job("a", Phase.PENDING, "b is working on the collection"),
            "b is working on the collection",
        ),
        (job("a", None), "no operator has picked it up yet"),
        (job("a", Phase.INDEXING, conditions=[stuck]), "no such image"),
        (job("a", Phase.SUSPENDED, "spec.suspend is true", done=1_200), "spec.suspend is true"),
    ]
    for shown, why in pictured:
        assert picture([shown])[1] == f"  {why}"
    assert len(picture([job("a", Phase.INDEXING, "listing the source")])) == 1


def test_many_jobs_stay_within_the_screen() -> None:
    lines = picture(
        [job(f"job-{number}", Phase.PENDING, "queued") for number in range(40)], height=10
    )
    assert len(lines) <= 10
    assert lines[-1] == "  … and 36 more"


def test_ends_stay_on_the_screen() -> None:
    target, text = console()
    with LiveScreen(target, lambda each: each.name) as shown:
        first, second = job("a", done=1_200), job("b", done=1_200)
        shown.show([first, second])
        assert shown.ended(job("a", Phase.COMPLETED, done=12_000)) == 0
        assert shown.gone(second) == 1
    assert "a  Completed  12,000 made, 0 up to date" in text.getvalue()
    assert "b  deleted" in text.getvalue()
    assert "\x1b[?25h" in text.getvalue(), "the cursor is shown again"


def test_a_log_gets_a_line_when_something_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    target, text = console(terminal=False)
    shown = LineScreen(target, lambda each: each.full_name)
    shown.show([job("a", Phase.PENDING, "queued")])
    for done in range(1_200, 12_000, 1_200):
        shown.show([job("a", done=done)])
        now += 1
    for _ in range(10):
        shown.show([job("a", done=10_800)])
        now += 1
    assert shown.ended(job("a", Phase.FAILED, "too many failed", done=1_200)) == 1
    assert [line[:22] for line in text.getvalue().splitlines()] == [
        "ns/a  Pending  queued",
        "ns/a  Running  10%  1,",
        "ns/a  Running  60%  7,",
        "ns/a  Running  90%  10",
        "ns/a  Failed  1,200 ma",
    ]


def test_an_end_in_words() -> None:
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:02:20Z"}
    assert (
        in_short(job("a", Phase.COMPLETED, done=980, **times)) == "980 made, 0 up to date in 2m20s"
    )
    assert in_short(job("a", Phase.FAILED, "no such folder")) == "no such folder"
    assert in_short(job("a", Phase.FAILED, "stale", done=980)) == "980 made, 0 up to date: stale"


def test_columns_end_with_their_last_word() -> None:
    rows = Rows("NAME", "REASON")
    rows.add("写真", "")
    rows.add("x", "[bold] is not markup")
    assert str(rows).split("\n") == ["NAME   REASON", "写真", "x      [bold] is not markup"]
    assert fields({"Name": "x", "Last": "[y]"}).plain == "Name:  x\nLast:  [y]"
