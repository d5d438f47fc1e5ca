"""The short run, in processes of its own: the simulation replaces clocks and dice of whatever
process it is in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.planted import BUGS, copy_of

TESTS = Path(__file__).resolve().parents[1]
SHORT = 250
"""Schedules, in 20 to 50 seconds on two cores."""
SHORT_OF_FOLDERS = 40


def simulate(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(TESTS), str(TESTS.parent / "hack")))
    environment = environment or os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "simulation", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_seeds_hold_each_time() -> None:
    done = simulate("--first", "0", "--schedules", str(SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SHORT} schedules" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_seeds_of_cache_folders_hold_each_time() -> None:
    done = simulate("--world", "folders", "--first", "0", "--schedules", str(SHORT_OF_FOLDERS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SHORT_OF_FOLDERS} schedules" in done.stdout


@pytest.mark.parametrize(("world", "does"), [("jobs", "leads"), ("folders", "start_removals")])
def test_a_seed_replays_to_the_last_step(world: str, does: str) -> None:
    journals = [simulate("--world", world, "--seed", "3").stdout for _ in range(2)]
    assert journals[0] == journals[1]
    assert "digest" in journals[0] and does in journals[0]


def test_the_places_of_planted_bugs_are_there() -> None:
    assert not [bug.name for bug in BUGS if not bug.is_there], (
        "change tests/simulation/planted.py with the code"
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "force"),
    [
        ("an empty store shows nothing that is left, so the job is done", "store_emptied"),
        ("the record of a removal goes before the file", "policy_edited"),
    ],
)
def test_a_planted_bug_is_found_and_its_seed_replays(tmp_path: Path, name: str, force: str) -> None:
    bug = next(each for each in BUGS if each.name == name)
    environment = copy_of(bug, tmp_path)
    arguments = ("--world", bug.world, "--force", force)
    done = simulate(*arguments, "--until-found", "--minutes", "1.5", environment=environment)
    schedules, _, seed, said = done.stdout.strip().split("\t")
    assert "ViolationError" in said or "FencedWriteError" in said, schedules
    again = simulate(*arguments, "--seed", seed, environment=environment)
    assert again.returncode == 1 and said.partition(":")[0] in again.stderr
