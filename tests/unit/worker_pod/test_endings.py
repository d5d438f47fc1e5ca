"""How a pod ends, by what stopped it."""

from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore import exceptions

from fpj_core.errors import (
    CacheFolderError,
    ConcurrencyError,
    EnvironmentFaultError,
    ErrorType,
    FencedError,
    FpjError,
    ImageError,
    ManifestError,
    SourceError,
    StoreError,
    StoreUnavailableError,
)
from fpj_core.kube.exits import ExitCode, Reason, parse_termination_message, termination_message
from fpj_worker.pod.endings import Ending, ShardHeldError, ending_of
from fpj_worker.pool import PoolError
from fpj_worker.stopping import InterruptedRunError


def because(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


def os_error(number: int) -> OSError:
    return OSError(number, "no")


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ManifestError(["no"]), 40, "InvalidManifest"),
        (because(SourceError("no"), os_error(errno.ENOENT)), 40, "SourceNotFound"),
        (because(SourceError("no"), os_error(errno.ENOTDIR)), 40, "SourceNotFound"),
        (because(SourceError("no"), os_error(errno.EACCES)), 40, "SourceUnreadable"),
        (because(SourceError("no"), os_error(errno.EIO)), 1, "SourceUnreadable"),
        (because(SourceError("no"), os_error(errno.ESTALE)), 1, "SourceUnreadable"),
        (because(SourceError("no"), exceptions.NotFoundError("404")), 40, "SourceNotFound"),
        (
            because(SourceError("no"), exceptions.GenericError("<Code>NoSuchBucket</Code>")),
            40,
            "SourceNotFound",
        ),
        (
            because(SourceError("no"), exceptions.PermissionDeniedError("403")),
            40,
            "SourceUnreadable",
        ),
        (
            because(SourceError("no"), exceptions.GenericError("connection refused")),
            1,
            "SourceUnreadable",
        ),
        (SourceError("is a cache folder"), 40, "SourceUnreadable"),
        (because(CacheFolderError("no"), os_error(errno.EROFS)), 40, "CacheFolderUnusable"),
        (because(CacheFolderError("no"), os_error(errno.EEXIST)), 40, "CacheFolderUnusable"),
        (because(CacheFolderError("no"), os_error(errno.ENOSPC)), 1, "CacheFolderUnusable"),
        (
            because(CacheFolderError("no"), exceptions.GenericError("timed out")),
            1,
            "CacheFolderUnusable",
        ),
        (ImageError(ErrorType.STORE_UNAVAILABLE, "no"), 1, "CacheFolderUnusable"),
        (ImageError(ErrorType.ACCESS_DENIED, "no"), 40, "CacheFolderUnusable"),
        (EnvironmentFaultError("full"), 42, "EnvironmentFault"),
        (FencedError("no"), 41, "Fenced"),
        (StoreUnavailableError("no"), 1, "StoreUnavailable"),
        (ConcurrencyError("no"), 1, "StoreRefused"),
        (StoreError("no"), 1, "StoreRefused"),
        (PoolError("no"), 1, "WorkersFailed"),
        (ShardHeldError("no"), 1, "ShardHeld"),
        (FpjError("no"), 1, "Internal"),
        (KeyError("no"), 1, "Internal"),
        (MemoryError(), 1, "Internal"),
    ],
)
def test_endings(error: Exception, code: int, reason: str) -> None:
    assert ending_of(error) == Ending(ExitCode(code), Reason(reason))


def test_being_told_to_end_is_no_failure() -> None:
    assert ending_of(InterruptedRunError("stop")) == Ending(ExitCode.TERMINATED)


# Termination messages -----------------------------------------------------------------------------


@given(st.sampled_from(Reason), st.text(max_size=6_000))
def test_termination_messages_fit_and_can_be_read(reason: Reason, text: str) -> None:
    message = termination_message(reason, text)
    assert len(message.encode()) <= 4096
    read = parse_termination_message(message)
    assert read
    assert read[0] is reason
    assert text.startswith(read[1])
    assert read[1] == text or len(message) > 4096 - 24, "no more is cut than must be"


def test_long_messages_keep_their_beginning() -> None:
    for text in ("x" * 10_000, "é" * 5_000, "😀" * 2_000, '"\\\n' * 3_000):
        message = json.loads(termination_message(Reason.INTERNAL, text))["message"]
        assert len(message) > 300
        assert text.startswith(message)


@pytest.mark.parametrize(
    "text",
    ["", "Killed", "{}", "[1]", "3", "null", '{"reason": "Odd", "message": "x"}', '{"time":1}'],
)
def test_other_messages_are_no_termination_messages(text: str) -> None:
    assert parse_termination_message(text) is None
