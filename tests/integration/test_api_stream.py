"""The stream of job events, from a real watch to a real client."""

from __future__ import annotations

import pytest
from accounts import account, grant, token
from api_process import ApiProcess, Client
from apis import Place, seen
from podrunner.api import MERGE
from waiting import wait_for

pytestmark = pytest.mark.timeout(300)


def running(done: int) -> dict[str, object]:
    return {
        "phase": "Running",
        "progress": {"total": 1_000, "completed": done, "percent": done // 10},
    }


def test_made_changed_and_gone(place: Place, process: ApiProcess) -> None:
    with place.client(process, "fpj-view").stream() as stream:
        made = place.job(place.one, "born")
        event = stream.next()
        assert event["event"] == "job" and event["data"]["uid"] == made["metadata"]["uid"]
        assert (event["data"]["phase"], event["data"]["progress"]["total"]) == ("Pending", 0)
        place.report(place.one, "born", running(10))
        event = stream.next()
        assert (event["event"], event["data"]["phase"]) == ("job", "Running")
        assert event["data"]["progress"]["completed"] == 10
        place.api.patch(
            place.path(place.one, "born"), {"metadata": {"labels": {"of-no": "interest"}}}, MERGE
        )
        place.api.delete(place.path(place.one, "born"))
        event = stream.next()  # of what is not shown, nothing was sent
        assert event["event"] == "gone"
        assert event["data"] == {
            "namespace": place.one,
            "name": "born",
            "uid": made["metadata"]["uid"],
        }


def test_what_was_missed_is_sent_again(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-view")
    with client.stream() as stream:
        place.job(place.one, "kept")
        place.job(place.one, "lost")
        stream.until("job", "lost")
        last = stream.last_id
    place.report(place.one, "kept", running(1))
    place.report(place.one, "kept", running(2))
    place.api.delete(place.path(place.one, "lost"))
    place.job(place.one, "later")
    wait_for(lambda: seen(client, "later"), "all of it is known", 30)
    with client.stream(last_id=last) as stream:
        reported = [stream.next() for _ in range(3)]
        assert [(each["event"], each["data"]["name"]) for each in reported] == [
            ("job", "kept"),  # once, as it is now
            ("gone", "lost"),
            ("job", "later"),
        ]
        assert reported[0]["data"]["progress"]["completed"] == 2
    with client.stream(last_id=reported[2]["id"]) as stream:
        place.report(place.one, "later", running(3))
        assert stream.next()["data"]["progress"]["completed"] == 3  # nothing twice
    with client.stream() as stream:
        quiet = stream.last_id  # a client that had no event yet knows where it stood, too
    place.report(place.one, "later", running(4))
    with client.stream(last_id=quiet) as stream:
        assert stream.next()["data"]["progress"]["completed"] == 4


def test_what_cannot_be_sent_again_is_said(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-view")
    with client.stream() as stream:
        instance, _, number = stream.last_id.partition("-")
    for odd in (
        f"{instance}-{int(number) + 1_000}",
        f"{instance}-x",
        f"0123-{number}",
        "",
        "garbage",
        f"{instance}--1",
    ):
        with client.stream(last_id=odd) as stream:
            assert stream.next()["event"] == "reset", odd
            place.job(place.one, "after")
            assert stream.until("job", "after")["name"] == "after"
        place.api.delete(place.path(place.one, "after"))
        wait_for(lambda: not seen(client, "after"), "it is gone", 30)
    with (
        place.serving() as another,
        place.client(another, "fpj-view").stream(last_id=f"{instance}-{number}") as stream,
    ):
        assert stream.next()["event"] == "reset"


def test_more_than_is_kept_was_missed(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-view")
    place.job(place.one, "busy")
    with client.stream() as stream:
        last = stream.last_id
    for number in range(1_005):
        place.report(place.one, "busy", running(number + 1))
    wait_for(
        lambda: (
            client.get("/api/v1/jobs?search=busy")["items"][0]["progress"]["completed"] == 1_005
        ),
        "all is known",
        60,
    )
    with client.stream(last_id=last) as stream:
        assert stream.next()["event"] == "reset"


def test_one_hears_only_of_what_one_may_see(place: Place, process: ApiProcess) -> None:
    """Also while the stream is open: a right that is given, and one that is taken, each say:
    read the list again.
    """
    user = account(place.kube, place.one, "changing")
    grant(place.kube, "fpj-view", user, None, place.one)
    client = Client(process.url, token(place.kube, user))
    wait_for(
        lambda: client.ask("GET", f"/api/v1/jobs?namespace={place.one}")[0] == 200,
        "the binding holds",
        30,
    )
    place.job(place.two, "hidden")
    place.job(place.one, "open")
    wait_for(lambda: seen(client, "open"), "it is known", 30)
    number = 0

    def heard(stream_next: str) -> bool:
        """Change both, until an event of this kind comes."""
        nonlocal number
        number += 1
        place.report(place.two, "hidden", running(number))
        place.report(place.one, "open", running(number))
        event = stream.next()
        assert event["event"] == "reset" or event["data"]["namespace"] in allowed
        return bool(event["event"] == stream_next)

    with client.stream() as stream:
        allowed = {place.one}
        for _ in range(5):
            assert heard("job")
        grant(place.kube, "fpj-view", user, None, place.two)
        wait_for(lambda: heard("reset"), "it hears that it may see more", 30)
        allowed = {place.one, place.two}
        place.job(place.two, "known")
        assert stream.until("job", "known")["namespace"] == place.two
        place.kube.within(place.two)("delete", "rolebinding", "fpj-view-changing")
        wait_for(lambda: heard("reset"), "it hears that it may see less", 30)
        place.report(place.two, "hidden", running(999))
        place.job(place.one, "last")
        while (event := stream.next())["data"].get("name") != "last":
            assert event["data"].get("name") == "open"
        place.kube.within(place.one)("delete", "serviceaccount", "changing")
        wait_for(lambda: client.ask("GET", "/api/v1/jobs")[0] == 401, "the token is nobody's", 60)
        place.report(place.one, "open", running(1_000))
        assert stream.ended()


def test_nobody_holds_more_than_ten_streams(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-admin")
    streams = [client.stream() for _ in range(10)]
    try:
        refused = client.response("GET", "/api/v1/cache/jobs/stream")
        assert refused.status == 429 and refused.headers["Retry-After"]
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert place.client(process, "fpj-view").stream_status() == 200  # others are not shut out
        assert "fpj_api_streams 1" in process.scrape()
    finally:
        for stream in streams:
            with stream:
                pass
    wait_for(lambda: client.stream_status() == 200, "a place is free again", 30)
    wait_for(lambda: "fpj_api_streams 0.0" in process.scrape(), "none is left open", 30)


def test_streams_are_bounded_in_all_and_end_with_the_process(place: Place) -> None:
    with place.serving({"FPJ_API_MOST_STREAMS": "2"}) as process:
        view, manage = place.client(process, "fpj-view"), place.client(process, "fpj-cache-manager")
        with view.stream() as stream, manage.stream():
            assert place.client(process, "fpj-admin").stream_status() == 429
            assert process.stop() == 0
            assert stream.ended()
