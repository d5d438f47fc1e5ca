"""A browser, and a namespace in which everything of fpj runs,
with the API and people of each role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from accounts import account, grant, token
from api_process import ApiProcess, Client
from apis import Place, place_in
from chromium import Visit, browser_path, chromium, visiting
from playwright.sync_api import Browser
from waiting import wait_for
from world import World, world_in

from fpj_cluster import Cluster

NAMESPACES = "/api/v1/namespaces"
ROLES = ("fpj-view", "fpj-cache-manager", "fpj-admin")

Visiting = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone after each file: while Playwright is there an event loop runs,
    and tests elsewhere need their own.
    """
    path, missing = browser_path()
    if missing:
        pytest.skip(missing)
    with chromium(path) as browser:
        yield browser


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One operator, one cache folder and one claim of photographs for all tests of a file."""
    with world_in(cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.cache_folder(maxBytes="1Gi", policy={"eviction": "LRU"})
        world.photos("photos", 6)
        world.operator()
        yield world


@pytest.fixture(scope="module")
def place(
    world: World, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """What the API needs: the roles, and its own account."""
    folder: Path = tmp_path_factory.mktemp("place")
    with place_in(world.cluster, mongodb_server, folder) as place:
        place.store_url, place.one = world.store_url, world.namespace
        yield place


@pytest.fixture(scope="module")
def process(place: Place) -> Iterator[ApiProcess]:
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as process:
        yield process


@pytest.fixture(scope="module")
def tokens(place: Place, process: ApiProcess, world: World) -> dict[str, str]:
    """Of somebody of each role in the world's namespace, whose rights hold already."""
    return {role: person(world, process, role) for role in ROLES}


@pytest.fixture
def visit(browser: Browser, process: ApiProcess) -> Iterator[Visit]:
    """A tab at the dashboard."""
    with visiting(browser, process.url) as visit:
        yield visit


@pytest.fixture
def visits(browser: Browser, process: ApiProcess) -> Visiting:
    """Tabs with options of their own."""
    return partial(visiting, browser, process.url)


def person(world: World, process: ApiProcess, role: str, name: str = "") -> str:
    """A token of somebody new with a role in the world's namespace."""
    user = account(world.kube, world.namespace, name or role)
    grant(world.kube, role, user, None, world.namespace)
    made = token(world.kube, user)
    client = Client(process.url, made)
    most = {"fpj-view": "watch", "fpj-cache-manager": "delete", "fpj-admin": "deletecollection"}[
        role
    ]

    def holds() -> bool:
        return any(most in each["verbs"] for each in client.get(NAMESPACES)["items"])

    wait_for(holds, f"{role} holds in {world.namespace}", 60)
    return made
