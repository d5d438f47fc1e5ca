from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.release.releasing import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
PINNED = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?@[0-9a-f]{40}")
COMMENTED = re.compile(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
WRITES = {  # what each job of the release may write, and so what a step in it could do wrong
    "test": set(),
    "build": set(),
    "image": {"packages", "id-token", "attestations"},
    "publish": {"packages", "id-token", "attestations"},
    "release": {"contents"},
}


def workflow(path: Path) -> dict[str, Any]:
    # So that `on` stays a word.
    document: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    return document


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


RELEASE = next(path for path in FILES if path.stem == "release")


def test_there_are_both() -> None:
    assert [path.stem for path in FILES] == ["ci", "release"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [name for name in used if not PINNED.fullmatch(name)] == []
    lines = [line for line in path.read_text().splitlines() if re.search(r"^\s*-? uses:", line)]
    assert len(lines) == len(used)
    assert [line for line in lines if not COMMENTED.search(line)] == []


def test_one_action_has_one_version() -> None:
    used = {step["uses"] for path in FILES for step in steps(path) if "uses" in step}
    assert len({name.split("@")[0] for name in used}) == len(used)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_granted_to_all_jobs_and_every_job_has_an_end(path: Path) -> None:
    assert workflow(path)["permissions"] == {}
    for job in jobs(path).values():
        assert int(job["timeout-minutes"]) <= 120
        assert set(job["permissions"].values()) <= {"read", "write"}
        assert not re.search("latest", job["runs-on"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_script_has_an_expression_put_into_it(path: Path) -> None:
    """A tag's or a branch's name would be run as a part of the script; a variable is not."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_token_is_not_left_in_the_checkout(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_jobs_of_a_release_may_write_no_more_than_they_must() -> None:
    granted = {
        name: {right for right, kind in job["permissions"].items() if kind == "write"}
        for name, job in jobs(RELEASE).items()
    }
    assert granted == WRITES


def test_only_a_tag_releases_and_only_after_the_tests() -> None:
    assert workflow(RELEASE)["on"] == {
        "push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+", "v[0-9]+.[0-9]+.[0-9]+-*"]}
    }
    needs = {name: set(job.get("needs", [])) for name, job in jobs(RELEASE).items()}
    assert needs == {
        "test": set(),
        "build": set(),
        "image": {"test", "build"},
        "publish": {"build", "image"},
        "release": {"build", "publish"},
    }
    assert any(
        step.get("run", "").endswith("bash .ci/run") for step in jobs(RELEASE)["test"]["steps"]
    )


def test_a_change_from_outside_is_tested_without_any_right() -> None:
    (ci,) = (path for path in FILES if path.stem == "ci")
    assert set(workflow(ci)["on"]) == {"push", "pull_request"}  # never pull_request_target
    assert jobs(ci)["test"]["permissions"] == {"contents": "read"}
    assert "secrets" not in ci.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_scripts_run_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(path):
        script = step.get("run", "")
        for names in re.findall(r"^ *make ([a-z -]+)", script, re.MULTILINE):
            assert set(names.split()) <= targets, script
        for name in re.findall(r"hack/[\w.-]+\.(?:sh|py)", script):
            assert (ROOT / name).is_file(), script


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scripts_are_scripts(path: Path) -> None:
    for step in steps(path):
        read = subprocess.run(
            ["bash", "-n"], input=step.get("run", ""), check=False, text=True, capture_output=True
        )
        assert read.returncode == 0, read.stderr
