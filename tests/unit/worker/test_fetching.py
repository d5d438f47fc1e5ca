"""An image's bytes come from storage, and its files go there, on a clock of their own:
also those of a folder.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image
from unit.worker.fakes import FULL
from unit.worker.slow_places import SLOWNESS, Slow, SlowCache

from fpj_core.errors import ErrorType
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.model import ImageLimits
from fpj_core.sources.local import LocalSourceConfig
from fpj_worker.pool import Outcome
from fpj_worker.tasks import ImageDone, ImageHandler, ImageTask, start_image_pool


def outcome(tmp_path: Path, limits: ImageLimits, **places: object) -> Outcome[ImageTask, ImageDone]:
    (tmp_path / "in").mkdir()
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 20, 20)).save(stream, "JPEG")
    (tmp_path / "in" / "a.jpg").write_bytes(stream.getvalue())
    source = places.get("source", LocalSourceConfig)(str(tmp_path / "in"))  # type: ignore[operator]
    folder = places.get("folder", LocalFolderConfig)(str(tmp_path / "out"))  # type: ignore[operator]
    handler = ImageHandler(source, folder, "photos", (FULL,), limits, "t")
    with start_image_pool(handler, 1) as pool:
        pool.submit(ImageTask(0, "0" * 32, "a.jpg", len(stream.getvalue()), ("full",)))
        deadline = time.monotonic() + 60
        while not (found := pool.poll(1)):
            assert time.monotonic() < deadline
    return found[0]


def test_slow_storage_is_not_counted_as_work(tmp_path: Path) -> None:
    limits = ImageLimits(timeout_seconds=SLOWNESS / 2)
    assert outcome(tmp_path, limits, source=Slow, folder=SlowCache).error is None


@pytest.mark.parametrize(
    ("places", "error_type"),
    [({"source": Slow}, ErrorType.FETCH_TIMEOUT), ({"folder": SlowCache}, ErrorType.WRITE_FAILED)],
)
def test_slow_storage_has_a_limit_of_its_own(
    tmp_path: Path, places: dict[str, object], error_type: ErrorType
) -> None:
    error = outcome(tmp_path, ImageLimits(fetch_timeout_seconds=SLOWNESS / 2), **places).error
    assert error
    assert (error.error_type, error.environment) == (error_type, True)
    assert error.error_type.transient
