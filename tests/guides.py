"""The commands and documents of a page of docs/, for tests that run what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from planes import ROOT

from fpj_cluster import binaries

GUIDE = ROOT / "docs" / "guide"


class Page:
    """A Markdown file."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text("utf-8")

    @property
    def commands(self) -> list[str]:
        """All of its commands in order: those of console blocks, and those in tables.

        What is in plain text beside them is not among them.
        """
        return [found for _, found in sorted([*self._in_blocks(), *self._in_tables()])]

    def starting(self, *beginnings: str) -> list[str]:
        """Its commands that begin so, one for each beginning."""
        found = []
        for beginning in beginnings:
            fitting = [each for each in self.commands if each.startswith(beginning)]
            assert len(fitting) == 1, (beginning, self.commands)
            found.extend(fitting)
        return found

    def block(self, language: str, containing: str) -> str:
        """The only block of a language that has this text."""
        found = [
            body
            for kind, body in re.findall(r"```(\w*)\n(.*?)```", self._text, re.DOTALL)
            if kind == language and containing in body
        ]
        assert len(found) == 1, (language, containing)
        return str(found[0])

    def _in_blocks(self) -> Iterator[tuple[int, str]]:
        """Position and text; what a command prints is left out."""
        for block in re.finditer(r"```console\n(.*?)```", self._text, re.DOTALL):
            for line in re.finditer(r"^\$ (.*)$", block[1], re.MULTILINE):
                yield block.start(1) + line.start(), line[1].partition("  #")[0].strip()

    def _in_tables(self) -> Iterator[tuple[int, str]]:
        for row in re.finditer(r"^\|.*\|$", self._text, re.MULTILINE):
            for command in re.finditer(r"`(kubectl (?:[^`])*)`", row[0]):
                yield row.start() + command.start(), command[1].replace("\\|", "|")


class Shell:
    """Runs commands as a reader does: in the checkout or a folder of theirs, as administrator.

    ``places`` are what a reader has to replace, such as a URL, and by what.
    """

    def __init__(self, kubeconfig: Path, folder: Path, places: Mapping[str, str]) -> None:
        self._places = places
        programs = folder / "bin"
        programs.mkdir()
        (programs / "kubectl").symlink_to(binaries.locate(node=False)["kubectl"])
        path = (str(programs), sysconfig.get_path("scripts"), os.environ["PATH"])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FPJ_")}
        self._environment = kept | {
            "PATH": os.pathsep.join(path),
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(folder),
        }

    def __call__(self, command: str, folder: Path = ROOT, seconds: float = 120) -> str:
        """What it prints. It must succeed."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.replaced(command)],
            env=self._environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def start(self, command: str) -> subprocess.Popen[str]:
        """One that does not end by itself; its standard output is a pipe."""
        return subprocess.Popen(
            ["bash", "-euc", f"exec {self.replaced(command)}"],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def replaced(self, command: str) -> str:
        """The command with what the reader puts into it."""
        for place, value in self._places.items():
            command = command.replace(place, value)
        return command
