"""The list of mutations fits the code of now: an error that cannot be put in proves nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from typing_extensions import override

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "hack"))
    from fpj_mutations import catalogue

    yield catalogue
    sys.path.remove(str(ROOT / "hack"))


def test_each_mutation_fits_one_place_and_is_still_python(catalogue: Any) -> None:
    found = catalogue.mutations()
    assert len(found) >= 200
    wrong = []
    for each in found:
        try:
            compile(each.applied(), each.file, "exec")
        except (catalogue.MutationError, SyntaxError) as error:
            wrong.append(str(error))
        assert each.old != each.new and each.means, each.id
    assert not wrong, "change hack/mutations/*.toml with the code"


def test_each_is_looked_for_by_fast_tests_that_are_there(catalogue: Any) -> None:
    for each in catalogue.mutations():
        assert each.tests
        for name in (*each.tests, *each.fallback):
            assert name.startswith(catalogue.KINDS) or f"{name}/" in catalogue.KINDS
            assert (ROOT / name).exists() or name == "tests/simulation", (
                f"{each.id}: there is no {name}"
            )


def test_a_result_holds_while_the_module_does_the_same(catalogue: Any, tmp_path: Path) -> None:
    module = tmp_path / "core" / "a.py"
    module.parent.mkdir()
    mutation = catalogue.Mutation(
        "C1", "core/a.py", "one", "two", "wrong", ("tests/unit/a.py",), ()
    )

    def key(text: str) -> str:
        module.write_text(text)
        return str(mutation.key(tmp_path))

    known = key("import a\nfrom b import (\n    c,\n)\n\none = c\n")
    assert key("from d.a import a\nfrom d.b import c\n\none = c\n") == known, (
        "where names come from does not matter"
    )
    assert key("import a\nfrom b import (\n    c,\n)\n\none = d\n") != known


def test_which_test_killed_a_mutation_is_read_off_the_page(catalogue: Any) -> None:
    from fpj_mutations.report import killers, page
    from fpj_mutations.running import Result, Verdict

    one, two = (
        catalogue.Mutation(name, "core/a.py", "one", "two", "a | b", ("tests/unit/a.py",), ())
        for name in "AB"
    )
    test = "unit/core/test_a.py::test_it[a b]"
    text = page(
        [(one, Result(Verdict.KILLED, test, 1.0)), (two, Result(Verdict.SURVIVED, "", 1.0))], {}
    )
    assert killers(text) == {"A": f"tests/{test}"}
    later = page([(one, None), (two, None)], killers(text))
    assert (
        killers(later) == killers(text)
        and "| **all** | 0 | 0 |" in later
        and "Not run yet: 2." in later
    )


@pytest.mark.parametrize(
    ("broken", "always", "verdict", "by"),
    [
        ({"a::test_1"}, set(), "killed", "a::test_1"),
        ({"a::test_1"}, {"a::test_1"}, "survived", ""),
        ({"a::test_1", "a::test_2"}, {"a::test_1"}, "killed", "a::test_2"),
        (set(), set(), "survived", ""),
    ],
)
def test_a_test_that_fails_without_the_error_too_kills_nothing(
    catalogue: Any, tmp_path: Path, broken: set[str], always: set[str], verdict: str, by: str
) -> None:
    from fpj_mutations.running import Runner

    (tmp_path / "a.py").write_text("one")

    class Scripted(Runner):
        """Of two tests in one file, those fail that are given: with the error, and without it."""

        def __init__(self) -> None:
            self._wide, self._red, self._green, self.has_error = False, [], set(), False
            self._copy = cast("Any", self)
            self.root = tmp_path

        @contextmanager
        def with_text(self, _file: str, _text: str) -> Iterator[None]:
            self.has_error = True
            yield
            self.has_error = False

        @override
        def _run(self, tests: Any, *_more: str) -> tuple[int, str]:
            failing = sorted(
                (broken | always if self.has_error else always) - set(short(self._red))
            )
            if not tests:
                return 5, ""
            if "::" in tests[0]:
                failing = [name for name in failing if name in short(tests)]
            return (1, f"FAILED tests/{long(failing[0])} - AssertionError") if failing else (0, "")

    def short(names: Any) -> list[str]:
        return [name.removeprefix("tests/").replace("unit/a.py", "a") for name in names]

    def long(name: str) -> str:
        return name.replace("a::", "unit/a.py::")

    mutation = catalogue.Mutation("C1", "a.py", "one", "two", "wrong", ("tests/unit/a.py",), ())
    result = Scripted().judge(mutation)
    assert (str(result.verdict), result.by) == (verdict, long(by))
