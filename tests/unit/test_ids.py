"""Ids are stable, apart from one another, and fit where they are used."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fpj_core.ids import collection_id_for, image_id, new_job_id
from fpj_core.paths import derivative_path
from fpj_core.v1alpha1.common import LABEL_PATTERN


def test_image_ids_never_change() -> None:
    """A written-down value: another one would orphan every file ever made."""
    assert image_id("photos", "a.jpg") == "7803f44be9e2835adf2e9d622f7078a9"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=4)), unique=True))
def test_image_ids_are_apart(images: list[tuple[str, str]]) -> None:
    assert len({image_id(*image) for image in images}) == len(images)


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/home/me/Photos", "photos"),
        ("/srv/Été à Nîmes (2024)", "ete-a-nimes-2024"),
        ("/srv/写真", "images"),
        ("/", "images"),
        ("/srv/--", "images"),
        ("/srv/" + "x" * 200, "x" * 54),
        ("/srv/" + "x" * 53 + " y", "x" * 53),
    ],
)
def test_collection_ids_can_be_read(path: str, slug: str) -> None:
    assert re.fullmatch(re.escape(slug) + "-[0-9a-f]{8}", collection_id_for(Path(path)))


@settings(deadline=None)
@given(st.binary(max_size=300).map(lambda name: name.replace(b"\0", b"")))
@example(b"\xff\xfe")
@example(b"...")
def test_any_folder_has_a_collection_id(name: bytes) -> None:
    path = Path("/" + os.fsdecode(name))
    collection = collection_id_for(path)
    assert collection == collection_id_for(path)
    assert re.fullmatch(LABEL_PATTERN, collection)
    assert len(collection) <= 63
    assert derivative_path(collection, "full", image_id(collection, "a"), "jpg")


def test_folders_of_the_same_name_are_apart() -> None:
    assert collection_id_for(Path("/a/photos")) != collection_id_for(Path("/b/photos"))


def test_jobs_have_ids_of_their_own() -> None:
    assert len({new_job_id() for _ in range(100)}) == 100
