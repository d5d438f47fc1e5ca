from __future__ import annotations

from dataclasses import replace

import pytest
from unit.release.releasing import metadata

from fpj_release import CLUSTER, ReleaseError
from fpj_release.licences import load, problems
from fpj_release.locked import Pin, read
from fpj_release.wheels import Library, Package, parsed

POLICY = replace(
    load(), package={}, library={"images": {"libgood": "MIT", "libx265": "GPL-2.0-or-later"}}
)


def package(*declared: str, name: str = "images", libraries: tuple[str, ...] = ()) -> Package:
    return Package(name, "1.0", declared, tuple(Library(library, "1", "") for library in libraries))


def found(one: Package) -> list[str]:
    pins = (
        Pin(one.name, one.version, "", ("sha256:0",), frozenset({"fpj"})),
        Pin("images", "1", "", (), frozenset()),
    )
    return problems(POLICY, pins, {"images": package("MIT"), one.name: one})


@pytest.mark.parametrize(
    "licence", ["MIT", "Apache 2.0", "mit", "BSD-3-Clause AND 0BSD", "GPL-2.0-only OR MIT"]
)
def test_allowed(licence: str) -> None:
    assert found(package(licence)) == []


@pytest.mark.parametrize(
    "licence", ["GPL-2.0-or-later", "AGPL-3.0-only", "MIT AND GPL-3.0-only", "SSPL-1.0"]
)
def test_a_licence_that_is_not_in_the_list_is_named(licence: str) -> None:
    (line,) = found(package(licence))
    assert line == f"images in images 1.0 is under {licence}, which no family allows"


def test_what_is_allowed_for_one_library_is_not_for_another() -> None:
    assert found(package("MIT", libraries=("libx265",))) == []
    assert "which no family allows" in found(package("GPL-2.0-or-later", name="libother"))[0]


def test_a_package_that_does_not_tell_and_a_new_library_are_named() -> None:
    assert "says no licence" in found(package())[0]
    assert "says BSD License, MIT License" in found(package("BSD License", "MIT License"))[0]
    assert "Invalid license expression" in found(package("The Usual"))[0]
    assert "without parentheses" in found(package("(MIT OR ISC) AND 0BSD"))[0]
    assert (
        "brings libnew: add it to [library.images]"
        in found(package("MIT", libraries=("libnew",)))[0]
    )


def test_the_policy_names_nothing_that_is_gone() -> None:
    stale = replace(POLICY, package={"gone": "MIT"}, library={"left": {}})
    pins = (Pin("images", "1.0", "", (), frozenset()),)
    assert [line.split()[0] for line in problems(stale, pins, {"images": package("MIT")})] == [
        "gone",
        "left",
    ]
    assert problems(POLICY, pins, {}) == ["images is not installed: run make setup"]


def test_each_family_says_why_and_no_licence_is_in_two() -> None:
    families = load().families
    assert all(len(family.why) > 40 for family in families)
    licences = [licence for family in families for licence in family.licences]
    assert len(licences) == len(set(licences))
    assert set(load().library) <= {pin.name for pin in read(CLUSTER)}


def test_metadata_is_read_from_its_most_exact_line() -> None:
    old = "Classifier: License :: OSI Approved :: MIT License"
    assert parsed(
        metadata("A_b", "1", "License-Expression: MIT", "License: x", old), ""
    ).declared == ("MIT",)
    assert parsed(metadata("a", "1", "License: Apache 2.0", old), "").declared == ("Apache 2.0",)
    assert parsed(metadata("a", "1", "License: Dual License", old), "").declared == ("MIT License",)
    assert parsed(metadata("A_b.c", "1"), "").name == "a-b-c"


def test_libraries_are_read_from_the_record() -> None:
    record = """\
images.libs/libjpeg-6dc8d115.so.62.4.0,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,1
images.libs/libcrypto-5409cd36.so.1.1.1k,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,1
images.libs/libopenblasp-r0-59ffcd50.3.15.so,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,1
images.libs/libscipy_openblas64_-32a4b2a6.so,,
images/core.so,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,1
"""
    libraries = parsed(metadata("images", "1"), record).libraries
    assert [(library.name, library.version) for library in libraries] == [
        ("libcrypto", "1.1.1k"),
        ("libjpeg", "62.4.0"),
        ("libopenblasp", "3.15"),
        ("libscipy_openblas64_", ""),
    ]
    assert libraries[0].sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_an_unknown_library_has_no_licence() -> None:
    with pytest.raises(ReleaseError, match="libnew"):
        POLICY.library_licence(package("MIT"), Library("libnew", "", ""))
