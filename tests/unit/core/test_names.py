"""Names of child Jobs, and what is read off them."""

from __future__ import annotations

import pytest

from fpj_core.kube import names


@pytest.mark.parametrize("wave", [0, 1, 12, 4_321])
def test_a_wave_is_read_off_the_name_that_it_gave(wave: int) -> None:
    base = names.base_name("holidays-w7", "0f8e2c4a-1111-2222-3333-444455556666")
    assert names.wave_of(names.shards_job_name(base, 3, wave)) == wave


@pytest.mark.parametrize(
    "name", ["", names.index_job_name("holidays-w7-0f8e2c4a", 3), "w5", "holidays-w5-x"]
)
def test_other_names_have_no_wave(name: str) -> None:
    assert names.wave_of(name) == 0
