"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cluster import cluster, crds, kube, namespace, node_cluster, node_kube, node_namespace  # noqa: F401 - fixtures
from hypothesis import settings
from mongodb_server import free_port, start_server
from waiting import end

settings.register_profile("fpj", deadline=None, print_blob=True)  # a deadline would be a timing assertion
settings.load_profile("fpj")


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
