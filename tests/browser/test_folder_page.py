"""The page of a cache folder in a browser: what it shows, what each person may ask for, and what is
asked for then. The API and its store are real; of the cluster only what the API sends is looked at.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
import yaml
from browser.test_dashboard import unnamed
from chromium import Visit, visiting
from playwright.sync_api import Browser, Locator, Page, expect
from typing_extensions import override
from unit.api.clusters import Document, FakeCluster, job, listed
from unit.api.test_folders import Shelf, put
from waiting import wait_for

from fpj_api.table import held_of
from fpj_core.kube.jobresource import JobResource
from fpj_core.store import open_store

pytestmark = pytest.mark.timeout(300)

AT = "/caches/team/cache"
ROLES: dict[str, Callable[[str, str], bool]] = {
    "viewer": lambda verb, _: verb in ("get", "list", "watch"),
    "manager": lambda verb, resource: verb in ("get", "list", "watch") or resource != "cachepurges",
    "admin": lambda _verb, _resource: True,
}


class Recording(FakeCluster):
    """Keeps what is written, as an API server does."""

    @override
    async def merge(self, kind: str, namespace: str, name: str, change: Document) -> Document:
        await super().merge(kind, namespace, name, change)
        found = self.objects[kind, namespace, name]
        _merge(found, {key: value for key, value in change.items() if key != "status"})
        return found

    @override
    async def page(self, kind: str, namespace: str | None, **options: Any) -> Document:
        if options.get("fields") or options.get("labels"):
            return listed(1)
        return listed(1, *(each for (of, *_), each in self.objects.items() if of == kind))


def _merge(into: Document, change: Document) -> None:
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


class Served(Shelf):
    """The application at a port, with somebody of each role."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.cluster.__class__ = Recording
        for role in ROLES:
            self.cluster.users[role] = {"authenticated": True, "user": {"username": role}}
        self.cluster.rule = self._may
        self.fill()

    @staticmethod
    def _may(spec: Document) -> bool:
        asked = spec["resourceAttributes"]
        return ROLES[spec["user"]](asked["verb"], asked["resource"])

    @property
    def folder(self) -> Document:
        return self.cluster.objects["CacheFolder", "team", "cache"]

    def asked(self, operation: str) -> str:
        annotations = self.folder["metadata"].get("annotations") or {}
        return str(annotations.get(f"fpj.dev/{operation}-requested-at", ""))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    store = open_store(str(tmp_path / "fpj.db"))
    put(store, "team.photos", 120)
    put(store, "team.scans", 4, "thumbnail")
    site = Served(store)
    site.set(maxBytes="100k", policy={"eviction": "LRU", "minimumAgeSeconds": 5})
    site.backend.watched.table.replace(None, [held_of(JobResource(job("a", 1)))])
    site.folder["status"] = {
        "totalFiles": 124,
        "totalBytes": 124_000,
        "tiers": [
            {"name": "full", "files": 120, "bytes": 120_000},
            {"name": "thumbnail", "files": 4, "bytes": 4_000},
        ],
        "collections": [
            {"name": "team.photos", "files": 120, "bytes": 120_000},
            {"name": "team.scans", "files": 4, "bytes": 4_000},
        ],
        "run": {"number": 3, "cause": "New", "startTime": "2026-01-02T03:04:05Z"}
        | {"endTime": "2026-01-02T03:05:05Z", "result": "Short", "failures": 1},
        "lastEviction": {"files": 7, "bytes": 7_000, "byReason": {"Expired": 7}},
    }
    yield site
    store.close()


