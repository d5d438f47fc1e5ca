"""The model of lock, fence, plan, count and hand-over: what TLC finds in it,
and that its code is there.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TLC = HERE.parents[1] / "hack" / "tlc.sh"
MODULE = HERE / "CollectionJobs.tla"
TEXT = MODULE.read_text(encoding="utf-8")
NOTHING_FOUND = "Model checking completed. No error has been found."
SECONDS = 1_500

BOUNDS = {
    "counting": {"Images": "3", "Faults": "1", "Turns": "0"},
    "handing over": {"Images": "2", "Faults": "1", "Turns": "1"},
}
"""Small enough for a minute; `make model` checks larger ones."""
PLANTED = {
    "CursorChecksEpoch": "NoFencedWrite",
    "PlanIsFenced": "NoFencedWrite",
    "PlannerIsChecked": "NoFencedWrite",
    "RescueRaisesEpoch": "OneHolderWrites",
    "RecordsCheckFence": "NoFencedWrite",
    "ClaimLooksTwice": "OneHolderWrites",
    "StopIsNotedFirst": "OneHolderWrites",
    "BeginIsNotedFirst": "OneHolderWrites",
}
"""Errors, and what they break."""


@pytest.fixture(scope="session")
def jar() -> str:
    return subprocess.run(
        [TLC], stdout=subprocess.PIPE, text=True, timeout=900, check=True
    ).stdout.strip()


def check(jar: str, folder: Path, changes: Mapping[str, str], *, lasting: bool = False) -> str:
    """What TLC says of the model with these values; ``lasting`` asks for what must happen,
    not for what must not.
    """
    text = (HERE / "CollectionJobs.cfg").read_text(encoding="utf-8")
    for name, value in changes.items():
        text, number = re.subn(
            rf"^    {name} = .*$", f"    {name} = {value}", text, flags=re.MULTILINE
        )
        assert number == 1, name
    if lasting:
        # Symmetry is for what must not happen alone.
        text = text.partition("SYMMETRY")[0] + "PROPERTY TheJobEnds\n"
    (folder / "CollectionJobs.cfg").write_text(text, encoding="utf-8")
    (folder / MODULE.name).write_text(TEXT, encoding="utf-8")
    java = [
        "java",
        "-XX:+UseParallelGC",
        "-Xmx2g",
        "-cp",
        jar,
        "tlc2.TLC",
        "-workers",
        "2",
        "-deadlock",
    ]
    command = [*java, "-metadir", "states", MODULE.name]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False, cwd=folder
    )
    # Whatever else it says, it has looked.
    assert "states generated" in done.stdout, done.stdout[-3_000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("bounds", BOUNDS)
def test_what_must_never_happen_does_not(jar: str, tmp_path: Path, bounds: str) -> None:
    said = check(jar, tmp_path, BOUNDS[bounds])
    assert NOTHING_FOUND in said, said[-8_000:]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_the_job_ends(jar: str, tmp_path: Path) -> None:
    said = check(jar, tmp_path, {"Images": "1", "Faults": "1", "Turns": "1"}, lasting=True)
    assert NOTHING_FOUND in said, said[-8_000:]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("error", PLANTED)
def test_a_planted_error_is_found(jar: str, tmp_path: Path, error: str) -> None:
    said = check(jar, tmp_path, {"Images": "1", "Faults": "2", "Turns": "1", error: "FALSE"})
    broken = re.search(r"Invariant (\w+) is violated", said)
    assert broken is not None, f"TLC finds nothing wrong without {error}"
    assert broken[1] == PLANTED[error]


# What it speaks of --------------------------------------------------------------------------------


def named() -> dict[str, list[str]]:
    """By definition, the functions that it stands for."""
    found = re.findall(r"((?:^\\\* Code: .*\n)+)^(\w+)(?:\([\w, ]*\))? ==", TEXT, re.MULTILINE)
    return {name: re.findall(r"Code: (\S+)", lines) for lines, name in found}


def actions() -> set[str]:
    """All that may happen next."""
    bodies = re.search(r"^Operator ==.*?(?=^\\\*)", TEXT, re.MULTILINE | re.DOTALL)
    assert bodies is not None
    return set(re.findall(r"\b[A-Z]\w+", bodies[0])) - {"Operator", "Pod", "Next", "E", "Procs"}


def test_every_action_names_its_code() -> None:
    assert len(actions()) > 25
    assert actions() <= set(named())


@pytest.mark.parametrize(
    "function", sorted({each for functions in named().values() for each in functions})
)
def test_the_code_is_there(function: str) -> None:
    module, _, path = function.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert found is not None


def test_every_planted_error_is_one_of_the_models() -> None:
    declared = re.search(r"Planted errors.*?\n((?:    .*\n)+)", TEXT)
    assert declared is not None
    assert set(re.findall(r"\w+", declared[1])) == set(PLANTED)
