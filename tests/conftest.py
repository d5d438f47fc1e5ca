"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from mongodb_server import free_port, start_server
from planes import cluster, crds, kube, namespace, node_cluster, node_kube, node_namespace  # noqa: F401 - fixtures
from waiting import end

# A deadline would be a timing assertion.
settings.register_profile("fpj", deadline=None, print_blob=True)
settings.load_profile("fpj")

# A shell that starts tests in the background, or nohup, has signals ignored, and every program that
# a test starts would inherit that. A handler is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _signal, _frame: None)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_a_person(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the store nor the configuration of whoever runs the tests is theirs to use."""
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        os.environ[variable] = str(tmp_path_factory.mktemp(variable.lower()))


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server, without a database name."""
    if given := os.environ.get("FPJ_TEST_MONGODB_URI"):
        yield given.rstrip("/")
        return
    port = free_port()
    server = start_server(tmp_path_factory.mktemp("mongodb"), port)
    yield f"mongodb://127.0.0.1:{port}"
    end(server)
