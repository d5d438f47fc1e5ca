"""The gallery of docs/guide/gallery.md: made by the page's own commands, served,
and looked at in a browser.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import BOUND_MS
from PIL import Image
from planes import ROOT
from playwright.sync_api import Browser, Page, Route

NAMES = {
    "wide.jpg": (1_500, 900),
    "2019/Ä, b & 'c' (1)#.jpg": (900, 1_500),
    "a/small.png": (200, 150),
}
LOADED = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
SOURCES = (
    "[...document.images].map(image => [image.alt, new"
    " URL(image.currentSrc).pathname.split('/')[2]])"
)
BOXES = """[...document.images].map(image => {
  const box = image.getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
})"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's first two commands were run."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "examples").symlink_to(ROOT / "examples")
    for number, (name, size) in enumerate(NAMES.items()):
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).resize(size, Image.Resampling.BICUBIC).save(path)
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    made, exported, _ = commands()
    assert (
        subprocess.run(
            ["bash", "-c", f"{made} -q"], cwd=folder, env=environment(folder), check=False
        ).returncode
        == 1
    )
    subprocess.run(["bash", "-ec", exported], cwd=folder, env=environment(folder), check=True)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The page's third command, on a free port of this machine alone."""
    command = shlex.split(commands()[2].replace(" 8000", " --bind 127.0.0.1 0"))
    options: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
        "text": True,
    }
    with subprocess.Popen([sys.executable, "-u", *command[1:]], cwd=folder, **options) as server:
        try:
            assert server.stdout
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found
            yield f"http://127.0.0.1:{found[1]}/"
        finally:
            server.terminate()


def picture(seed: int) -> Image.Image:
    """Six colours."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (2, 3, 3), np.uint8))


def commands() -> list[str]:
    (block,) = re.findall(
        r"```console\n(.*?)```", (ROOT / "docs" / "guide" / "gallery.md").read_text(), re.DOTALL
    )
    return [line.removeprefix("$ ") for line in block.splitlines()]


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return os.environ | {"PATH": path, "FPJ_STORE": str(folder / "fpj.db")}


def opened(browser: Browser, width: int, density: float) -> Page:
    page = browser.new_context(
        viewport={"width": width, "height": 2_000}, device_scale_factor=density
    ).new_page()
    page.set_default_timeout(BOUND_MS)
    return page


@pytest.mark.parametrize(
    ("width", "density", "wide"),
    [(240, 1, "thumbnail"), (1_200, 1, "medium"), (1_200, 3, "full"), (300, 3, "medium")],
)
def test_each_screen_gets_the_size_that_it_needs(
    browser: Browser, url: str, width: int, density: float, wide: str
) -> None:
    page = opened(browser, width, density)
    refused: list[str] = []
    page.on(
        "response",
        lambda response: refused.append(response.url) if response.status >= 400 else None,
    )
    page.goto(url)
    page.wait_for_function(LOADED)
    chosen = dict(page.evaluate(SOURCES))
    assert chosen.keys() == set(NAMES), "all but the broken one"
    assert chosen["wide.jpg"] == wide
    assert [each for each in refused if not each.endswith("favicon.ico")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


def test_before_a_picture_is_there_its_likeness_is_and_nothing_moves(
    browser: Browser, url: str
) -> None:
    page = opened(browser, 1_200, 1)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/images/**", hold)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_function("document.images.length == 3")
    while len(held) < 3:
        page.wait_for_timeout(20)
    boxes, before = page.evaluate(BOXES), pixels(page)
    assert not page.evaluate("[...document.images].some(image => image.naturalWidth)")
    for route in held:
        route.continue_()
    page.wait_for_function(LOADED)
    after = pixels(page)
    assert page.evaluate(BOXES) == boxes
    for x, y, width, height in boxes:
        part = np.s_[int(y) + 1 : int(y + height) - 1, int(x) + 1 : int(x + width) - 1]
        placeholder, picture = before[part], after[part]
        likeness = np.abs(placeholder - picture).mean()
        assert likeness < 30
        assert likeness < 0.7 * min(
            np.abs(placeholder - picture[::-1]).mean(),
            np.abs(placeholder - picture[:, ::-1]).mean(),
        )
    page.context.close()


def pixels(page: Page) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), np.float64)
