"""The Python that runs the operator as its image has it: without the packages of the tests.

That is much: pymongo, for one, loads `cryptography` where it finds it, which is 7 MB.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from bench.cache import cache_folder, cached

_ROOT = Path(__file__).parents[2]
_REQUIREMENTS = _ROOT / "requirements" / "cluster.txt"
_PARTS = ("core", "operator", "worker", "cli")


def production_python() -> Path:
    """Its path; made once for each set of requirements, in half a minute."""
    digest = sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    ready = cached(cache_folder() / f"operator-{digest}.ready", lambda path: _install(digest, path))
    python = ready.with_suffix("") / "bin" / "python"
    (checkout,) = (ready.with_suffix("") / "lib").glob("python*/site-packages")
    (checkout / "fpj.pth").write_text("".join(f"{_ROOT / part}\n" for part in _PARTS))
    return python


def _install(digest: str, ready: Path) -> None:
    folder = cache_folder() / f"operator-{digest}"
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", "--require-hashes"]
    subprocess.run([*install, "--requirement", str(_REQUIREMENTS)], check=True)
    ready.touch()
