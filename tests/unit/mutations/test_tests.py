"""A test whose scene is never played passes whatever the code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[2]
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def unused_in(tree: ast.AST) -> Iterator[str]:
    """Functions within functions that nobody there names."""
    for outer in ast.walk(tree):
        if not isinstance(outer, _FUNCTION):
            continue
        inner = {
            each.name
            for each in outer.body
            if isinstance(each, _FUNCTION) and not each.decorator_list
        }
        if inner:
            used = {each.id for each in ast.walk(outer) if isinstance(each, ast.Name)}
            yield from (f"{outer.name}: {name}" for name in sorted(inner - used))


def test_every_function_within_a_test_is_used() -> None:
    unused = [
        f"{path.relative_to(TESTS)}::{name}"
        for path in sorted(TESTS.rglob("*.py"))
        for name in unused_in(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not unused


def test_what_counts_as_used() -> None:
    played = "def test():\n    async def scene(): ...\n    run(scene())\n"
    assert list(unused_in(ast.parse(played))) == []
    assert list(unused_in(ast.parse(played.replace("run(scene())", "run()")))) == ["test: scene"]
