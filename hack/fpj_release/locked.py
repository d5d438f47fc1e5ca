"""A lock file of uv: what is pinned, by which hashes, and who wants it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpj_release import ReleaseError

_PIN = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))? \\"
)
_HASH = re.compile(r" {4}--hash=(?P<hash>sha256:[0-9a-f]{64})(?: \\)?")
_WANTED_BY = re.compile(
    r" {4}#(?: via|  ) (?P<name>[a-z0-9][a-z0-9-]*)(?: \(pyproject\.toml(?P<group>:[a-z]+)?\))?"
)
_COMMENT = re.compile(r"#.*| {4}# via| {4}#   -c .*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock.

    A package may have several, each with a ``marker`` of its own that says for what Python.

    ``wanted_by`` are names of other packages, and ``fpj`` for what pyproject.toml asks for. What a
    dependency group asks for is there under the group's name, with a colon: ``:build``.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    wanted_by: frozenset[str]


def read(path: Path) -> tuple[Pin, ...]:
    """All pins of a lock file, in its order.

    ReleaseError for a line that is none of one, or a pin without hashes.
    """
    return tuple(_pins(path))


def needed(pins: tuple[Pin, ...], root: str = "fpj") -> frozenset[str]:
    """Names of what ``root`` needs, directly or not. Without what only building asks for."""
    found: set[str] = set()
    wanting = {root}
    for _ in range(len(pins) + 1):  # each round but the last finds one at least
        new = {pin.name for pin in pins if pin.wanted_by & wanting} - found
        if not new:
            break
        found |= new
        wanting = new
    return frozenset(found)


def _pins(path: Path) -> Iterator[Pin]:
    found: re.Match[str] | None = None
    hashes: list[str] = []
    wanted_by: set[str] = set()
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        pin = _PIN.fullmatch(line)
        if pin or not line:
            if found:
                yield _made(path, found, hashes, wanted_by)
            found, hashes, wanted_by = pin, [], set()
        elif match := _HASH.fullmatch(line):
            hashes.append(match["hash"])
        elif match := _WANTED_BY.fullmatch(line):
            wanted_by.add(match["group"] or match["name"])
        elif not _COMMENT.fullmatch(line):
            raise ReleaseError(f"{path}:{number} is not a line of a lock file: {line}")


def _made(path: Path, found: re.Match[str], hashes: list[str], wanted_by: set[str]) -> Pin:
    if not hashes:
        raise ReleaseError(f"{path}: {found['name']} has no hash")
    return Pin(
        found["name"], found["version"], found["marker"] or "", tuple(hashes), frozenset(wanted_by)
    )
