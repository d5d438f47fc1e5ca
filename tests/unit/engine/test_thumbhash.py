"""ThumbHash: the hash of known pictures, read back by its own description."""

from __future__ import annotations

import numpy as np
import pytest

from fpj_worker.engine.thumbhash import encode

BLACK, WHITE, RED = (0, 0, 0, 255), (255, 255, 255, 255), (255, 0, 0, 255)


def plain(colour: tuple[int, ...], width: int = 20, height: int = 10) -> bytes:
    return encode(np.full((height, width, 4), colour, np.uint8))


def head(hash_: bytes) -> tuple[float, float, float]:
    """Mean brightness, yellow against blue and red against green,
    as the first 18 bits hold them.
    """
    bits = int.from_bytes(hash_[:3], "little")
    return (bits & 63) / 63, (bits >> 6 & 63) / 31.5 - 1, (bits >> 12 & 63) / 31.5 - 1


@pytest.mark.parametrize(
    ("colour", "expected"),
    [(BLACK, (0, 0, 0)), (WHITE, (1, 0, 0)), (RED, (1 / 3, 0.5, 1))],
    ids=["black", "white", "red"],
)
def test_the_mean_colour_stands_first(colour: tuple[int, ...], expected: tuple[float, ...]) -> None:
    assert head(plain(colour)) == pytest.approx(expected, abs=0.04)


def test_its_length_depends_on_shape_and_alpha() -> None:
    assert len(plain(RED, 10, 10)) > len(plain(RED, 20, 5)) > 5
    clear = np.full((10, 20, 4), RED, np.uint8)
    clear[:, :10, 3] = 0
    assert encode(clear)[2] & 0x80, "alpha is flagged"
    assert not plain(RED)[2] & 0x80


def test_landscape_and_portrait_are_told_apart() -> None:
    assert plain(RED, 20, 10)[4] & 0x80
    assert not plain(RED, 10, 20)[4] & 0x80


def test_a_picture_of_known_hash() -> None:
    """Made once with another implementation of the format."""
    y, x = np.mgrid[0:24, 0:32]
    picture = np.stack([x * 8, y * 10, 255 - x * 8, np.full_like(x, 255)], axis=-1).astype(np.uint8)
    ours, theirs = encode(picture).hex(), KNOWN
    assert ours[:10] == theirs[:10]
    assert all(abs(int(a, 16) - int(b, 16)) <= 1 for a, b in zip(ours, theirs, strict=True)), (
        "halves round either way"
    )


KNOWN = "9e170a9d9a8788788087888888788877808508f888"
