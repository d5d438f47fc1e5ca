"""What a pod waits for, of what a source or cache folder refuses."""

from __future__ import annotations

import errno
import os

import pytest

from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    FolderLostError,
    FpjError,
    SourceError,
)
from fpj_core.model import Job
from fpj_worker.pod.places import healing


def refused(kind: type[FpjError], number: int) -> FpjError:
    error = kind("no")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


def job(planned: int, started: int) -> Job:
    return Job(
        "id",
        "it",
        "holiday",
        {},
        "",
        created_at=0.0,
        planned_attempt=planned,
        begun_attempt=started,
    )


@pytest.mark.parametrize(
    "name", ["EROFS", "EIO", "ESTALE", "ENOSPC", "EDQUOT", "ETIMEDOUT", "ENOTCONN"]
)
def test_a_first_attempt_waits_for_what_passes(name: str) -> None:
    with pytest.raises(EnvironmentFaultError), healing(job(0, 1), 1):
        raise refused(CacheFolderError, getattr(errno, name))


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "ENOTDIR", "EEXIST", "ELOOP", "ENAMETOOLONG"])
def test_what_a_person_must_change_ends_a_first_attempt(name: str) -> None:
    """Of rights nobody can tell whether they were ever right.

    A job that has run waits for those, too.
    """
    with pytest.raises(CacheFolderError), healing(job(0, 1), 1):
        raise refused(CacheFolderError, getattr(errno, name))


@pytest.mark.parametrize(
    "error", [CacheFolderError("the source"), CacheFolderError("of another store")]
)
def test_a_folder_that_is_the_wrong_one_is_never_waited_for(error: CacheFolderError) -> None:
    for known in (job(0, 1), job(1, 1)):
        with pytest.raises(CacheFolderError), healing(known, 2):
            raise error


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "EROFS"])
@pytest.mark.parametrize("kind", [CacheFolderError, SourceError])
def test_a_job_that_has_run_waits_for_rights_to_come_back(kind: type[FpjError], name: str) -> None:
    with pytest.raises(EnvironmentFaultError), healing(job(1, 1), 2):
        raise refused(kind, getattr(errno, name))


def test_a_folder_without_its_files_is_waited_for_by_whoever_goes_on() -> None:
    for job_begun, waits in ((1, True), (2, False)):
        with (
            pytest.raises(EnvironmentFaultError if waits else FolderLostError),
            healing(job(1, job_begun), 2),
        ):
            raise FolderLostError("no marker")
