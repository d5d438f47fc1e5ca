"""The dashboard as people use it: a real browser, the real API, and jobs that really run."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from api_process import ApiProcess
from apis import Place
from browser.conftest import Visiting, person
from chromium import Visit, visiting
from playwright.sync_api import Browser, Page, expect
from world import World, schedule_manifest, slowly

pytestmark = pytest.mark.timeout(300)

SCRIPT = "<img src=x onerror=document.title='broken-in'>"
ENDED = re.compile(r"Completed|Failed")


# Signing in ---------------------------------------------------------------------------------------


def test_a_token_that_nobody_knows(visit: Visit, tokens: dict[str, str]) -> None:
    page = visit.open("/jobs")
    page.get_by_label("Bearer token").fill("no-such-token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("token is invalid")
    visit.sign_in(tokens["fpj-view"], "/jobs")
    assert page.evaluate("Object.keys(localStorage).length") == 0
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0


def test_a_proxy_that_adds_the_token(visits: Visiting, tokens: dict[str, str]) -> None:
    with visits(extra_http_headers={"Authorization": f"Bearer {tokens['fpj-view']}"}) as visit:
        page = visit.open()
        expect(visit.live).to_have_text("Live")
        expect(page.get_by_role("heading", name="Background Jobs")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_a_token_that_ends(visit: Visit, world: World, process: ApiProcess) -> None:
    page = visit.sign_in(person(world, process, "fpj-view", "guest"))
    world.kube("delete", "serviceaccount", "guest")
    page.get_by_role("link", name="Cache Management").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("token")


def test_a_viewer_has_no_buttons(visit: Visit, tokens: dict[str, str], world: World) -> None:
    world.job("seen", "photos", suspend=True)
    page = visit.sign_in(tokens["fpj-view"])
    expect(visit.row("seen")).to_contain_text("Suspended")
    for name in ("New job", "Recover all"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.get_by_role("link", name="seen", exact=True).click()
    expect(page.get_by_text("Manifest", exact=True)).to_be_visible()
    for name in ("Suspend", "Resume", "Recover", "Cancel"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


# Jobs ---------------------------------------------------------------------------------------------


def test_a_manager_suspends_and_resumes(visit: Visit, tokens: dict[str, str], world: World) -> None:
    world.photos("many", 20)
    with slowly(world, 0.5):
        world.job("paused", "many", sharding={"shardSize": 5})
        world.wait_pod("paused")
        page = visit.sign_in(tokens["fpj-cache-manager"], f"/jobs/{world.namespace}/paused")
        page.get_by_role("button", name="Suspend").click()
        visit.confirm("Suspend")
        expect(page.locator(".job-title .pill")).to_have_text("Suspended")
    world.wait_phase("paused", "Suspended")
    assert world.get("paused")["spec"]["suspend"] is True
    expect(page.get_by_role("button", name="Suspend")).to_have_attribute("aria-disabled", "true")
    page.get_by_role("button", name="Resume").click()
    visit.confirm("Resume")
    expect(page.locator(".job-title .pill")).to_have_text("Completed", timeout=120_000)
    expect(page.locator(".hero")).to_contain_text("20 of 20 images")
    world.check_exact("paused", "many", completed=20)


def test_a_manager_makes_a_job_and_sees_it_run(
    visit: Visit, tokens: dict[str, str], world: World
) -> None:
    page = visit.sign_in(tokens["fpj-cache-manager"])
    page.get_by_role("button", name="New job").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Namespace").select_option(world.namespace)
    dialog.get_by_label("Name", exact=True).fill("Not_A_Name")
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Name", exact=True).fill("made-here")
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog.get_by_label("Claim", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Claim", exact=True).fill("photos")
    dialog.get_by_label("Thumbnails", exact=True).check()
    dialog.get_by_label("Parallelism").fill("2")
    manifest = dialog.get_by_label("Manifest", exact=True)
    expect(manifest).to_contain_text("claimName: photos")
    expect(manifest).to_contain_text("parallelism: 2")
    dialog.get_by_role("button", name="Create job").click()
    expect(page.get_by_role("heading", name="made-here")).to_be_visible()
    expect(page.locator(".job-title .pill")).to_have_text("Completed", timeout=120_000)
    expect(page.locator(".hero")).to_contain_text("6 of 6 images")
    world.check_exact("made-here", "photos", completed=6)
    page.get_by_role("link", name="Background Jobs").first.click()
    expect(visit.row("made-here")).to_contain_text("6 / 6")


def test_an_admin_cancels_several(visit: Visit, tokens: dict[str, str], world: World) -> None:
    names = ["cancel-1", "cancel-2"]
    for name in [*names, "cancel-not"]:
        world.job(name, "photos", suspend=True)
    page = visit.sign_in(tokens["fpj-admin"], "/jobs?search=cancel-")
    for name in names:
        expect(visit.row(name)).to_contain_text("Suspended")
        visit.row(name).get_by_role("checkbox").check()
    page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    dialog.get_by_role("button", name="Cancel 2 jobs").click()
    expect(dialog).to_contain_text("done for 2 of 2 jobs")
    dialog.get_by_role("button", name="Close").last.click()
    for name in names:
        expect(visit.row(name)).to_have_count(0)
    expect(visit.row("cancel-not")).to_be_visible()
    left = {
        job["metadata"]["name"]
        for job in world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1")
    }
    assert left.isdisjoint(names) and "cancel-not" in left


def test_a_manager_may_resume_several_at_once_but_not_cancel_them(
    visit: Visit, tokens: dict[str, str], world: World
) -> None:
    for name in ("pair-1", "pair-2"):
        world.job(name, "photos", suspend=True)
    page = visit.sign_in(tokens["fpj-cache-manager"], "/jobs?search=pair-")
    bar = page.get_by_role("region", name="Selected jobs")
    visit.row("pair-1").get_by_role("checkbox").check()
    expect(bar.get_by_role("button", name="Cancel")).to_have_attribute("aria-disabled", "false")
    visit.row("pair-2").get_by_role("checkbox").check()
    expect(bar.get_by_role("button", name="Cancel")).to_have_attribute("aria-disabled", "true")
    expect(bar).to_contain_text("Only administrators of")
    expect(bar).not_to_contain_text("deletecollection")
    bar.get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Resume 2 jobs").click()
    expect(dialog).to_contain_text("done for 2 of 2 jobs")
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("button", name="Recover all")).to_be_visible()


def test_failed_images_and_text_that_stays_text(
    visit: Visit, tokens: dict[str, str], world: World
) -> None:
    folder = world.photos("damaged", 3)
    (folder / f"{SCRIPT}.jpg").write_bytes(b"\xff\xd8\xff not an image")
    world.job("damaged", "damaged")
    page = visit.sign_in(tokens["fpj-admin"], f"/jobs/{world.namespace}/damaged")
    expect(page.locator(".job-title .pill")).to_have_text("Completed with errors", timeout=120_000)
    table = page.get_by_role("table", name="Failed images")
    expect(table).to_contain_text(f"{SCRIPT}.jpg")
    expect(page.get_by_label("Error type").locator("option")).to_have_count(2)
    expect(page.locator("main img")).to_have_count(0)
    expect(page).to_have_title("damaged · fpj")
    patch = [{"op": "add", "path": "/status/conditions/0/message", "value": SCRIPT}]
    world.kube(
        "patch",
        "fpj",
        "damaged",
        "--subresource=status",
        "--type=json",
        "--patch",
        json.dumps(patch),
    )
    expect(page.get_by_role("region", name="Conditions")).to_contain_text(SCRIPT)
    expect(page.locator("main img")).to_have_count(0)
    expect(page).to_have_title("damaged · fpj")


def test_filters_are_in_the_address(visit: Visit, tokens: dict[str, str], world: World) -> None:
    for name in ("find-1", "find-2", "other-1"):
        world.job(name, "photos", suspend=True)
    page = visit.sign_in(tokens["fpj-view"])
    page.get_by_label("Search jobs").fill("find-")
    expect(visit.row("other-1")).to_have_count(0)
    expect(visit.row("find-2")).to_be_visible()
    chips = page.get_by_role("group", name="Phases")
    chips.get_by_role("button", name="Suspended").click()
    expect(page).to_have_url(re.compile(r"phase=Suspended&search=find-$"))
    page.reload()
    expect(chips.get_by_role("button", name="Suspended")).to_have_attribute("aria-pressed", "true")
    expect(visit.row("find-1")).to_be_visible()
    expect(visit.row("other-1")).to_have_count(0)
    page.get_by_label("Search jobs").fill("nothing-of-the-kind")
    page.get_by_role("button", name="Show all jobs").click()
    expect(visit.row("other-1")).to_be_visible()


def test_what_goes_wrong_is_told(visit: Visit, tokens: dict[str, str]) -> None:
    problem = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the store is away",
    }
    answers = [{"status": 503, "json": problem, "content_type": "application/problem+json"}]
    visit.page.route(
        re.compile(r"/api/v1/cache/folders"),
        lambda route: route.fulfill(**answers[0]) if answers else route.continue_(),
    )
    page = visit.sign_in(tokens["fpj-view"], "/caches")
    failure = page.get_by_role("region", name="Cache folders").get_by_role("alert")
    expect(failure).to_contain_text("the store is away")
    answers.clear()
    failure.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="cache")).to_be_visible()


def test_an_empty_list_teaches(visit: Visit, tokens: dict[str, str]) -> None:
    nothing: dict[str, Any] = {"items": [], "next": None, "counts": {}}
    visit.page.route(re.compile(r"/api/v1/jobs\?"), lambda route: route.fulfill(json=nothing))
    page = visit.sign_in(tokens["fpj-cache-manager"])
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    expect(page.get_by_label("manifest", exact=True)).to_contain_text("kind: FileProcessingJob")


def test_an_address_that_leads_nowhere(visit: Visit, tokens: dict[str, str], world: World) -> None:
    page = visit.sign_in(tokens["fpj-view"], f"/jobs/{world.namespace}/no-such-job")
    expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
    page.get_by_role("link", name="All jobs").click()
    expect(page.get_by_role("heading", name="Background Jobs")).to_be_visible()


# Live ---------------------------------------------------------------------------------------------


def test_the_api_goes_and_comes_back(
    browser: Browser, place: Place, tokens: dict[str, str], world: World
) -> None:
    with (
        place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as process,
        visiting(browser, process.url) as visit,
    ):
        visit.sign_in(tokens["fpj-view"])
        process.stop()
        expect(visit.live).to_have_text("Reconnecting")
        world.job("meanwhile", "photos", suspend=True)  # what nobody could tell the page
        process.start()
        expect(visit.live).to_have_text("Live", timeout=90_000)
        expect(visit.row("meanwhile")).to_be_visible()
        world.job("afterwards", "photos", suspend=True)
        expect(visit.row("afterwards")).to_be_visible()
        world.kube("delete", "fpj", "afterwards")
        expect(visit.row("afterwards")).to_have_count(0)


def test_rows_change_in_place(visit: Visit, tokens: dict[str, str], world: World) -> None:
    world.job("steady", "photos", suspend=True)
    page = visit.sign_in(tokens["fpj-view"])
    expect(visit.row("steady")).to_contain_text("Suspended")
    visit.row("steady").get_by_role("link").focus()
    row = visit.row("steady").element_handle()
    world.job("newer", "photos", suspend=True)
    expect(visit.row("newer")).to_be_visible()
    world.patch("steady", suspend=False)
    expect(visit.row("steady")).to_contain_text(ENDED, timeout=120_000)
    assert row.evaluate("element => element.isConnected")
    assert page.evaluate("document.activeElement.textContent") == "steady"


# Caches, small windows, the keyboard --------------------------------------------------------------


def test_caches(visit: Visit, tokens: dict[str, str], world: World) -> None:
    world.job("filled", "photos", collection="album")
    world.wait_end("filled")
    world.kube("wait", "--for=condition=Ready", "cachefolder/cache", "--timeout=90s")
    world.apply(schedule_manifest("nightly", schedule="0 3 1 1 *", timeZone="Europe/Berlin"))
    page = visit.sign_in(tokens["fpj-view"], "/caches")
    folder = page.get_by_role("article", name="cache")
    expect(folder).to_contain_text("of 1.1 GB")
    expect(folder).to_contain_text("Least recently used first")
    for condition in ("Ready", "Drifted", "Unreachable"):
        said = folder.get_by_role("listitem").filter(has_text=condition).locator(".pill")
        expect(said).to_have_class("pill tone-good")
    expect(
        page.get_by_role("region", name="Collections").get_by_role("row").filter(has_text="album")
    ).to_contain_text("6 ·")
    schedules = (
        page.get_by_role("region", name="Schedules").get_by_role("row").filter(has_text="nightly")
    )
    expect(schedules.first).to_contain_text("Europe/Berlin")


@pytest.mark.parametrize("path", ["/jobs", "/caches", "/jobs/{namespace}/narrow"])
def test_nothing_is_wider_than_a_phone(
    visits: Visiting, tokens: dict[str, str], world: World, path: str
) -> None:
    world.job("narrow", "photos", suspend=True)
    with visits(viewport={"width": 390, "height": 844}, color_scheme="dark") as visit:
        page = visit.sign_in(tokens["fpj-admin"], path.format(namespace=world.namespace))
        expect(page.locator(".skeleton")).to_have_count(0)
        expect(page.locator("main h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_alone(visit: Visit, tokens: dict[str, str]) -> None:
    page = visit.sign_in(tokens["fpj-admin"])
    button = page.get_by_role("button", name="New job")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    page.get_by_role("link", name="Cache Management").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cache Management")).to_be_visible()
    assert unnamed(page) == []


def unnamed(page: Page) -> list[Any]:
    """Controls without a name that a screen reader could say."""
    script = """() => [...document.querySelectorAll('button, input, select, a[href]')]
        .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))
        .map(e => e.outerHTML)"""
    return list(page.evaluate(script))
