"""The page shows the defaults that the API does not send, as they are in the resources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fpj_api
from fpj_core.v1alpha1.cachefolder import Policy
from fpj_core.v1alpha1.job import FileProcessingJobSpec, Sharding
from fpj_core.v1alpha1.schedule import TIME_ZONE

ASSETS = Path(fpj_api.__file__).parent / "static" / "assets"


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("spec.priority", FileProcessingJobSpec.default_of("priority")),
        ("spec.sharding.parallelism", Sharding.default_of("parallelism")),
    ],
)
def test_a_placeholder_is_the_default_of_its_field(field: str, default: int) -> None:
    text = (ASSETS / "jobs" / "new-job.js").read_text()
    found = re.search(rf'name: "{re.escape(field)}",[^}}]*placeholder: "(.*?)"', text)
    assert found and found[1] == str(default)


@pytest.mark.parametrize("name", ["highWatermark", "lowWatermark"])
def test_a_policys_placeholders_are_its_defaults(name: str) -> None:
    text = (ASSETS / "caches" / "policy.js").read_text()
    found = re.search(rf'text\("policy.{name}",[^}}]*?placeholder: "(.*?)"', text, re.DOTALL)
    field = {"highWatermark": "high_watermark", "lowWatermark": "low_watermark"}[name]
    assert found and found[1] == str(Policy.default_of(field))


def test_a_schedule_without_a_time_zone_is_shown_in_the_default_one() -> None:
    text = (ASSETS / "pages" / "caches-page.js").read_text()
    assert f'each.timeZone || "{TIME_ZONE}"' in text
