"""What messages say of paths that are too long or too deep."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fpj_core.errors import CacheFolderError, ErrorType, SourceError
from fpj_core.folders.local import LocalFolder
from fpj_core.places import brief, words_of
from fpj_core.sources.local import LocalSource

LONG = "/" + "segment/" * 4_096


def test_a_path_of_ordinary_length_is_named_whole() -> None:
    assert brief("/a/b") == "/a/b"
    assert brief("x" * 300) == "x" * 300


def test_a_long_path_is_named_by_its_ends() -> None:
    said = brief("/first/" + "d/" * 4_096 + "last")
    assert said.startswith("/first/d/d/") and "/d/last (a path of 8,203 characters)" in said
    assert len(said) < 300


def test_other_errors_are_in_the_words_of_the_system() -> None:
    assert words_of(OSError(errno.EACCES, "Permission denied")) == "Permission denied"
    assert words_of(OSError("no number")) == "no number"


def test_a_source_of_4096_segments_says_what_to_do() -> None:
    source = LocalSource(LONG)
    with pytest.raises(SourceError) as refused:
        list(source.list())
    check_explains(str(refused.value))


def test_a_cache_folder_of_4096_segments_says_what_to_do() -> None:
    with pytest.raises(CacheFolderError) as refused:
        LocalFolder(LONG).look()
    check_explains(str(refused.value))


def check_explains(message: str) -> None:
    """Within the first few hundred characters, as other messages are shortened."""
    assert len(message) < 600
    for words in ("a path of 32,769 characters", "longer than the operating system allows", "move"):
        assert words in message


def test_folders_that_nest_too_deep_say_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(201):
        folder /= "d"
    folder.mkdir(parents=True)
    source = LocalSource(str(tmp_path))
    assert list(source.list()) == []
    (problem,) = source.problems.take()
    assert (problem.key.count("d"), problem.error_type) == (201, ErrorType.PATH_VIOLATION)
    assert "deeper than 200" in problem.message
    assert "move its images further up" in problem.message
