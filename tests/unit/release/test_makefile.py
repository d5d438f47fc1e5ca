"""What a person gives to make is data: nothing of it is run, and it arrives as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FPJ = f"""#!{sys.executable}
import json, sys
open("words.json", "w").write(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile over an fpj that notes how it was called."""
    for name in ("Makefile", "hack/run_words.py", "hack/find-python.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "bin" / "fpj").write_text(FPJ)
    (tmp_path / ".venv" / "bin" / "fpj").chmod(0o755)
    (tmp_path / ".venv" / ".run").touch()
    return tmp_path


def called(checkout: Path, *variables: str) -> list[str]:
    # What `make unit ARGS=…` was given is for the tests, not for this.
    outer = {"ARGS", "DIR", "OUT", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    subprocess.run(
        ["make", "-o", ".venv/.run", "run", *variables],
        cwd=checkout,
        check=True,
        timeout=30,
        env=environment,
    )
    assert not (checkout / "pwned").exists()
    return list(json.loads((checkout / "words.json").read_text()))


@pytest.mark.parametrize(
    "name",
    [
        "Wedding Anna & Bj\u00f6rn",
        "$(touch pwned)",
        "$(shell touch pwned)",
        "`touch pwned`",
        "a; touch pwned",
    ]
    + ['it\'s "quoted"', "two\nlines", "-rf", "$HOME", "a\\b"],
)
def test_any_name_arrives_as_it_is(checkout: Path, name: str) -> None:
    assert called(checkout, f"DIR={name}", f"OUT={name}") == ["run", f"--out={name}", "--", name]


def test_arguments_are_words_and_nothing_more(checkout: Path) -> None:
    words = called(checkout, "ARGS=--collection 'a b' ; touch pwned $(shell touch pwned) *")[2:-2]
    assert words == [
        "--collection",
        "a b",
        ";",
        "touch",
        "pwned",
        "$(shell",
        "touch",
        "pwned)",
        "*",
    ]
