"""Bills of materials, made and validated by the tools of `make release-tools`,
which `make test` installs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from unit.release.releasing import ROOT, metadata
from unit.release.test_image import BASE, OWN, archive

from fpj_release import CLUSTER
from fpj_release.locked import needed, read
from fpj_release.wheels import installed

PYTHON = ROOT / ".venv-release" / "bin" / "python"
PINS = read(CLUSTER)
RUN = needed(PINS)
SITE = "opt/fpj/lib/python3.11/site-packages"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="make release-tools has not been run"),
]


def sbom(*arguments: object, epoch: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(PYTHON), str(ROOT / "hack" / "sbom.py"), *map(str, arguments)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def made(output: Path, *arguments: object, epoch: str = "") -> dict[str, Any]:
    done = sbom(*arguments, output, epoch=epoch)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(output.read_text())
    return document


def distribution(output: Path, epoch: str = "") -> dict[str, Any]:
    return made(output, "distribution", sysconfig.get_path("purelib"), epoch=epoch)


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return distribution(tmp_path_factory.mktemp("bill") / "bill.json")


def image_files(*leave_out: str) -> dict[str, str]:
    """Metadata in an image, of everything that must be in it."""
    packages = installed(Path(sysconfig.get_path("purelib")))
    names = sorted(RUN - set(leave_out))
    files = {
        f"{SITE}/{name}-1.dist-info/METADATA": metadata(
            name, packages[name].version, *(f"License: {text}" for text in packages[name].declared)
        )
        for name in names
    }
    return files | {f"{SITE}/fpj-0.1.0.dist-info/METADATA": metadata("fpj", "0.1.0")}


def test_the_bill_of_the_distribution_lists_exactly_what_is_locked(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {(item["name"], item["version"]) for item in bill["components"]} == {
        (pin.name, pin.version) for pin in PINS
    }
    assert {item["name"] for item in bill["components"] if item["scope"] == "required"} == RUN
    hashes = {
        (item["name"], item["version"]): {
            value["content"] for value in item["externalReferences"][0]["hashes"]
        }
        for item in bill["components"]
    }
    assert hashes == {
        (pin.name, pin.version): {text.split(":")[1] for text in pin.hashes} for pin in PINS
    }
    assert all(item["licenses"] for item in bill["components"])
    (heif,) = (item for item in bill["components"] if item["name"] == "pillow-heif")
    assert "libheif" in {library["name"] for library in heif["components"]}


def test_the_bill_says_who_needs_whom(bill: dict[str, Any]) -> None:
    names = {item["bom-ref"]: item["name"] for item in bill["components"]} | {"fpj": "fpj"}
    needs = {
        (names[item["ref"]], names[other])
        for item in bill["dependencies"]
        for other in item.get("dependsOn", ())
    }
    locked = {(wanting, pin.name) for pin in PINS for wanting in pin.wanted_by}
    assert needs == {
        ("fpj" if wanting.startswith(":") else wanting, name) for wanting, name in locked
    }


def test_a_bill_is_the_same_each_time_and_has_a_time_only_if_one_is_given(
    bill: dict[str, Any], tmp_path: Path
) -> None:
    again = distribution(tmp_path / "again.json")
    assert again == bill and "timestamp" not in bill["metadata"]
    dated = distribution(tmp_path / "dated.json", epoch="1790000000")
    assert dated["metadata"]["timestamp"].startswith("2026-09-21T14:13:20")
    assert dated["serialNumber"] != bill["serialNumber"]


def test_the_bill_of_an_image_lists_its_packages_its_python_and_its_system(tmp_path: Path) -> None:
    tar = archive(tmp_path / "image.tar", BASE, OWN, image_files())
    bill = made(tmp_path / "bill.json", "image", tar)
    found = {item["name"] for item in bill["components"]}
    assert found == RUN | {"python", "bash", "libc6"}
    own = bill["metadata"]["component"]
    assert (own["type"], own["hashes"]) == ("container", [{"alg": "SHA-256", "content": "c" * 64}])
    purls = {item.get("purl") for item in bill["components"]}
    assert "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=bookworm" in purls


def test_an_image_that_is_not_what_the_lock_says_has_no_bill(tmp_path: Path) -> None:
    lacking = sbom(
        "image",
        archive(tmp_path / "1.tar", BASE, OWN, image_files("pyyaml")),
        tmp_path / "bill.json",
    )
    assert (lacking.returncode, lacking.stderr) == (1, "sbom: the image lacks pyyaml\n")
    more = image_files() | {
        f"{SITE}/evil-1.dist-info/METADATA": metadata("evil", "1", "License: MIT")
    }
    unasked = sbom("image", archive(tmp_path / "2.tar", BASE, OWN, more), tmp_path / "bill.json")
    assert (unasked.returncode, "evil 1" in unasked.stderr) == (1, True)
    assert not (tmp_path / "bill.json").exists()
