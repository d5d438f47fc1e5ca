"""What is read of the cluster and the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.api.documents import full_job, put

from fpj_core.model import Job
from fpj_core.store import open_store
from fpj_operator.observe import _as_begun, _parse

JOB = put(full_job(), "metadata.uid", "uid-1")


def test_fields_of_a_later_version_do_not_make_a_spec_invalid() -> None:
    job, problem = _parse(put(JOB, "spec.later", {"than": "this"}))
    assert job is not None and problem is None


def test_a_job_that_has_begun_is_read_as_it_was_last_understood(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    later: dict[str, Any] = put(put(JOB, "spec.thumbnail.format", "jxl"), "spec.suspend", True)
    job, problem = _parse(later)
    assert job is None and problem is not None and "jxl" in problem
    assert _as_begun(store, later) is None, "nothing is known of it"
    store.create_job(Job("uid-1", "it", "team.it", JOB, ""))
    found = _as_begun(store, later)
    assert found is not None and found.spec.suspend, "whether it is suspended is said by the spec of now"
    assert found.spec.thumbnail == _understood().spec.thumbnail
    store.close()


def _understood() -> Any:
    return _parse(JOB)[0]
