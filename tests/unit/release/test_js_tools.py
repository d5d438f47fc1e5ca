"""What checks the dashboard's JavaScript: pinned by checksum, not by address,
and clear where npm is missing.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LOCK: dict[str, Any] = json.loads((ROOT / "hack" / "js" / "package-lock.json").read_text())
MANIFEST: dict[str, Any] = json.loads((ROOT / "hack" / "js" / "package.json").read_text())
INSTALLED = {path: each for path, each in LOCK["packages"].items() if path}


def test_every_package_has_a_version_and_a_checksum_but_no_address() -> None:
    for path, package in INSTALLED.items():
        assert package["version"], path
        assert package["integrity"].startswith("sha512-"), path
        assert "resolved" not in package, (
            f"{path}: hack/js/.npmrc keeps addresses out; run npm there"
        )


def test_the_lock_is_of_the_versions_that_the_manifest_pins() -> None:
    for name, version in MANIFEST["devDependencies"].items():
        assert INSTALLED[f"node_modules/{name}"]["version"] == version


def test_without_npm_and_apt_it_says_what_is_missing(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    # Neither npm nor apt-get, with which root would install it.
    for tool in ("bash", "dirname", "cut", "sha256sum", "mkdir", "flock", "id"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    asked = subprocess.run(
        ["/usr/bin/bash", ROOT / "hack" / "js-tools.sh"],
        env={"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert asked.returncode == 1
    assert "needs npm: install Node.js 20 or newer first" in asked.stderr