@pytest.fixture
def url(site: Served) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(site.app, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        wait_for(lambda: server.started, "the API is served", 30)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = server.force_exit = True
        thread.join(30)


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    with visiting(browser, url) as visit:
        yield visit


def button(page: Page, name: str) -> Locator:
    return page.locator(".title-row").get_by_role("button", name=name)


def pill(page: Page) -> Locator:
    return page.locator(".job-title .pill")


# What is shown ------------------------------------------------------------------------------------


def test_what_a_folder_holds(visit: Visit) -> None:
    page = visit.sign_in("viewer", "/caches")
    page.get_by_role("article", name="cache").get_by_role("link", name="cache").click()
    expect(page).to_have_title("cache · fpj")
    expect(page.locator("main")).to_contain_text("124 kB of 100 kB, 124%")
    expect(page.get_by_role("img", name="Eviction begins at 90%")).to_be_visible()
    expect(page.get_by_role("img", name="Eviction ends at 80%")).to_be_visible()
    tiers = page.get_by_role("table", name="Bytes by tier")
    expect(tiers.get_by_role("row").nth(1)).to_contain_text("120 kB")
    expect(page.get_by_role("table", name="Bytes by collection")).to_contain_text("scans")
    expect(page.get_by_role("region", name="Last eviction")).to_contain_text("Expired")
    expect(page.get_by_role("region", name="Latest run")).to_contain_text("Short")
    expect(page.get_by_role("region", name="Last verification")).to_contain_text("not been")
    expect(page.get_by_role("link", name="Cache Management").first).to_have_attribute(
        "aria-current", "page"
    )
    assert unnamed(page) == []


def test_a_run_is_followed_while_it_is_active(visit: Visit, site: Served) -> None:
    page = visit.sign_in("manager", AT)
    button(page, "Verify").click()
    visit.confirm("Verify")
    expect(pill(page)).to_have_text("Verification requested")
    run = site.folder["status"]["run"]
    site.folder["status"]["run"] = {**run, "number": 4, "operation": "Verify", "endTime": None}
    site.folder["status"]["run"]["verifyRequestedBy"] = site.asked("verify")
    expect(pill(page)).to_have_text("Verifying")
    site.folder["status"]["run"] |= {"endTime": "2026-01-02T04:00:00Z", "result": "Succeeded"}
    site.folder["status"]["lastVerification"] = {"compared": 120, "missing": 4, "names": ["a/b"]}
    expect(pill(page)).to_have_text("Idle")
    found = page.get_by_role("region", name="Last verification")
    expect(found).to_contain_text("4 differ")
    expect(found).to_contain_text("a/b")


def test_a_folder_that_is_not_there(visit: Visit, site: Served) -> None:
    page = visit.sign_in("manager", "/caches/team/none")
    expect(page.get_by_role("heading", name="There is no such cache folder")).to_be_visible()
    page.get_by_role("link", name="All cache folders").click()
    expect(page.get_by_role("heading", name="Cache Management")).to_be_visible()


# Who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("viewer", []),
        ("manager", ["Clean up…", "Verify", "Repair…", "Edit policy…"]),
        ("admin", ["Clean up…", "Verify", "Repair…", "Edit policy…", "Purge…"]),
    ],
)
def test_who_has_which_buttons(visit: Visit, role: str, names: list[str]) -> None:
    page = visit.sign_in(role, AT)
    expect(page.get_by_role("table", name="Bytes by tier")).to_be_visible()
    assert page.locator(".title-row").get_by_role("button").all_inner_texts() == names


def test_a_button_that_cannot_be_used_says_why(visit: Visit, site: Served) -> None:
    site.set()["status"] = {}
    page = visit.sign_in("manager", AT)
    clean = button(page, "Clean up…")
    expect(clean).to_have_attribute("aria-disabled", "true")
    expect(clean).to_have_accessible_description(re.compile("neither a limit nor a policy"))
    expect(page.get_by_text("Clean up: The folder has neither")).to_be_visible()
    clean.click(force=True)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button(page, "Verify")).to_have_attribute("aria-disabled", "false")


# Cleaning up --------------------------------------------------------------------------------------


