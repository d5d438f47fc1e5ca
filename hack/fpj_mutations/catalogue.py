"""The list of mutations, as hack/mutations/*.toml has it.

Each file is a package's. ``[tests]`` says which test files can kill a mutation of a module, the
likeliest first; ``fallback`` has those that are run where these do not. Each ``[[mutation]]`` has
the module, the text that occurs exactly once in it, what stands there instead, and what that would
mean.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "hack" / "mutations"
_IMPORTS = re.compile(r"^(?:from \S+ import (?:\([^)]*\)|[^(\n]*)|import [^\n]*)\n", re.MULTILINE)
KINDS = ("tests/unit/", "tests/contract/", "tests/simulation/")
"""Where tests are that may kill one: fast, and without a cluster."""


class MutationError(Exception):
    """A mutation that does not fit the code of now."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One error.

    ``id`` is the package's first letter and a number; ``survives`` is why no test has to notice it.
    """

    id: str
    file: str
    old: str
    new: str
    means: str
    tests: tuple[str, ...]
    fallback: tuple[str, ...]
    survives: str = ""

    @property
    def package(self) -> str:
        """The folder that its file lies in: core, operator, worker, api or cli."""
        return self.file.partition("/")[0]

    def applied(self, root: Path = ROOT) -> str:
        """The module's text with the error in it. Raises `MutationError`."""
        text = (root / self.file).read_text(encoding="utf-8")
        try:
            return replaced(text, self.old, self.new)
        except MutationError as error:
            raise MutationError(f"{self.id}: {self.file} has {error}") from None

    def key(self, root: Path = ROOT) -> str:
        """What a result rests on: the module with the error.

        Another text is another mutation, but for its imports.

        Where a name comes from is not what it does: a module that moves voids no result of those
        that use it.
        """
        said = f"{self.id}\n{_IMPORTS.sub('', self.applied(root))}"
        return hashlib.sha256(said.encode()).hexdigest()[:24]


def replaced(text: str, old: str, new: str) -> str:
    """The text with ``new`` at the one place of ``old``. Raises `MutationError` otherwise."""
    found = list(_place_of(old).finditer(text))
    if len(found) != 1:
        raise MutationError(f"{len(found)} of {old!r}")
    return text[: found[0].start()] + new + text[found[0].end() :]


def _place_of(old: str) -> re.Pattern[str]:
    """Where the text stands, however a formatter breaks its lines:
    with a comma before a bracket that closes, too.
    """
    pattern, before = "", ""
    for mark in re.findall(r"\w+|[^\w\s]", old.strip()):
        comma = ",?" if mark in ")]}" and before not in ("", *"([{,") else ""
        pattern += (f"{comma}\\s*" if before else "") + re.escape(mark)
        before = mark
    start, end = old[: len(old) - len(old.lstrip())], old[len(old.rstrip()) :]
    return re.compile(re.escape(start) + pattern + re.escape(end))


def mutations(folder: Path = FOLDER) -> list[Mutation]:
    """All of them, by package. Raises `MutationError` for what is not a list of mutations."""
    found = [each for path in sorted(folder.glob("*.toml")) for each in _of_package(path)]
    numbers = [each.id for each in found]
    if twice := sorted({each for each in numbers if numbers.count(each) > 1}):
        raise MutationError(f"given twice: {', '.join(twice)}")
    return found


def _of_package(path: Path) -> list[Mutation]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_mutation(path, document, each) for each in document["mutation"]]


def _mutation(path: Path, document: Mapping[str, object], entry: Mapping[str, str]) -> Mutation:
    tests, fallback = document["tests"], document["fallback"]
    if not isinstance(tests, Mapping) or not isinstance(fallback, list):
        raise MutationError(f"{path.name}: [tests] and fallback are needed")
    wanted = {"id", "file", "old", "new", "means"}
    if not wanted <= set(entry) <= wanted | {"survives"} or entry["file"] not in tests:
        raise MutationError(
            f"{path.name}: {entry.get('id')}: a key is missing, unknown, or its file has no tests"
        )
    first = tuple(tests[entry["file"]])
    others = tuple(each for each in fallback if each not in first)
    return Mutation(**entry, tests=first, fallback=others)
