"""A cache folder looked after on its page, on a real control plane: files really go, and the page
says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.conftest import Visiting
from chromium import Visit
from playwright.sync_api import Page, expect
from pymongo import MongoClient
from world import World

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def page_of(world: World) -> str:
    """Address of the page of a folder that holds two collections and is checked."""
    for name in ("album", "attic"):
        world.job(name, "photos", collection=name, jobType="Thumbnail")
        world.wait_end(name)
    world.cache_folder(maxBytes="1Gi", policy={"ttl": 3600, "ttlSince": "Creation"})
    world.until(lambda: _ended(world), "the folder is checked as it is now")
    return f"/caches/{world.namespace}/cache"


def _document(world: World) -> dict[str, Any]:
    found = world.runner.api.get(world.path("cache", "cachefolders"))
    assert found
    return found


def _ended(world: World) -> bool:
    found = _document(world)
    run = (found.get("status") or {}).get("run") or {}
    return bool(run.get("endTime")) and run["generation"] == found["metadata"]["generation"]


@pytest.fixture
def tables(mongodb_server: str, world: World) -> Iterator[Any]:
    """The store's database, to make records old with."""
    client: MongoClient[Any] = MongoClient(mongodb_server)
    yield client[world.namespace.replace("-", "_")]
    client.close()


def files(world: World) -> set[Path]:
    return {path for path in world.out.rglob("*.jpg") if path.is_file()}


def button(page: Page, name: str) -> Any:
    return page.locator(".title-row").get_by_role("button", name=name)


def test_a_manager_cleans_up_what_is_listed_and_nothing_else(
    visit: Visit, tokens: dict[str, str], world: World, page_of: str, tables: Any
) -> None:
    before = files(world)
    collection = f"{world.namespace}.attic"
    tables.derivatives.update_many({"collection": collection}, {"$set": {"created_at": 1.0}})
    page = visit.sign_in(tokens["fpj-cache-manager"], page_of)
    expect(page.get_by_role("table", name="Bytes by collection")).to_contain_text("attic")
    button(page, "Clean up…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Removes 6 files")
    expect(dialog.get_by_role("table", name="By reason")).to_contain_text("Expired")
    rows = dialog.get_by_role("table", name="Files to remove").get_by_role("row")
    expect(rows).to_have_count(7)
    expect(rows.nth(1)).to_contain_text("attic")
    assert files(world) == before
    dialog.get_by_role("button", name="Remove 6 files").click()
    said = page.get_by_role("region", name="Last eviction")
    expect(said).to_contain_text("6 files", timeout=120_000)
    expect(page.locator(".job-title .pill")).to_have_text("Idle")
    left = files(world)
    assert len(before) == 12 and len(left) == 6
    assert all(collection not in path.as_posix() for path in left)
    changed_by = _document(world)["metadata"]["annotations"]["fpj.dev/changed-by"]
    assert changed_by.endswith(":fpj-cache-manager")


def test_an_admin_purges_an_image(
    visit: Visit, tokens: dict[str, str], world: World, page_of: str
) -> None:
    before = files(world)
    page = visit.sign_in(tokens["fpj-admin"], page_of)
    button(page, "Purge…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Collection", exact=True).fill("album")
    dialog.get_by_label("Images", exact=True).fill("0005.jpg")
    dialog.get_by_role("button", name="Show what goes").click()
    dialog.get_by_role("button", name="Purge 1 file").click()
    expect(dialog).to_contain_text("Purged 1 file", timeout=120_000)
    expect(dialog.get_by_role("table", name="Receipt")).to_contain_text("0005.jpg")
    assert len(files(world)) == len(before) - 1


def test_a_manager_verifies(
    visit: Visit, tokens: dict[str, str], world: World, page_of: str
) -> None:
    lost = min(files(world))
    lost.unlink()
    page = visit.sign_in(tokens["fpj-cache-manager"], page_of)
    button(page, "Verify").click()
    visit.confirm("Verify")
    said = page.get_by_role("region", name="Last verification")
    expect(said).to_contain_text("1 differ", timeout=120_000)
    expect(said).to_contain_text(lost.name)


def test_each_right_has_its_buttons(visits: Visiting, tokens: dict[str, str], page_of: str) -> None:
    all_but_purge = ["Clean up…", "Verify", "Repair…", "Edit policy…"]
    expected = {
        "fpj-view": [],
        "fpj-cache-manager": all_but_purge,
        "fpj-admin": [*all_but_purge, "Purge…"],
    }
    for role, names in expected.items():
        with visits() as visit:
            page = visit.sign_in(tokens[role], page_of)
            expect(page.get_by_role("table", name="Bytes by tier")).to_be_visible()
            assert page.locator(".title-row").get_by_role("button").all_inner_texts() == names
