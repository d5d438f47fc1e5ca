"""A real browser, and a page in it that is watched: what it asks for,
and what its scripts complain about.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from planes import ROOT
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as BrowserError

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
BOUND_MS = 60_000
_REFUSED = "Failed to load resource"
"""What the browser itself notes of every answer that is none of success:
no complaint of a script.
"""

expect.set_options(timeout=BOUND_MS)


def browser_path() -> tuple[str, str]:
    """(path of the browser, "") or ("", why there is none)."""
    found = subprocess.run(
        [ROOT / "hack" / "browser.sh"], check=False, capture_output=True, text=True, timeout=600
    )
    if found.returncode:
        return "", found.stderr.strip()[-2_000:]
    return found.stdout.strip(), ""


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """The browser as a process."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Visit:
    """A tab of its own, at the dashboard of an API."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(BOUND_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(f"{error}\n{error.stack}"))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_REFUSED):
            self.complaints.append(message.text)

    def open(self, path: str = "/") -> Page:
        """Go there.

        A browser gives up loading when network devices come or go, as they do beside these tests.
        """
        for attempt in range(5):
            try:
                self.page.goto(self.url + path)
                self.page.locator("#app > *").first.wait_for(timeout=10_000)
                break
            except BrowserError:
                if attempt == 4:
                    raise
        return self.page

    def sign_in(self, token: str, path: str = "/") -> Page:
        self.open(path)
        self.page.get_by_label("Bearer token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.live).to_have_text("Live")
        return self.page

    @property
    def live(self) -> Locator:
        """The indicator of the stream."""
        return self.page.locator(".live")

    def row(self, name: str) -> Locator:
        """The row of a job."""
        return self.page.get_by_role("row").filter(
            has=self.page.get_by_role("link", name=name, exact=True)
        )

    def confirm(self, button: str) -> None:
        """Say yes in the dialog that is open."""
        self.page.get_by_role("dialog").get_by_role("button", name=button).click()

    def check(self) -> None:
        """No script complained, and nobody else was asked for anything."""
        assert not self.complaints, self.complaints
        foreign = [url for url in self.requests if not url.startswith(f"{self.url}/")]
        assert not foreign, foreign


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """A visit without any memory of others; checked at its end.

    ``options`` are those of a browser context.
    """
    context = browser.new_context(**options)
    visit = Visit(context.new_page(), url)
    try:
        yield visit
        visit.check()
    except BaseException:
        if not visit.page.is_closed():
            print(visit.page.locator("body").inner_text()[-5_000:])
        print(visit.complaints)
        raise
    finally:
        context.close()
