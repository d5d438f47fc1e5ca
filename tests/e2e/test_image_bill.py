"""The bill of materials of the image as it is really built: it is read from the image,
and must be what is locked.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from e2e.installation import build_image
from planes import ROOT

from fpj_release import CLUSTER
from fpj_release.locked import needed, read

PYTHON = ROOT / ".venv-release" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # the first build of a machine
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root"),
    pytest.mark.skipif(not PYTHON.exists(), reason="make release-tools has not been run"),
]


def test_the_image_holds_what_is_locked_and_a_debian_with_python(tmp_path: Path) -> None:
    build_image(tmp_path / "fpj.tar")
    command = [
        str(each) for each in (PYTHON, ROOT / "hack" / "sbom.py", "image", tmp_path / "fpj.tar")
    ]
    command.append(str(tmp_path / "bill.json"))
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    (tmp_path / "fpj.tar").unlink()
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "bill.json").read_text())
    parts = {item["name"]: item for item in bill["components"]}
    python = {
        item["name"] for item in bill["components"] if item.get("purl", "").startswith("pkg:pypi/")
    }
    assert python == needed(read(CLUSTER))
    assert parts["python"]["version"].startswith("3.")
    assert {"libc6", "bash", "python3"} <= {
        name for name, item in parts.items() if item.get("purl", "").startswith("pkg:deb/debian/")
    }
    assert "libheif" in {library["name"] for library in parts["pillow-heif"]["components"]}
