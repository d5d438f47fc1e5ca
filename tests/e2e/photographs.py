"""Collections for jobs on a real cluster, what is made of them, and which pods process them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from e2e.installation import Site
from PIL import Image

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
BOXES = {"full": (1920, 1080), "thumbnail": (300, 300)}
LITTLE = {"full": (200, 150), "thumbnail": (64, 64)}
TIERS: dict[str, Any] = {
    "jobType": "Both",
    "cache": {"tiers": [{"name": "full", "maxWidth": 200, "maxHeight": 150}]},
    "thumbnail": {"width": 64, "height": 64},
}
"""What makes derivatives of the sizes LITTLE."""


def photographs(folder: Path, number: int, broken: int) -> None:
    """So many small JPEG files, every one different, in three sizes.

    The broken ones are cut off or none, in turns.
    """
    chance = random.Random(number)
    grain = np.random.default_rng(number).integers(0, 256, (90, 120, 3), np.uint8)
    scene = Image.fromarray(grain).resize((1800, 1350), Image.Resampling.BICUBIC)
    folder.mkdir()
    bad = chance.sample(range(number), broken)
    for index in range(number):
        width, height = chance.choice(((320, 240), (240, 320), (333, 217)))
        left, top = chance.randrange(1800 - width), chance.randrange(1350 - height)
        path = folder / f"{index:04}.jpg"
        scene.crop((left, top, left + width, top + height)).save(
            path, quality=chance.randrange(60, 95)
        )
        if index in bad:
            path.write_bytes(b"no image" if bad.index(index) % 2 else path.read_bytes()[:300])


def running(site: Site, job: str, role: str = "shards") -> list[str]:
    """Names of the pods whose container runs."""
    return [
        pod["metadata"]["name"]
        for pod in site.pods(job, role)
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            "running" in container["state"]
            for container in pod["status"].get("containerStatuses", [])
        )
    ]
