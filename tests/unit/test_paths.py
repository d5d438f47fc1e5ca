"""Output paths are made of ids, and of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.errors import ErrorType, ImageError
from fpj_core.paths import derivative_path

IMAGE = "0123456789abcdef" * 2
BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/a",
    "a/",
    ".a",
    "a.",
    "-a",
    "a\n",
    "a\0",
    "A",
    "ä",
    "a b",
    "a\\b",
    "a" * 254,
]


def test_a_path() -> None:
    assert derivative_path("photos-1", "full", IMAGE, "jpg") == f"photos-1/full/01/{IMAGE}.jpg"


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("place", [0, 1])
def test_bad_collections_and_tiers(name: str, place: int) -> None:
    names = ["photos", "full"]
    names[place] = name
    refused(*names, IMAGE, "jpg")


@pytest.mark.parametrize(
    "image",
    ["", "..", IMAGE.upper(), IMAGE[1:], IMAGE + "0", IMAGE + "\n", "/" + IMAGE[1:], "\u0661" * 32],
)
def test_bad_images(image: str) -> None:
    refused("photos", "full", image, "jpg")


@pytest.mark.parametrize("extension", ["", "..", "jp/g", "JPG", "jpg\n", ".jpg", "abcdef"])
def test_bad_extensions(extension: str) -> None:
    refused("photos", "full", IMAGE, extension)


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=34), st.text(max_size=6))
def test_whatever_comes_stays_three_folders_deep(
    collection: str, tier: str, image: str, extension: str
) -> None:
    try:
        path = derivative_path(collection, tier, image, extension)
    except ImageError:
        return
    parts = path.split("/")
    assert len(parts) == 4
    assert not any(part.startswith(".") for part in parts)


def refused(*parts: str) -> None:
    with pytest.raises(ImageError) as error:
        derivative_path(*parts)
    assert error.value.error_type is ErrorType.PATH_VIOLATION
