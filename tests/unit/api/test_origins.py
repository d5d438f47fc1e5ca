"""Pages of other sites cannot have a browser change anything,
whatever it adds to their requests by itself.
"""

from __future__ import annotations

import pytest
from unit.api.clusters import job
from unit.api.site import V1, Site

JOB = f"{V1}/namespaces/team/jobs/a"
HOST = {"host": "fpj.example"}
OWN = {"origin": "https://fpj.example"}


@pytest.fixture
def site() -> Site:
    made = Site()
    made.cluster.objects["FileProcessingJob", "team", "a"] = job("a", 1)
    return made


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-site", "origin": "https://other.example"},
    {"sec-fetch-site": "something new"},
    {"origin": "https://evil.example"},
    {"origin": "https://fpj.example.evil.example"},
    {"origin": "https://fpj.example:8443"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://fpj.example", "sec-fetch-site": "cross-site"},
]
PASSING: list[dict[str, str]] = [
    {},  # curl, fpj, a script
    {"sec-fetch-site": "same-origin"} | OWN,
    {"sec-fetch-site": "none"},
    OWN,  # a browser that sends no Sec-Fetch-Site, as over plain HTTP
    {"origin": "http://fpj.example"},  # TLS ends before this process
    {"origin": "HTTPS://FPJ.example:443"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", f"{JOB}/resume"), ("POST", f"{JOB}/suspend"), ("DELETE", JOB)]
)
def test_a_change_from_another_site_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture, method: str, path: str, headers: dict[str, str]
) -> None:
    caplog.set_level("INFO")
    answer = site.ask(method, path, headers=HOST | headers)
    assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "another site" in answer.json["detail"]
    assert site.cluster.writes == []
    (line,) = [each for each in caplog.records if each.name == "fpj.api.audit"]
    assert (line.message, vars(line)["user"], vars(line)["status"]) == ("refused", "anna", 403)


@pytest.mark.parametrize("headers", PASSING, ids=str)
def test_our_own_page_and_what_is_no_browser_pass(site: Site, headers: dict[str, str]) -> None:
    assert site.ask("POST", f"{JOB}/suspend", headers=HOST | headers).status == 202
    assert site.cluster.writes


def test_a_link_from_another_site_may_be_followed(site: Site) -> None:
    site.fill("a")
    for headers in FOREIGN:
        assert site.ask("GET", f"{V1}/jobs", headers=HOST | headers).status == 200
        assert site.ask("GET", "/jobs", token=None, headers=HOST | headers).status == 200
