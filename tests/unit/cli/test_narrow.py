"""A terminal of 60 columns: every table and live view fits, and no word is broken."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from fpj_cli import context, tables
from fpj_cli.main import cli
from fpj_cli.runscreen import LiveDisplay
from fpj_cli.show import _description, _list
from fpj_cli.tables import Rows, fields, stream
from fpj_cli.watchscreen import LiveScreen
from fpj_core.kube.jobresource import JobResource
from fpj_core.progress import Progress

WIDTH = 60


def job(**status: Any) -> JobResource:
    progress: dict[str, float] = {
        "total": 1_234_567,
        "completed": 1_000_000,
        "skipped": 200_000,
        "failed": 1_234,
        "percent": 97,
    }
    progress |= {
        "imagesPerSecond": 41.3,
        "etaSeconds": 4_300,
        "bytesWritten": 10**12,
        "averageProcessingMs": 38.0,
    }
    spec = {"jobType": "Both", "collection": {"id": "holiday-pictures-2026-03465798"}}
    message = "1,234 images failed, and the others were made as they should be, which took its time"
    ready = {"type": "Ready", "status": "False", "reason": "ImagesFailed", "message": message}
    given = {
        "phase": "CompletedWithErrors",
        "stage": "Finish",
        "progress": progress,
        "conditions": [ready],
    } | status
    metadata = {
        "name": "holiday-pictures-2026-03465798",
        "uid": "edec6d99-8cf3-48d5-83ae-28d1bf110de4",
    }
    metadata |= {
        "creationTimestamp": "2026-11-28T10:00:00Z",
        "uid": f"edec6d99-8cf3-48d5-83ae-{len(str(given)):012}",
    }
    return JobResource({"metadata": metadata, "spec": spec, "status": given})


def fits(text: str, words: Iterable[str]) -> None:
    lines = text.splitlines()
    assert lines and max(map(len, lines)) <= WIDTH, text
    shown = {word for line in lines for word in line.split()}
    assert {word for each in words for word in each.split()} <= shown, text


def test_a_table_that_fits_is_left_as_it_is() -> None:
    rows = Rows("NAME", "PHASE")
    rows.add("photos", "Completed")
    assert (
        rows.fitted(WIDTH) == rows.fitted(None) == str(rows) == "NAME     PHASE\nphotos   Completed"
    )


def test_jobs_become_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_795_860_060.0)
    assert _list([job()], wide=True, namespaces=False).fitted(WIDTH).splitlines() == [
        "holiday-pictures-2026-03465798",
        "  TYPE: Both  PHASE: CompletedWithErrors  PROGRESS: 97%",
        "  DONE: 1201234/1234567  FAILED: 1234  RATE: 41.3/s  ETA: -",
        "  SKIPPED: 200000  SHARDS: 0  LAST-PROGRESS: -  AGE: 1m",
    ]


def test_reasons_and_paths_are_wrapped_between_words() -> None:
    rows = Rows("IMAGE", "ERROR", "ATTEMPTS", "REASON")
    reason = (
        "the file ends in the middle of the picture, after 1,234 of 5,678 bytes that it should have"
    )
    rows.add("2019/summer/holiday with everybody/IMG_0042.jpg", "CorruptImage", "1", reason)
    rows.add("a.jpg", "TooLarge", "1", "600,000,000 bytes")
    fits(rows.fitted(WIDTH), [reason, "600,000,000 bytes", "ERROR: CorruptImage"])
    tight = Rows("NAME", "PHASE")
    tight.add("x" * 49, "Completed")
    assert tight.fitted(WIDTH).splitlines()[1] == f"{'x' * 49}  Completed", (
        "the columns move together first"
    )
    short = Rows("AGE", "TYPE", "MESSAGE")
    short.add("3s", "Warning", reason)
    assert short.fitted(WIDTH).splitlines() == [
        "AGE  TYPE     MESSAGE",
        "3s   Warning  the file ends in the middle of the picture,",
        "              after 1,234 of 5,678 bytes that it should have",
    ]


def test_long_tables_are_wrapped_while_they_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda *_: WIDTH)
    path = "/srv/cache/photos-03465798/thumbnail/9f/9f86d081884c7d659a2feaa0c55ad015.jpg"
    assert (
        stream(("IMAGE", "TIER", "SIZE", "FILE"), [("a.jpg", "thumbnail", "300x200", path)] * 3)
        == 3
    )
    printed = capsys.readouterr().out
    fits(
        printed,
        ["/srv/cache/photos-03465798/thumbnail/9f/", "9f86d081884c7d659a2feaa0c55ad015.jpg"],
    )
    monkeypatch.setattr(tables, "terminal_width", lambda *_: None)
    stream(("IMAGE", "TIER", "SIZE", "FILE"), [("a.jpg", "thumbnail", "300x200", path)])
    assert capsys.readouterr().out.splitlines()[1].endswith(f"   {path}"), "a pipe gets whole lines"


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help(command: str) -> None:
    words = [command, "--help"] if command else ["--help"]
    shown = CliRunner().invoke(cli, words, terminal_width=WIDTH).output
    assert max(map(len, shown.splitlines())) <= WIDTH, shown


def test_what_a_run_says_is_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    target, text = terminal()
    monkeypatch.setattr(context, "err", target)
    path = f"/srv/{'long/' * 20}"
    context.say(
        f"  591 KiB written to {path}, and some more words after it, which take another line, 6.7/s"
    )
    assert text.getvalue().splitlines() == [
        "  591 KiB written to",
        f"{path},",
        "and some more words after it, which take another line, 6.7/s",
    ]


def test_one_job_in_full() -> None:
    described = _description(
        job(errorBreakdown={"CorruptImage": 1_000, "TooLarge": 200, "UnsupportedFormat": 34})
    )
    fits(fields(described, WIDTH).plain, described.values())
    assert max(map(len, fields(described).plain.splitlines())) > WIDTH, "a pipe gets whole lines"


def terminal() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(
        file=text, force_terminal=True, width=WIDTH, color_system=None, legacy_windows=False
    ), text


def test_the_live_view_of_a_run() -> None:
    target, text = terminal()
    shown = LiveDisplay(target)
    shown.stage("Process")
    shown.progress(
        Progress(12_345_678, 11_000_000, 1_000_000, 5_678, 97, 1_234.5, 363_600.0, 10**12, 38.0),
        {"CorruptImage": 1_000, "TooLarge": 200, "UnsupportedFormat": 4_478},
    )
    target.print(shown._render())
    fits(
        text.getvalue(),
        ["97% 12,005,678/12,345,678 1,234/s left", "CorruptImage UnsupportedFormat 4,478"],
    )


@pytest.mark.parametrize("phase", ["Running", "Recovering", "Indexing"])
def test_the_live_view_of_jobs(phase: str) -> None:
    target, text = terminal()
    shown = LiveScreen(target, lambda each: each.name)
    shown.show(
        [job(phase=phase), job(phase=phase, progress={"total": 10, "completed": 3, "percent": 30})]
    )
    target.print(shown._render())
    fits(text.getvalue(), ["97% 1,201,234/1,234,567 41.3/s 1h11m left", "30% 3/10"])
