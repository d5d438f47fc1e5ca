"""Paragraphs are joined, and nothing else is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "hack"))

import markdown_lines  # noqa: E402 - the folder has to be named first


@pytest.mark.parametrize(
    ("wrapped", "joined"),
    [
        ("one\ntwo\n\nthree\n", "one two\n\nthree\n"),
        ("- one\n  two\n- three\n", "- one two\n- three\n"),
        ("1. one\n   two\n2. three\n", "1. one two\n2. three\n"),
        ("# one\ntwo\nthree\n", "# one\ntwo three\n"),
    ],
)
def test_a_paragraph_becomes_one_line(wrapped: str, joined: str) -> None:
    assert markdown_lines.joined(wrapped) == joined


@pytest.mark.parametrize(
    "text",
    [
        "```\none\ntwo\n```\n",
        "- item\n\n  ```\n  one\n  two\n  ```\n",
        "| a | b |\n|---|---|\n| c | d |\n",
        "one  \ntwo\n",
        "one\\\ntwo\n",
        "<!-- a comment -->\n# title\n",
        "one\n- two\n- three\n",
        "> one\n> two\n",
        "![a](b.png)\n![c](d.png)\n",
        "    one\n    two\n",
        "one\n\n[a]: b\n[c]: d\n",
    ],
)
def test_other_blocks_stay_as_they_are(text: str) -> None:
    assert markdown_lines.joined(text) == text


def test_every_page_follows_the_rule() -> None:
    pages = markdown_lines.tracked()
    assert len(pages) > 50
    assert [
        str(page)
        for page in pages
        if markdown_lines.joined(text := (ROOT / page).read_text()) != text
    ] == []
