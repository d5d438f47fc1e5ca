"""Label selectors: what they select, and what is refused."""

from __future__ import annotations

import pytest

from fpj_core.kube.selectors import SelectorError, parse_selector

LABELS = {"team": "web", "fpj.dev/tier": "gold", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("team=web", True),
        ("team==web", True),
        ("team = web", True),
        ("team=print", False),
        ("team!=print", True),
        ("team!=web", False),
        ("absent!=web", True),
        ("fpj.dev/tier=gold", True),
        ("team in (web, print)", True),
        ("team in (print)", False),
        ("team notin (print,scan)", True),
        ("absent notin (print)", True),
        ("team", True),
        ("absent", False),
        ("!absent", True),
        ("! team", False),
        ("empty=", True),
        ("empty in ()", True),
        ("team=web,fpj.dev/tier in (gold,silver),!absent", True),
        ("team=web , fpj.dev/tier=silver", False),
    ],
)
def test_what_is_selected(text: str, selected: bool) -> None:
    assert parse_selector(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", ",", "team=web,", ",team", "team=web,,x=y", "=web", "team in web"),
        *("team in (web", "team=a b", "team=-a", "a/b/c=d", "-x", "team>3", "x" * 1_001, "é=1"),
        *("team in (a)(b)", "team=(web)", "team in (a b)", "!!team", "x" * 64, "team=" + "x" * 64),
    ],
)
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(SelectorError, match="label selector") as raised:
        parse_selector(text)
    assert len(str(raised.value)) < 300


def test_a_selector_that_is_meant_to_take_long() -> None:
    for text in ("a" * 999, "(" * 999, "a," * 499 + "!", " " * 999 + "=", "a in (" + "," * 900):
        with pytest.raises(SelectorError):
            parse_selector(text)
