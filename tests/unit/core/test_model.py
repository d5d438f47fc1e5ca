"""Digests, sums and errors: what other parts compare, add and send."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core import model
from fpj_core.errors import ErrorType, FpjError, ImageError, LeaseHeldError, ManifestError
from fpj_core.model import Counts, Fit, Format, Phase, TierSpec

TIER = TierSpec("full", 1920, 1080, 85, Format.JPEG)
CHANGED: dict[str, Any] = {
    "width": 1921,
    "height": 1081,
    "quality": 86,
    "format": Format.WEBP,
    "fit": Fit.COVER,
    "animated": True,
    "background": "#000000",
}
COUNTS = st.builds(
    Counts,
    *[st.integers(0, 9)] * 4,
    st.integers(0, 9).map(float),
    st.dictionaries(st.sampled_from(["TooLarge", "Internal"]), st.integers(1, 9)),
)


def test_digests_tell_settings_apart() -> None:
    """All of them, each alone; the name is not one."""
    assert set(CHANGED) == {field.name for field in fields(TierSpec)} - {"name"}
    digests = {
        TIER.digest(),
        *(replace(TIER, **{name: value}).digest() for name, value in CHANGED.items()),
    }
    assert len(digests) == len(CHANGED) + 1
    assert replace(TIER, name="other").digest() == TIER.digest()


def test_digests_stay_as_they_are() -> None:
    """Were this to change, every image of every user would be made again."""
    assert TIER.digest() == "fb86ac9a98c13230"


def test_another_engine_makes_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TIER.digest()
    monkeypatch.setattr(model, "ENGINE_REVISION", model.ENGINE_REVISION + 1)
    assert TIER.digest() != before


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS)
def test_counts_add_up(a: Counts, b: Counts, c: Counts) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Counts() == a
    assert (a + b).done == a.done + b.done
    assert sum((a + b).errors.values()) == sum(a.errors.values()) + sum(b.errors.values())


def test_adding_changes_neither() -> None:
    a, b = Counts(1, errors={"TooLarge": 1}), Counts(2, errors={"TooLarge": 2, "Internal": 1})
    assert (a + b).errors == {"TooLarge": 3, "Internal": 1}
    assert (a.errors, b.errors) == ({"TooLarge": 1}, {"TooLarge": 2, "Internal": 1})


def test_phases_that_end_a_job() -> None:
    finished = {phase for phase in Phase if phase.finished}
    assert finished == {Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS, Phase.FAILED, Phase.CANCELLED}


def test_errors_that_may_pass() -> None:
    transient = {error.value for error in ErrorType if error.transient}
    passing = {
        "DecodeTimeout",
        "OutOfMemory",
        "WorkerCrashed",
        "ReadFailed",
        "WriteFailed",
        "DiskFull",
        "StoreUnavailable",
        "FetchTimeout",
    }
    assert transient == passing
    assert len(ErrorType) == 16


def test_image_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError(ErrorType.TOO_LARGE, "9 bytes", environment=True)))
    assert (error.error_type, error.message, str(error)) == (
        ErrorType.TOO_LARGE,
        "9 bytes",
        "TooLarge: 9 bytes",
    )
    assert error.environment


def test_errors_say_what_they_know() -> None:
    assert str(ManifestError(["a: b", "c: d"], origin="it.yaml")) == "it.yaml: a: b\nit.yaml: c: d"
    assert str(ManifestError(["a: b"])) == "a: b"
    assert "held by them" in str(LeaseHeldError("l", "them", 5.0))
    assert issubclass(ImageError, FpjError)
