"""A copy of the tree to be broken: the checkout itself is never touched."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fpj_mutations.catalogue import ROOT

PACKAGES = ("api", "cli", "core", "operator", "worker")
_ONE_SECOND = 1_000_000_000


class Copy:
    """The files that git knows, with an environment of its own in which fpj is the copy's,
    for child processes too.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self._moment = itertools.count(1)
        command = ["git", "ls-files", "-coz", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - constant
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self._environment()

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / ".venv" / "bin" / "python"

    def _environment(self) -> None:
        """Packages are those of this process's environment.

        It is not in the path as a site, so its fpj is not.
        """
        target = self.root / ".venv"
        venv.create(target, symlinks=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        ours = [str(self.root / package) for package in PACKAGES]
        site = target / "lib" / version / "site-packages"
        (site / "copy.pth").write_text(
            "\n".join([*ours, sysconfig.get_path("purelib")]) + "\n", encoding="utf-8"
        )
        for script in (Path(sys.executable).parent).glob("*fpj*"):
            _first, _, rest = script.read_text(encoding="utf-8").partition("\n")
            (target / "bin" / script.name).write_text(f"#!{self.python}\n{rest}", encoding="utf-8")
            (target / "bin" / script.name).chmod(0o755)

    @contextmanager
    def with_text(self, file: str, text: str) -> Iterator[None]:
        """With another text in one file.

        Each has its own time, or Python would take compiled code for that of now.
        """
        path = self.root / file
        original, known = path.read_bytes(), path.stat()
        path.write_text(text, encoding="utf-8")
        later = known.st_mtime_ns + next(self._moment) * _ONE_SECOND
        os.utime(path, ns=(later, later))
        try:
            yield
        finally:
            path.write_bytes(original)
            os.utime(path, ns=(known.st_mtime_ns, known.st_mtime_ns))
