"""Expressions that match what pathspec's do, in a bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec, RegexPattern

from fpj_core.sources.filters import Filter, Rules
from fpj_core.sources.patterns import settled

PATTERNS = st.lists(
    st.sampled_from(
        ("a", "b", "*", "*", "**", "?", "[ab]", "[!a]", "[*]", "/", "/", "/**/", "\\*")
    ),
    min_size=1,
    max_size=9,
).map("".join)
PATHS = st.lists(st.sampled_from("aab*//\n"), min_size=1, max_size=14).map("".join)


def found(expression: str, path: str) -> tuple[int, int] | None:
    """Where it ends, and where the folder's name does, if it matches: that is what is asked for."""
    match = re.search(expression, path)
    if match is None:
        return None
    return match.end(), match.end("ps_d") if "ps_d" in match.groupdict() else 0


@given(PATTERNS, PATHS)
def test_what_is_settled_matches_the_same(pattern: str, path: str) -> None:
    try:
        patterns = GitIgnoreSpec.from_lines([pattern]).patterns
    except ValueError:
        return
    for each in patterns:
        if isinstance(each, RegexPattern) and each.regex:
            made = each.regex.pattern.replace("[^a]", "[^a/]")  # to git, no set has a slash
            assert found(settled(made), path) == found(made, path), (made, settled(made))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (r"*" * 60 + "x", "photo" * 40),
        ("*a" * 40 + "x", "a" * 250),
        ("*?" * 40 + "x", "a" * 250),
        ("**/a/" * 40 + "x", "a/" * 250 + "b"),
        ("b/" + "**/*/*/" * 20 + "x", "b/" + "a/" * 250 + "b"),
        ("**/*a*a*a/" * 12 + "x", "aaaaaaaa/" * 60 + "b"),
    ],
)
def test_no_pattern_keeps_a_listing_busy_for_ever(pattern: str, path: str) -> None:
    """Each of these took longer than anybody waits."""
    assert not Rules(Filter(exclude=(pattern,))).excludes(path)
    assert path.endswith("/") or Rules(Filter(include=(pattern,))).excludes(path)
    rules = Rules()
    rules.add_ignore_file("", pattern)
    assert not rules.excludes(path)
