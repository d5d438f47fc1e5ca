"""What stands in a line of the log, and that it stays with the work it is about."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from fpj_core.process.logs import about, log_as_json

log = logging.getLogger("fpj.test")


@contextmanager
def logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    """What is logged within, read as JSON once it is over. pytest's own handlers are not to be
    closed by ours.
    """
    found: list[dict[str, Any]] = []
    own = logging.getLogger("fpj")
    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])
        patch.setattr(logging.root, "level", logging.root.level)
        patch.setattr(own, "level", own.level)
        log_as_json()
        yield found
    logging.root.manager._clear_cache()  # type: ignore[attr-defined] # levels were put back behind its back
    found += [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_lines_say_what_they_are_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged(capsys, monkeypatch) as lines:
        log.info("before")
        with about(job="photos", attempt=1):
            log.info("started", extra={"cursor": 5})
            with about(shard=3):
                log.warning("image %s", "failed", extra={"image": "abc"})
                logging.getLogger("library").warning("odd", extra={"large": "x" * 1_000})
            log.info("ended")
        log.info("after")
    before, started, failed, odd, ended, after = lines
    assert "job" not in before and "job" not in after
    assert (started["job"], started["attempt"], started["cursor"], "shard" in started) == (
        "photos",
        1,
        5,
        False,
    )
    assert (
        failed["message"],
        failed["level"],
        failed["job"],
        failed["shard"],
        failed["image"],
    ) == (("image failed", "warning", "photos", 3, "abc"))
    assert odd["shard"] == 3 and "large" not in odd, (
        "a library's line is about the same, but its own words stay out"
    )
    assert "shard" not in ended


def test_tasks_and_threads_keep_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(name: str) -> None:
        with about(job=name):
            await asyncio.sleep(0.01)
            log.info("in a task")
            await asyncio.to_thread(log.info, "in a thread of a task")

    async def both() -> None:
        await asyncio.gather(work("one"), work("two"))

    with logged(capsys, monkeypatch) as lines:
        asyncio.run(both())
    assert sorted((line["message"], line["job"]) for line in lines) == [
        (where, job) for where in ("in a task", "in a thread of a task") for job in ("one", "two")
    ]
    with logged(capsys, monkeypatch) as lines, about(job="photos"):
        thread = threading.Thread(target=copy_context().run, args=(log.info, "in a thread"))
        thread.start()
        thread.join()
    assert [line["job"] for line in lines] == ["photos"]


def test_an_error_has_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged(capsys, monkeypatch) as lines, about(job="photos"):
        try:
            raise ValueError("on purpose")
        except ValueError:
            log.exception("it went wrong")
    (line,) = lines
    assert (line["job"], line["level"]) == ("photos", "error")
    assert "ValueError: on purpose" in line["error"]
