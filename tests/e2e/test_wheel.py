"""What people install: the plain wheel, in an environment where nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def done(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(each) for each in command]
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "FPJ_"))
    }
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
        env=own | environment,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and what it says that it needs,
    in the locked versions.
    """
    place = tmp_path_factory.mktemp("wheel")
    build = done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place)
    assert build.returncode == 0, build.stderr
    (wheel,) = place.glob("fpj-*.whl")
    for command in (
        ("venv", "--python", sys.executable, place / "env"),
        ("pip", "install", "--python", place / "env", "--constraint", ROOT / "requirements/run.txt")
        + ("--no-verify-hashes", wheel),
    ):
        made = done(UV, *command)
        assert made.returncode == 0, made.stderr
    return place / "env/bin"


def test_the_plain_wheel_makes_images(installed: Path, tmp_path: Path) -> None:
    ran = done(
        installed / "fpj",
        "run",
        ROOT / "samples",
        "--out",
        tmp_path / "out",
        "--json",
        FPJ_STORE=f"{tmp_path}/s",
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["progress"]["completed"] == 16


def test_the_wheel_brings_a_man_page(installed: Path) -> None:
    page = installed.parent / "share/man/man1/fpj.1"
    assert page.read_text() == (ROOT / "cli/man/fpj.1").read_text()


def test_what_the_wheel_lacks_is_told_with_advice_that_works(
    installed: Path, tmp_path: Path
) -> None:
    asked = done(installed / "fpj", "get", "-n", "photos", FPJ_STORE=f"{tmp_path}/s")
    assert asked.returncode == 2
    assert asked.stderr.startswith("Error: a cluster needs ")
    assert "python -m pip install 'kubernetes" in asked.stderr
    assert "Traceback" not in asked.stderr
