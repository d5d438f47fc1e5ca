"""A short look at each target of `make fuzz`: what it found once,
and some mutations that are the same each time.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from unit.fuzz.targets import TARGETS, seeds

SEEDS = Path(__file__).parent / "seeds"
ROUNDS = {"header": 60, "archive": 150, "manifest": 40, "ignore_file": 100, "profile": 100}
USUAL = 300
NUMBERS = (
    b"\0",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\0\0\0\1",
    b"\1\0\0\0",
)


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four changes: bits, numbers that are special, pieces left out,
    doubled or of another seed.
    """
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, count = chance.randrange(len(found) + 1), chance.randint(1, 40)
        match chance.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                number = chance.choice(NUMBERS)
                found[at : at + len(number)] = number
            case 2:
                del found[at : at + count]
            case 3:
                found[at:at] = found[at : at + count]
            case 4:
                start = chance.randrange(len(other) + 1)
                found[at:at] = other[start : start + count]
            case _:
                del found[at:]
    return bytes(found)


def inputs(name: str) -> list[bytes]:
    begun = seeds(name)
    chance = random.Random(name)
    mutations = (
        mutated(chance.choice(begun), chance.choice(begun), chance)
        for _ in range(ROUNDS.get(name, USUAL))
    )
    return [*begun, b"", *mutations]


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_in(name: str) -> None:
    for data in inputs(name):
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name} on {data!r}") from error


@pytest.mark.parametrize(
    "path", sorted(SEEDS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_was_found_stays_fixed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
