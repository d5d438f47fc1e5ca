"""Makes the pictures of the dashboard, docs/images/dashboard-jobs.png, dashboard-job.png and
dashboard-generate.png, from a real run.

A control plane, the operator, workers, the store and the API run as in the tests; what a browser
shows of jobs in several phases is kept as it is. Run: .venv/bin/python
hack/make_dashboard_pictures.py
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from make_pictures import IMAGES, ROOT
from PIL import Image

sys.path.insert(0, str(ROOT / "tests"))  # before hack, which has a cluster.py too

from accounts import account, grant, token
from apis import place_in
from chromium import Visit, browser_path, chromium, visiting
from e2e.conftest import photo
from mongodb_server import free_port, start_server
from playwright.sync_api import Page, expect
from waiting import end, wait_for
from world import World, slowly

from fpj_cluster import Cluster

NAMESPACE = "gallery"
WIDTH = 1440
JOBS_HEIGHT, JOB_HEIGHT, GENERATE_HEIGHT = 660, 1010, 720
SLOWNESS = 0.5
LARGE = "120Ki"


def collection(world: World, name: str, rooms: int, broken: int = 0, large: int = 0) -> None:
    """A claim with ten photographs a room, of which the first are broken or too large."""
    folder = world.folder / name
    for number in range(rooms * 10):
        room = folder / f"room-{number // 10 + 1:02}"
        room.mkdir(parents=True, exist_ok=True)
        if number < broken:
            content = photo(number, 320, 240)[:2_000]
        else:
            content = photo(number, *((1600, 1200) if number < broken + large else (320, 240)))
        (room / f"IMG_{4000 + number * 7}.jpg").write_bytes(content)
    world.runner.claim(world.namespace, name, folder)


def run_jobs(world: World) -> None:
    """Jobs in every phase that one is likely to meet; some are still active."""
    for name, rooms, broken, large in (
        ("press", 3, 0, 0),
        ("summer", 2, 2, 0),
        ("maps", 3, 4, 0),
        ("portraits", 14, 5, 3),
        ("museum", 24, 0, 0),
        ("herbarium", 12, 0, 0),
    ):
        collection(world, name, rooms, broken, large)
    world.job("press-archive", "press", jobType="Both")
    world.job("summer-2026", "summer")
    world.job(
        "maps-18th-century", "maps", maxFailedImages=1, sharding={"shardSize": 10, "batchSize": 1}
    )
    world.wait_end("press-archive", "Completed")
    world.wait_end("summer-2026", "CompletedWithErrors")
    world.wait_end("maps-18th-century", "Failed")
    world.job("press-thumbnails", "press", collection="press-archive")
    with slowly(world, SLOWNESS):
        work = {"shardSize": 20, "batchSize": 4}
        world.job("herbarium", "herbarium", sharding=work)
        wait_for(lambda: progress(world, "herbarium") > 20, "the herbarium has started")
        world.patch("herbarium", suspend=True)
        world.wait_phase("herbarium", "Suspended")
        world.job("museum-paintings", "museum", jobType="Both", sharding=work, priority=10)
        world.wait_phase("museum-paintings", "Running")
        world.job("museum-thumbnails", "museum", collection="museum-paintings")
        world.job("portraits", "portraits", sharding=work, limits={"maxFileSize": LARGE})
        wait_for(lambda: progress(world, "portraits") > 40, "the portraits are well under way", 120)
        wait_for(
            lambda: world.status("portraits")["progress"].get("etaSeconds"), "a rate is known", 60
        )


def progress(world: World, name: str) -> int:
    """Images made so far."""
    return int(world.status(name).get("progress", {}).get("completed", 0))


def take(page: Page, name: str) -> None:
    """Keep what the window shows, in as many colours as it has use for."""
    page.mouse.move(0, 0)
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def pictures(visit: Visit, bearer: str) -> None:
    """The list, and the job that has most to tell."""
    page = visit.sign_in(bearer)
    expect(page.locator("tr[data-job]")).to_have_count(8)
    expect(page.locator(".chip").filter(has_text="Running")).to_contain_text("2")
    take(page, "dashboard-jobs.png")
    page.get_by_role("link", name="portraits", exact=True).click()
    expect(page.get_by_role("table", name="Failed images")).to_contain_text("TooLarge")
    page.set_viewport_size({"width": WIDTH, "height": JOB_HEIGHT})
    take(page, "dashboard-job.png")
    page.get_by_role("link", name="Cache Management").click()
    for name in ("press-archive", "summer-2026"):
        page.get_by_label(f"Select {name} in {NAMESPACE}", exact=True).check()
    page.get_by_role("button", name="Generate…").click()
    plan = page.get_by_role("dialog").get_by_role("list", name="Collections")
    expect(plan.get_by_role("listitem")).to_have_count(2)
    page.set_viewport_size({"width": WIDTH, "height": GENERATE_HEIGHT})
    take(page, "dashboard-generate.png")


@contextmanager
def everything(scratch: Path) -> Iterator[tuple[World, str, str]]:
    """A world with an operator, the address of an API over it, and an administrator's token."""
    with ExitStack() as stack:
        cluster = Cluster(scratch / "cluster")
        cluster.up()
        stack.callback(cluster.down)
        port = free_port()
        stack.callback(end, start_server(scratch / "mongodb", port))
        mongodb = f"mongodb://127.0.0.1:{port}"
        cluster.kube("create", "namespace", NAMESPACE)
        cluster.kube.wait("create", "serviceaccount/default", "--namespace", NAMESPACE)
        world = stack.enter_context(World(cluster, NAMESPACE, mongodb, scratch / "world"))
        world.cache_folder(maxBytes="1Gi")
        world.operator()
        place = stack.enter_context(place_in(cluster, mongodb, scratch / "place"))
        place.store_url, place.one = world.store_url, NAMESPACE
        process = stack.enter_context(place.serving())
        user = account(world.kube, NAMESPACE, "curator")
        grant(world.kube, "fpj-admin", user, None, NAMESPACE)
        yield world, process.url, token(world.kube, user)


def main() -> None:
    """Run everything, look, keep."""
    path, missing = browser_path()
    if missing:
        sys.exit(missing)
    size = {"width": WIDTH, "height": JOBS_HEIGHT}
    with (
        tempfile.TemporaryDirectory(prefix="fpj-pictures-") as scratch,
        everything(Path(scratch)) as (world, url, bearer),
    ):
        run_jobs(world)
        with chromium(path) as browser, visiting(browser, url, viewport=size) as visit:
            pictures(visit, bearer)


if __name__ == "__main__":
    main()
