"""Generating for many collections on the page: chosen, planned, made, followed, cancelled."""

from __future__ import annotations

import re

import pytest
from chromium import Visit
from playwright.sync_api import Locator, Page, expect
from world import World, slowly

pytestmark = pytest.mark.timeout(600)

BULK = re.compile(r"bulk-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def albums(world: World) -> tuple[str, ...]:
    """Collections of which only thumbnails were made."""
    names = ("album-1", "album-2", "album-3")
    for name in names:
        world.job(name, "photos", collection=name, jobType="Thumbnail")
    for name in names:
        world.wait_end(name)
    return names


def choose(page: Page, world: World, *names: str) -> Locator:
    """The bar that appears once they are chosen."""
    for name in names:
        page.get_by_label(f"Select {name} in {world.namespace}", exact=True).check()
    return page.get_by_role("region", name="Selected collections")


def made_by(world: World, operation: str) -> list[str]:
    found = world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1")
    return sorted(
        each["metadata"]["name"]
        for each in found
        if (each["metadata"].get("labels") or {}).get("fpj.dev/bulk") == operation
    )


def test_jobs_for_the_chosen_collections(
    visit: Visit, tokens: dict[str, str], world: World, albums: tuple[str, ...]
) -> None:
    page = visit.sign_in(tokens["fpj-admin"], "/caches")
    bar = choose(page, world, "album-1", "album-2")
    expect(bar).to_contain_text("2 collections selected")
    bar.get_by_role("button", name="Generate…").click()
    dialog = page.get_by_role("dialog")
    plan = dialog.get_by_role("list", name="Collections")
    expect(plan.get_by_role("listitem")).to_have_count(2)
    expect(plan).to_contain_text("Copied from FileProcessingJob album-1.")
    expect(plan).to_contain_text("usual cache size")
    dialog.get_by_label("Thumbnails", exact=True).check()
    expect(plan).not_to_contain_text("usual cache size")
    dialog.get_by_label("Cache images", exact=True).check()
    expect(plan).to_contain_text("usual cache size")
    dialog.get_by_role("button", name="Generate 2 jobs").click()
    expect(dialog).to_contain_text("2 of 2 jobs finished", timeout=120_000)
    expect(dialog).to_contain_text("12 of 12 images")
    expect(dialog.get_by_role("button", name="Cancel unfinished jobs")).to_be_disabled()
    dialog.get_by_role("link", name="Show these jobs").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    operation = BULK.search(page.url)
    assert operation
    names = made_by(world, operation[0])
    assert names == [f"album-1-{operation[0]}", f"album-2-{operation[0]}"]
    for name in names:
        expect(visit.row(name)).to_contain_text("6 / 6")
        spec = world.get(name)["spec"]
        assert spec["jobType"] == "Cache" and spec["collection"]["source"]


def test_all_can_be_cancelled(
    visit: Visit, tokens: dict[str, str], world: World, albums: tuple[str, ...]
) -> None:
    with slowly(world, 5):
        page = visit.sign_in(tokens["fpj-admin"], "/caches")
        bar = choose(page, world, *albums)
        bar.get_by_role("button", name="Generate…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Make again what is up to date, too").check()
        dialog.get_by_role("button", name="Generate 3 jobs").click()
        expect(dialog).to_contain_text("0 of 3 jobs finished")
        shown = dialog.get_by_role("link", name="Show these jobs").get_attribute("href")
        operation = BULK.search(shown or "")
        assert operation
        for name in made_by(world, operation[0]):
            world.wait_pod(name)
        dialog.get_by_role("button", name="Cancel unfinished jobs").click()
        expect(dialog).to_contain_text("All jobs are cancelled", timeout=60_000)
        assert made_by(world, operation[0]) == []


def test_what_stands_in_the_way_is_reported(
    visit: Visit, tokens: dict[str, str], world: World
) -> None:
    """Files are there of a collection whose job was deleted: nothing says where its images are."""
    world.job("forgotten", "photos", collection="forgotten")
    world.wait_end("forgotten")
    world.kube("delete", "fpj", "forgotten")
    page = visit.sign_in(tokens["fpj-cache-manager"], "/caches")
    bar = choose(page, world, "forgotten")
    bar.get_by_role("button", name="Generate…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("nothing says where its images are")
    expect(dialog.get_by_role("button", name="Generate 0 jobs")).to_be_disabled()
    dialog.get_by_role("button", name="Go back").click()
    bar.get_by_role("button", name="Clear selection").click()
    expect(bar).to_have_count(0)


def test_whoever_may_not_create_jobs_chooses_nothing(
    visit: Visit, tokens: dict[str, str], albums: tuple[str, ...]
) -> None:
    page = visit.sign_in(tokens["fpj-view"], "/caches")
    expect(page.get_by_role("link", name="album-1", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)
