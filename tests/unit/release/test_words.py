"""The list of words to avoid finds them in prose."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "hack"))

import words  # noqa: E402 - the folder has to be named first

LIST: dict[str, Any] = tomllib.loads(words.LIST.read_text())
AVOIDED = words.avoided(LIST["words"])


def found(text: str, path: str = "page.md") -> list[str]:
    return [line.split(": ")[1] for line in words.found(path, text, AVOIDED)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("A job at work is listed.", "at work"),
        ("It is Begun\nand ends", "Begun"),
        ("that makes no sense", "makes no sense"),
        ("a folder that is no folder", "is no"),
        ("the operator is told of it", "told"),
        ("mended in the next one", "mended"),
    ],
)
def test_a_word_to_avoid_is_found(text: str, word: str) -> None:
    assert found(text) == [word]


@pytest.mark.parametrize(
    "text",
    [
        "There is no job here, and it is no longer there.",
        "They can be told apart by their names.",
        "`fpj get` says `at work`",
        "```\nat work, begun anew\n```\n",
        "recommended, amended, broads",
    ],
)
def test_what_is_fine_is_left_alone(text: str) -> None:
    assert not found(text)


def test_lines_keep_their_numbers_behind_code() -> None:
    (line,) = words.found("page.md", "```\na\nb\n```\nat work", AVOIDED)
    assert line.startswith("page.md:5:")
