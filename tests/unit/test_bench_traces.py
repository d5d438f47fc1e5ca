"""That traces of a few requests are replayed, and their bound found, as tests/bench says."""

from __future__ import annotations

import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from bench.offline import least_cpu_ms
from bench.processes import simulator
from bench.replay import policy, replay
from bench.traces import DAY, TRACES, Trace, adapt_size_lines, albums, jar_path, scarab_keys

from fpj_core.policy import Eviction

KEYS = {"a": (100, 10.0), "b": (100, 90.0), "c": (50, 10.0), "huge": (1_000, 10.0)}


def trace(keys: Sequence[str]) -> Trace:
    made = Trace()
    for number, key in enumerate(keys):
        made.ask(key, number * 60.0, *KEYS[key])
    return made


def test_what_is_there_is_not_made_again() -> None:
    spent = replay(trace("abab"), policy(1_000, Eviction.COST))
    assert (spent.cpu_ms, spent.hit_bytes, spent.plans, spent.most) == (100, 200, 0, 200)


def test_a_full_folder_loses_what_is_cheapest_to_make_again() -> None:
    """There is room for two: b and c stay, a was made for nothing."""
    by_cost = replay(trace("abcbc"), policy(170, Eviction.COST))
    assert (by_cost.cpu_ms, by_cost.plans) == (110, 1)


def test_lru_removes_what_was_asked_for_longest_ago() -> None:
    by_age = replay(trace("abcab"), policy(225, Eviction.LRU))
    assert (by_age.cpu_ms, by_age.plans) == (210, 3)


def test_the_folder_never_holds_more_than_the_room() -> None:
    spent = replay(trace("abcabcbacbca" * 5), policy(180, Eviction.COST))
    assert spent.plans and spent.most <= 180


def test_what_is_larger_than_the_room_is_made_each_time_and_removes_nothing() -> None:
    spent = replay(trace(["a", "huge", "huge", "a"]), policy(200, Eviction.COST))
    assert (spent.cpu_ms, spent.hit_bytes, spent.plans) == (30, 100, 0)


def test_accesses_count_only_where_they_are_recorded() -> None:
    """Without them a is worth no more than b, and goes as the first of the two."""
    equal = Trace()
    for at, key in enumerate("abaaaca"):
        equal.ask(key, at * 60.0, 100, 10.0)
    recorded = replay(equal, policy(225, Eviction.COST))
    blind = replay(equal, policy(225, Eviction.COST), accesses=False)
    assert recorded.hit_bytes == 400
    assert blind.hit_bytes == 300


@pytest.mark.parametrize("keys", ["abcabc", "aabbcc", "abcbabcbcab", "cccabab"])
@pytest.mark.parametrize("room", [60, 100, 170, 225, 1_000])
def test_no_policy_spends_less_than_the_bound(keys: str, room: int) -> None:
    least = least_cpu_ms(trace(keys), room)
    assert least >= trace(keys).first_ms
    for eviction in (Eviction.COST, Eviction.LRU):
        assert replay(trace(keys), policy(room, eviction)).cpu_ms >= least - 1e-9


def test_the_bound_is_exact_where_everything_or_nothing_fits() -> None:
    some = trace("abcabc")
    assert least_cpu_ms(some, 250) == some.first_ms == 110
    assert least_cpu_ms(some, 0) == 220


def test_adapt_sizes_lines_have_a_key_and_bytes() -> None:
    made = adapt_size_lines(b"1 7 180\n2 8 18000\n3 7 999\n")
    assert list(made.asked) == [0, 1, 0]
    assert made.sizes == [180, 18_000]
    assert made.costs == [pytest.approx(27.01), 28]
    assert made.seconds[-1] == pytest.approx(28 * DAY * 2 / 3)


def test_scarabs_keys_are_derivatives_of_all_kinds() -> None:
    made = scarab_keys(b"".join(number.to_bytes(8) for number in [*range(1_000), 7]))
    assert made.asked[-1] == made.asked[7]
    assert len(made.sizes) == 1_000
    shares = {cost: made.costs.count(cost) / 1_000 for cost in set(made.costs)}
    assert shares == {
        28.0: pytest.approx(0.5, abs=0.1),
        45.0: pytest.approx(0.25, abs=0.1),
        180.0: pytest.approx(0.25, abs=0.1),
    }


def test_recorded_traces_are_read_from_the_jar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jar_path().parent.mkdir(parents=True)
    folder = "com/github/benmanes/caffeine/cache/simulator/parser"
    with zipfile.ZipFile(jar_path(), "w") as jar:
        jar.writestr(f"{folder}/adapt_size/request.trace.xz", lzma.compress(b"1 0 68\n2 1 7454\n"))
        keys = b"".join(number.to_bytes(8) for number in (3, 3, 4))
        jar.writestr(f"{folder}/scarab/recs.trace.20160808T073231Z.xz", lzma.compress(keys))
    assert TRACES["adaptsize"](0).sizes == [68, 7_454]
    assert list(TRACES["scarab"](2).asked) == [0, 0]


def test_albums_are_the_same_each_time_and_last_four_weeks() -> None:
    one, other = albums(3, collections=20), albums(3, collections=20)
    assert one == other
    assert list(one.seconds) == sorted(one.seconds)
    assert 21 * DAY < one.seconds[-1] < 28 * DAY
    assert set(one.costs) == {28.0, 45.0, 180.0}
    assert albums(3, collections=20, seed=2) != one


def test_the_simulators_policies_are_asked_for_the_same_requests() -> None:
    class Request:
        obj_id = obj_size = clock_time = 0

    class Everything:
        """A cache that keeps all."""

        def __init__(self) -> None:
            self.seen = set[int]()

        def get(self, request: Request) -> bool:
            there = request.obj_id in self.seen
            self.seen.add(request.obj_id)
            return there

    some = trace("abcab")
    assert simulator.replay(some, Everything(), Request()) == {"cpu_ms": 110.0, "hit_bytes": 200}
