"""Changes on their way to streams: order, merging, what is kept, what is lost."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpj_api.hub import KEPT, Hub, Subscriber


def publish(hub: Hub, *uids: str) -> None:
    for number, uid in enumerate(uids):
        hub.publish("job", "team", uid, f"{uid}{number}")


def taken(subscriber: Subscriber) -> list[str]:
    found = []
    while (change := subscriber.take()) is not None:
        found.append(change.body)
    return found


def test_each_hears_what_comes_after_it_began() -> None:
    hub = Hub()
    publish(hub, "a")
    first = hub.subscribe()
    publish(hub, "b")
    second = hub.subscribe()
    publish(hub, "c")
    assert (taken(first), taken(second)) == (["b0", "c0"], ["c0"])
    hub.unsubscribe(first)
    publish(hub, "d")
    assert (taken(first), taken(second)) == ([], ["d0"])


def test_changes_of_one_job_are_merged_for_the_slow() -> None:
    hub = Hub()
    slow = hub.subscribe()
    publish(hub, *["a", "b"] * 5_000)
    assert taken(slow) == ["a9998", "b9999"]
    assert not slow.lost()


def test_too_many_jobs_for_the_slow_are_forgotten_and_it_is_told() -> None:
    hub = Hub()
    slow = hub.subscribe()
    publish(hub, *(f"job{number}" for number in range(KEPT)))
    assert not slow.missed
    hub.publish("job", "team", "one-more", "x")
    assert slow.lost() and not slow.lost()
    assert taken(slow) == []
    publish(hub, "after")
    assert taken(slow) == ["after0"]


def ids(hub: Hub, number: int) -> list[str]:
    found = []
    for each in range(number):
        publish(hub, f"j{each}")
        found.append(hub.id())
    return found


def test_what_follows_an_id_is_sent_again() -> None:
    hub = Hub()
    start = hub.id()
    known = ids(hub, 5)
    assert taken(hub.subscribe(known[2])) == ["j30", "j40"]
    assert taken(hub.subscribe(known[4])) == []
    assert taken(hub.subscribe(start)) == ["j00", "j10", "j20", "j30", "j40"]


def test_an_id_from_long_ago_or_elsewhere_is_lost() -> None:
    hub, other = Hub(), Hub()
    known = ids(hub, KEPT + 5)
    assert not hub.subscribe(known[4]).missed
    assert hub.subscribe(known[3]).missed, "its successor is not kept any more"
    assert other.subscribe(known[-1]).missed, "another process has other numbers"


@pytest.mark.parametrize(
    "odd", ["", "-", "x", "{}-", "{}-x", "{}--1", "{}-1 ", "{}-99999", "{}-" + "9" * 40, "{}-²"]
)
def test_what_is_no_id_is_lost(odd: str) -> None:
    hub = Hub("abc")
    publish(hub, "a")
    assert hub.subscribe(odd.format("abc")).missed


@given(
    st.lists(st.sampled_from(string.ascii_lowercase), max_size=60), st.integers(0, 60), st.data()
)
def test_whoever_takes_at_whatever_pace_ends_with_the_latest_of_each(
    uids: list[str], pace: int, data: st.DataObject
) -> None:
    """And the numbers only rise: so an id stands for all that came before it."""
    hub = Hub()
    subscriber = hub.subscribe()
    received: dict[str, str] = {}
    numbers: list[int] = []
    for number, uid in enumerate(uids):
        hub.publish("job", "team", uid, f"{uid}{number}")
        if pace and number % pace == 0 and (change := subscriber.take()):
            received[change.uid] = change.body
            numbers.append(change.number)
    if len(numbers) > 0 and data.draw(st.booleans()):  # the connection breaks, and comes back
        subscriber = hub.subscribe(f"{hub.id().rpartition('-')[0]}-{numbers[-1]}")
    while (change := subscriber.take()) is not None:
        received[change.uid] = change.body
        numbers.append(change.number)
    assert received == {uid: f"{uid}{number}" for number, uid in enumerate(uids)}
    assert numbers == sorted(set(numbers))
