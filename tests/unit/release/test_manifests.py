from __future__ import annotations

import subprocess
from pathlib import Path

import yaml
from unit.release.releasing import ROOT

SCRIPT = ROOT / "hack" / "release-manifests.sh"
IMAGE = "registry.example/team/fpj:0.0.1"


def documents(*files: Path) -> list[dict[str, object]]:
    return [
        document for file in files for document in yaml.safe_load_all(file.read_text()) if document
    ]


def test_a_release_has_all_resources_and_runs_its_own_image(tmp_path: Path) -> None:
    subprocess.run([SCRIPT, IMAGE, tmp_path], check=True, timeout=30)
    assert documents(tmp_path / "fpj-crds.yaml") == documents(
        *sorted((ROOT / "crds").glob("*.yaml"))
    )
    text = (tmp_path / "fpj-operator.yaml").read_text()
    assert text.count(IMAGE) == 2  # the operator's container, and what it gives its workers
    changed = [
        line
        for line in text.splitlines()
        if line not in (ROOT / "deploy" / "operator.yaml").read_text()
    ]
    assert [line.strip() for line in changed] == [f"image: {IMAGE}", f"value: {IMAGE}"]


def test_an_image_without_a_tag_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "fpj", tmp_path], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2 and "IMAGE:TAG FOLDER" in done.stderr
