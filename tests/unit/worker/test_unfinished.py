"""Which job a run goes on with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.worker.fakes import job

from fpj_core.model import Phase
from fpj_core.store.protocol import Store
from fpj_worker.localjob import unfinished_job


@pytest.mark.parametrize(
    ("earlier", "wanted", "goes_on"),
    [(False, False, True), (False, True, False), (True, True, True), (True, False, True)],
)
def test_what_is_forced_goes_on_with_what_was_forced(
    store: Store, earlier: bool, wanted: bool, goes_on: bool
) -> None:
    made = store.create_job(
        replace(job("job-1", phase=Phase.SUSPENDED), manifest={"spec": {"force": earlier}})
    )
    found = unfinished_job(store, replace(job("job-2"), manifest={"spec": {"force": wanted}}))
    assert found == (made if goes_on else None)
