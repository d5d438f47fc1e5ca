"""A cache folder is neither the source nor above it."""

from __future__ import annotations

from typing import Any

import pytest

from fpj_core.overlap import overlap_of_places
from fpj_core.v1alpha1.cachefolder import Storage
from fpj_core.v1alpha1.job import Source


def claim(name: str, path: str | None = None) -> dict[str, Any]:
    return {
        "persistentVolumeClaim": {"claimName": name} | ({"path": path} if path is not None else {})
    }


def bucket(prefix: str | None = None, **more: str) -> dict[str, Any]:
    return {"s3": {"bucket": "scans"} | ({"prefix": prefix} if prefix is not None else {}) | more}


SAME, ABOVE = "is the source itself", "lies above the source"


@pytest.mark.parametrize(
    ("source", "storage", "said"),
    [
        (claim("a"), claim("a"), SAME),
        (claim("a", "x/"), claim("a", "/x"), SAME),
        (claim("a", "x//y/./"), claim("a", "x/y"), SAME),
        (claim("a", "."), claim("a"), SAME),
        (claim("a", "x/y"), claim("a", "x"), ABOVE),
        (claim("a", "x"), claim("a"), ABOVE),
        (claim("a"), claim("a", "cache"), None),
        (claim("a", "x"), claim("a", "xy"), None),
        (claim("a", "xy"), claim("a", "x"), None),
        (claim("a"), claim("b"), None),
        (bucket(), bucket(), SAME),
        (bucket("in/"), bucket("/in"), SAME),
        (bucket("in/deep"), bucket("in"), ABOVE),
        (
            bucket("in", endpoint="https://S3.example/"),
            bucket(endpoint="https://s3.example"),
            ABOVE,
        ),
        (bucket("in", endpoint="https://a.example"), bucket(endpoint="https://b.example"), None),
        (bucket("in"), bucket("in/cache"), None),
        (bucket("in"), bucket("in", bucket="other"), None),
        (bucket(), claim("scans"), None),
    ],
)
def test_overlap(source: dict[str, Any], storage: dict[str, Any], said: str | None) -> None:
    assert overlap_of_places(Source.model_validate(source), Storage.model_validate(storage)) == said
