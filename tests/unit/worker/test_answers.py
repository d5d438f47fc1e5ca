"""What the supervisor believes of a child: its answer may come from whoever took a decoder over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fpj_core.model import ImageFacts
from fpj_worker.tasks import ImageDone, ImageTask, WrittenFile, is_answer

IMAGE = "ab" * 16
TASK = ImageTask(3, IMAGE, "a.jpg", 10, ("full",))
FILE = WrittenFile("full", f"album/full/ab/{IMAGE}.jpg", 4, 3, 100)
FACTS = ImageFacts(40, 30, "jpeg", b"\1", "#aabbcc")


def test_an_honest_answer() -> None:
    assert is_answer(ImageDone(FACTS, (FILE,)), TASK, "album")


@pytest.mark.parametrize(
    "file",
    [
        replace(FILE, path="../../etc/passwd"),
        replace(FILE, path=f"album/full/ab/../{IMAGE}.jpg"),
        replace(FILE, path=f"other/full/ab/{IMAGE}.jpg"),
        replace(FILE, path=f"album/full/cd/{'cd' * 16}.jpg"),
        replace(FILE, path=f"album/full/ab/{IMAGE}.jpg\n"),
        replace(FILE, tier="thumbnail", path=f"album/thumbnail/ab/{IMAGE}.jpg"),
        replace(FILE, bytes=-1),
        replace(FILE, width="4"),  # type: ignore[arg-type]
        replace(FILE, tier=["full"]),  # type: ignore[arg-type]
        replace(FILE, bytes=2**70),
    ],
)
def test_files_of_something_else(file: WrittenFile) -> None:
    assert not is_answer(ImageDone(FACTS, (file,)), TASK, "album")


MIRRORED = replace(TASK, name="2019/a")


def test_a_mirrored_image_has_its_own_name_alone() -> None:
    assert is_answer(ImageDone(FACTS, (replace(FILE, path="full/2019/a.webp"),)), MIRRORED, "album")
    for path in (
        FILE.path,
        "full/2019/b.jpg",
        "full/2019/a.jpg/x.jpg",
        "full/../2019/a.jpg",
        "thumbnail/2019/a.jpg",
    ):
        assert not is_answer(ImageDone(FACTS, (replace(FILE, path=path),)), MIRRORED, "album")


@pytest.mark.parametrize(
    "done",
    [
        None,
        3,
        ImageDone(FACTS, ()),
        ImageDone(FACTS, (FILE, FILE)),
        ImageDone(FACTS, [FILE]),  # type: ignore[arg-type]
        ImageDone(None, (FILE,)),  # type: ignore[arg-type]
        ImageDone(replace(FACTS, format="x" * 100_000), (FILE,)),
        ImageDone(replace(FACTS, width=1.5), (FILE,)),  # type: ignore[arg-type]
        ImageDone(replace(FACTS, thumbhash=bytes(100_000)), (FILE,)),
    ],
)
def test_no_answers(done: Any) -> None:
    assert not is_answer(done, TASK, "album")