def test_a_clean_up_is_shown_before_it_is_asked_for(visit: Visit, site: Served) -> None:
    page = visit.sign_in("manager", AT)
    button(page, "Clean up…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Removes 44 files, 44 kB of 124 kB; 80 kB stay.")
    expect(dialog.get_by_role("table", name="By reason")).to_contain_text(
        re.compile("Over the folder's limit.*44")
    )
    expect(dialog.get_by_role("table", name="By collection").get_by_role("row")).to_have_count(3)
    files = dialog.get_by_role("table", name="Files to remove")
    expect(files.get_by_role("row")).to_have_count(45)
    expect(files.get_by_role("row").nth(1)).to_contain_text("p0.jpg")
    dialog.get_by_role("button", name="Go back").click()
    assert site.asked("cleanup") == ""
    expect(button(page, "Clean up…")).to_be_focused()
    button(page, "Clean up…").click()
    visit.confirm("Remove 44 files")
    expect(page.get_by_text("The clean-up of cache is requested.")).to_be_visible()
    expect(pill(page)).to_have_text("Clean-up requested")
    assert site.asked("cleanup").endswith("Z")
    expect(button(page, "Clean up…")).to_have_attribute("aria-disabled", "true")


def test_a_clean_up_of_a_folder_that_is_too_large_is_unseen(
    visit: Visit, site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpj_api.dryruns.MOST_FILES", 100)
    page = visit.sign_in("manager", AT)
    button(page, "Clean up…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("fpj cleanup --dry-run")
    assert site.asked("cleanup") == ""
    dialog.get_by_role("button", name="Clean up unseen").click()
    expect(pill(page)).to_have_text("Clean-up requested")


def test_what_a_clean_up_cannot_do(visit: Visit, site: Served) -> None:
    site.set(policy={"ttl": 60})["status"] = {}
    page = visit.sign_in("manager", AT)
    button(page, "Clean up…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing is to be removed now")
    expect(dialog.get_by_role("button", name="Nothing to remove")).to_be_disabled()


def test_a_repair_is_confirmed(visit: Visit, site: Served) -> None:
    page = visit.sign_in("manager", AT)
    button(page, "Repair…").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Go back")).to_be_focused()
    page.keyboard.press("Escape")
    assert site.asked("repair") == ""
    button(page, "Repair…").click()
    visit.confirm("Repair")
    expect(pill(page)).to_have_text("Repair requested")
    assert site.asked("repair")


# The policy ---------------------------------------------------------------------------------------


def test_a_policy_is_edited(visit: Visit, site: Served) -> None:
    page = visit.sign_in("manager", AT)
    button(page, "Edit policy…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Limit (maxBytes)")).to_have_value("100k")
    dialog.get_by_label("Eviction begins at").fill("70")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("lowWatermark must be below highWatermark")
    dialog.get_by_label("Eviction ends at").fill("60")
    dialog.get_by_label("Limit (maxBytes)").fill("2 Gi")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Limit (maxBytes)")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Limit (maxBytes)").fill("2Gi")
    dialog.get_by_label("What goes first").select_option("")
    shown = yaml.safe_load(dialog.get_by_label("Manifest", exact=True).inner_text())
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("124 kB of 2.1 GB")
    spec = site.folder["spec"]
    assert spec == shown["spec"] and spec["maxBytes"] == "2Gi"
    assert spec["policy"] == {"highWatermark": 70, "lowWatermark": 60, "minimumAgeSeconds": 5}
    assert spec["storage"] == {"persistentVolumeClaim": {"claimName": "cache"}}


