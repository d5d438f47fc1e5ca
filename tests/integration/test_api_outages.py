"""The API when what it needs goes away for a while: the store, the API server,
the watch's place in history.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from accounts import account, token
from api_process import ApiProcess, Client
from apis import Place, place_in, seen
from refusing import RefusingProxy
from switch import Switch
from waiting import wait_for

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

V1 = "/api/v1"


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place_in(cluster, mongodb_server, tmp_path_factory.mktemp("place")) as place:
        place.job(place.one, "job")
        yield place


def switched_store(place: Place, switch: Switch) -> dict[str, str]:
    """The store, by way of the switch."""
    database = place.store_url.rpartition("/")[2]
    options = "directConnection=true&serverSelectionTimeoutMS=500"
    return {"FPJ_STORE": f"mongodb://127.0.0.1:{switch.port}/{database}?{options}"}


def test_without_the_store_jobs_are_served_all_the_same(place: Place) -> None:
    port = int(place.store_url.rpartition("/")[0].rpartition(":")[2])
    failures, statistics = (
        f"{V1}/namespaces/{place.one}/jobs/job/failures",
        f"{V1}/cache/statistics",
    )
    with Switch(port) as switch, place.serving(switched_store(place, switch)) as process:
        client = place.client(process, "fpj-admin")
        assert client.get(failures) == {"items": [], "next": None}
        switch.off()
        for path in (failures, statistics, failures):
            status, answer = client.ask("GET", path)
            assert status in (503, 504), answer
            assert "store" in answer["detail"]
        assert client.get(f"{V1}/namespaces/{place.one}/jobs/job")["name"] == "job"
        assert seen(client, "job")
        assert client.post(f"{V1}/namespaces/{place.one}/jobs/job/suspend")[0] == 202
        assert process.probe("readyz") == 200
        switch.on()
        wait_for(lambda: client.ask("GET", failures)[0] == 200, "failures are read again", 60)
        wait_for(lambda: client.ask("GET", statistics)[0] == 200, "and statistics", 60)
        assert process.stop() == 0


def test_a_store_that_was_never_there(place: Place) -> None:
    """The process starts, and ends in time, though its store's threads wait for an answer."""
    away = {"FPJ_STORE": "mongodb://127.0.0.1:1/fpj?serverSelectionTimeoutMS=30000"}
    with place.serving(away) as process:
        client = place.client(process, "fpj-view")
        assert seen(client, "job")
        status, answer = client.ask("GET", f"{V1}/cache/statistics")
        assert status in (503, 504), answer
        assert process.stop(seconds=20) == 0


def switched_kubeconfig(place: Place, switch: Switch) -> Path:
    """The API's own, by way of the switch."""
    config = yaml.safe_load(place.own_kubeconfig().read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{switch.port}"
    path = place.folder / f"switched-{switch.port}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_an_api_server_that_comes_back(place: Place) -> None:
    _, port = place.api.address
    with Switch(int(port)) as switch:
        where = switched_kubeconfig(place, switch)
        with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}, where) as process:
            client = place.client(process, "fpj-admin")
            wait_for(lambda: seen(client, "job"), "the job is known", 30)
            with client.stream() as stream:
                last = stream.last_id
                switch.off()
                wait_for(
                    lambda: client.ask("GET", f"{V1}/jobs")[0] in (503, 504),
                    "who asks is not known",
                    60,
                )
                stranger = Client(
                    process.url, token(place.kube, account(place.kube, place.one, "stranger"))
                )
                for path in (f"{V1}/jobs", f"{V1}/namespaces/{place.one}/jobs/job"):
                    for each in (client, stranger):
                        status, answer = each.ask("GET", path)
                        assert status in (503, 504) and answer["status"] == status  # never open
                assert client.post(f"{V1}/namespaces/{place.one}/jobs/job/suspend")[0] in (503, 504)
                assert process.probe("livez") == 200
                place.job(place.one, "meanwhile")
                place.job(place.one, "short")
                place.api.delete(place.path(place.one, "short"))
                switch.on()
                wait_for(lambda: client.ask("GET", f"{V1}/jobs")[0] == 200, "it serves again", 60)
                wait_for(lambda: seen(client, "meanwhile"), "what happened is known", 60)
            with client.stream(last_id=last) as stream:
                stream.until("job", "meanwhile")
            metric = next(
                line
                for line in process.scrape().splitlines()
                if 'restarts_total{reason="failed"}' in line
            )
            assert float(metric.split()[-1]) > 0
            assert process.stop() == 0


def test_history_that_is_gone(place: Place) -> None:
    """The watch gets 410: everything is listed again, and streams hear what changed, not more."""
    refuse = False
    watches = 0

    def refusal(method: str, path: str) -> int | None:
        nonlocal refuse, watches
        if method != "GET" or "fileprocessingjobs?" not in path:
            return None
        if "watch=true" not in path:
            refuse = False  # it lists
            return None
        watches += 1
        return 410 if refuse else None

    place.job(place.one, "same")
    place.job(place.one, "doomed")
    with (
        RefusingProxy(place.cluster.kubeconfig, refusal) as proxy,
        Switch(proxy.server_port) as switch,
    ):
        where = proxy.kubeconfig(place.folder / "refusing.yaml")
        where.write_text(where.read_text().replace(str(proxy.server_port), str(switch.port)))
        with place.serving(None, where) as process:
            client = place.client(process, "fpj-view")
            wait_for(lambda: seen(client, "doomed"), "the jobs are known", 30)
            with client.stream() as stream:
                refuse = True
                place.job(place.one, "before")
                stream.until("job", "before")
                switch.off()  # the watch breaks
                place.api.delete(place.path(place.one, "doomed"))
                place.job(place.one, "new")
                switch.on()
                events = [stream.next(60) for _ in range(2)]
                assert {(each["event"], each["data"]["name"]) for each in events} == {
                    ("gone", "doomed"),
                    ("job", "new"),
                }
            assert proxy.refused[410] == 1
            assert 'fpj_api_watch_restarts_total{reason="expired"} 1.0' in process.scrape()
            assert watches >= 3


def test_bad_settings_are_named(place: Place) -> None:
    process = ApiProcess(place.cluster.kubeconfig, "sqlite:///x", place.folder)
    process.start(wait=False)
    assert process.wait_end() == 2
    assert "FPJ_STORE must be mongodb://" in process.log


def test_a_port_that_is_taken(place: Place) -> None:
    with place.serving() as process:
        second = ApiProcess(
            place.own_kubeconfig(),
            place.store_url,
            place.folder,
            {"FPJ_API_PORT": str(process.port)},
        )
        second.start(wait=False)
        assert second.wait_end() == 1