def test_where_git_decides_there_is_a_manifest_and_no_save(visit: Visit, site: Served) -> None:
    site.folder["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "galleries"}
    page = visit.sign_in("admin", AT)
    expect(page.locator("main")).to_contain_text("Manifest kept by")
    button(page, "Edit policy…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Flux keeps this folder's manifest")
    expect(dialog.get_by_role("button", name="Save")).to_have_count(0)
    dialog.get_by_label("Limit (maxBytes)").fill("2Gi")
    dialog.get_by_label("Limit (maxBytes)").press("Enter")
    with page.expect_download() as started:
        dialog.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == "cache.yaml"
    manifest = yaml.safe_load(Path(started.value.path()).read_text())
    assert manifest["metadata"] == {"name": "cache", "namespace": "team"}
    assert manifest["spec"] == site.folder["spec"] | {"maxBytes": "2Gi"}
    assert site.cluster.writes == []


# Purging ------------------------------------------------------------------------------------------


def test_images_are_purged_with_a_receipt(visit: Visit, site: Served) -> None:
    page = visit.sign_in("admin", AT)
    button(page, "Purge…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Collection", exact=True)).to_be_focused()
    dialog.get_by_role("button", name="Show what goes").click()
    expect(dialog.get_by_label("Collection", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Collection", exact=True).fill("photos")
    dialog.get_by_label("Images", exact=True).fill("p1.jpg\np2.jpg\nnone.jpg\n")
    dialog.get_by_role("button", name="Show what goes").click()
    expect(dialog).to_contain_text("Removes 2 files, 2 kB, of photos.")
    expect(dialog).to_contain_text("Not known in this collection: none.jpg.")
    assert site.cluster.writes == []
    dialog.get_by_role("button", name="Purge 2 files").click()
    expect(dialog).to_contain_text("The purge is ordered.")
    ((_, name, sent),) = site.cluster.writes
    assert sent["spec"]["images"] == ["p1.jpg", "p2.jpg", "none.jpg"]
    file = {"source": "p1.jpg", "tier": "full", "path": "photos/x.jpg", "bytes": 1_000}
    status = {"phase": "Completed", "removed": {"files": 1, "bytes": 1_000}, "receipt": [file]}
    site.cluster.objects["CachePurge", "team", name]["status"] = status
    expect(dialog).to_contain_text("Purged 1 file, 1 kB.")
    expect(dialog.get_by_role("table", name="Receipt")).to_contain_text("photos/x.jpg")
    dialog.get_by_role("button", name="Close").last.click()
    expect(button(page, "Purge…")).to_be_focused()


def test_a_whole_collection_is_purged_once_its_id_is_typed(visit: Visit, site: Served) -> None:
    page = visit.sign_in("admin", AT)
    button(page, "Purge…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Collection", exact=True).fill("photos")
    dialog.get_by_label("All of the collection").check()
    expect(dialog.get_by_label("Images", exact=True)).to_be_hidden()
    dialog.get_by_role("button", name="Show what goes").click()
    start = dialog.get_by_role("button", name="Purge 120 files")
    expect(start).to_be_disabled()
    dialog.get_by_label("Type photos to purge all of it").fill("photo")
    page.keyboard.press("Enter")
    expect(start).to_be_disabled()
    assert site.cluster.writes == []
    dialog.get_by_label("Type photos to purge all of it").fill("photos")
    start.click()
    expect(dialog).to_contain_text("The purge is ordered.")
    ((_, name, sent),) = site.cluster.writes
    assert sent["spec"] == {"cacheFolder": "cache", "collection": "photos", "all": True}
    site.cluster.objects["CachePurge", "team", name]["status"] = {
        "phase": "Failed",
        "message": "the folder is another store's",
    }
    expect(dialog).to_contain_text("The purge failed. the folder is another store's")


# Small windows ------------------------------------------------------------------------------------


def test_nothing_is_wider_than_a_phone(browser: Browser, url: str) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with visiting(browser, url, **options) as visit:
        page = visit.sign_in("admin", AT)
        for name in ("Clean up…", "Edit policy…", "Purge…"):
            button(page, name).click()
            expect(page.get_by_role("dialog")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert unnamed(page) == []
            page.keyboard.press("Escape")
        expect(page.get_by_role("table", name="Bytes by tier")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
