"""docs/guide/capacity.md: what jobs of which size take, as the simulation says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fpj_core.kube.names import WAVE
from fpj_core.v1alpha1.defaults import shard_size
from fpj_fleet.figures import Check, Figures
from fpj_fleet.model import Fleet, Outcome, simulate
from markdown_lines import joined

_IMAGES = (100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000)
_PODS = (1, 10, 100, 1_000)
_LOADS = (10, 100, 1_000)
_MANY, _WIDE = 50_000_000, 1_000
_MOST_SHARDS = 50_000
_SHARD_SIZES = (250, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000)
_STORE_CORES = 16.0

_HEADER = """<!-- Generated from hack/fpj_fleet by `make docs`. Do not edit. -->

# Capacity

How long a job takes, and what it asks of the store and of the API server. The numbers come from a simulation of a
job's first run ([model.py](../../hack/fpj_fleet/model.py)) that is fed with measured figures
([figures.toml](../../hack/fpj_fleet/figures.toml), each with the command that measured it). They are for pods of four
workers with a core each, an image of 1,920 px and one of 300 px, and the processor of the benchmarks; for your own
sizes:

```console
$ .venv/bin/python hack/fleet.py --images 2e6 --pods 50 --image-ms 51.2
```

A later run over images that are up to date lists and plans, and starts no pod.
"""


def page(figures: Figures) -> str:
    """The page, as Markdown."""
    ask = _Answers(figures)
    parts = [
        _HEADER,
        *(part(ask) for part in (_time, _shards, _loads, _kinds, _limits)),
        _checks(figures),
    ]
    return joined("\n".join(part.rstrip("\n") + "\n" for part in parts))


class _Answers:
    """Simulates each fleet once."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self._known: dict[Fleet, Outcome] = {}

    def __call__(self, fleet: Fleet) -> Outcome:
        if fleet not in self._known:
            self._known[fleet] = simulate(fleet, self.figures)
        return self._known[fleet]


def describe(fleet: Fleet, outcome: Outcome) -> str:
    """One job in some lines, for a terminal."""
    store, api = outcome.total(outcome.store), outcome.total(outcome.api)
    stages = ", ".join(f"{name} {_span(outcome.stages[name])}" for name in _STAGES)
    return (
        f"{fleet.images:,} images in {_span(outcome.seconds)} ({outcome.images_per_second:,.0f} a"
        f" second): {stages}\n{outcome.shards:,} shards in {outcome.waves} waves; pods work"
        f" {outcome.busy:.0%} of their time\nstore: {store.mean:,.0f} commands a second,"
        f" {store.peak:,.0f} at most; {outcome.store_cores:.1f} cores\nAPI server: {api.mean:,.1f}"
        f" requests a second, {api.peak:,.0f} at most"
    )


_STAGES = ("take up", "list", "plan", "hand over", "process", "end")


def _photo(figures: Figures, images: int, pods: int) -> Fleet:
    return Fleet(images, pods, figures.kinds["photo"].figure.value, store_cores=_STORE_CORES)


def _time(ask: _Answers) -> str:
    figures = ask.figures
    rows = []
    for images in _IMAGES:
        outcomes = [ask(_photo(figures, images, pods)) for pods in _PODS]
        rows.append([f"{images:,}", *(_span(each.seconds) for each in outcomes)])
    many = ask(_photo(figures, _MANY, _WIDE))
    parts = ", ".join(f"{name} {_span(many.stages[name])}" for name in _STAGES)
    return "\n".join(
        [
            "## Time",
            "",
            (
                f"Photographs of 12 megapixels ({figures.kinds['photo'].figure.value:g} ms of CPU"
                " each), by the number of"
            ),
            "pods (`sharding.parallelism`):",
            "",
            *_table(
                ["Images", *(f"{pods:,} pod{'s' if pods > 1 else ''}" for pods in _PODS)], rows
            ),
            "",
            f"Of {_MANY:,} images on {_WIDE:,} pods: {parts}.",
            (
                "One pod lists and plans, so more pods do not shorten that. Many pods over few"
                " images live for seconds:"
            ),
            "then fewer pods are faster, or a larger `sharding.shardSize`.",
        ]
    )


def _shards(ask: _Answers) -> str:
    rows = []
    for images in (1_000_000, _MANY):
        chosen = shard_size(images, _WIDE)
        for size in (
            size
            for size in _SHARD_SIZES
            if images // _MOST_SHARDS <= size <= max(images // 100, chosen)
        ):
            outcome = ask(replace(_photo(ask.figures, images, _WIDE), shard_size=size))
            process = outcome.stages["process"]
            written = outcome.total(outcome.store).mean * process
            rows.append(
                [
                    f"{images:,}",
                    f"{size:,}{' (default)' if size == chosen else ''}",
                    f"{outcome.shards:,}",
                    f"{outcome.waves:,}",
                    _span(process),
                    _span(outcome.tail),
                    f"{_round(written / images * 1_000)}",
                    f"{outcome.busy:.0%}",
                ]
            )
    head = ["Images", "`shardSize`", "Shards", "Waves", "Process", "of that, tail"]
    return "\n".join(
        [
            "## Shards",
            "",
            (
                "Without `sharding.shardSize` there are four shards for each pod, as long as one"
                " child Job holds them"
            ),
            f"({WAVE:,}), of 100 to 10,000 images. Photographs on {_WIDE:,} pods, by other sizes:",
            "",
            *_table([*head, "Store: commands for 1,000 images", "Active pods"], rows),
            "",
            (
                "The tail is the time in which some pods have nothing left to do while others of"
                " their wave work; where"
            ),
            (
                "the store bounds the job, those go faster then. Small shards cost starts of pods,"
                " which Kubernetes"
            ),
            "limits; large ones leave pods idle at the end. How shards differ in cost is a guess.",
        ]
    )


def _loads(ask: _Answers) -> str:
    figures = ask.figures
    rows = []
    for pods in _LOADS:
        outcome = ask(_photo(figures, _MANY, pods))
        store, api = outcome.total(outcome.store), outcome.total(outcome.api)
        rows.append(
            [
                f"{pods:,}",
                f"{_round(outcome.images_per_second)}",
                f"{_round(store.mean)}",
                f"{_round(outcome.store_cores)}",
                f"{_round(api.mean)}",
                f"{_round(api.peak)}",
                f"{outcome.busy:.0%}",
            ]
        )
    head = [
        "Pods",
        "Images a second, over the whole job",
        "Store: commands a second",
        "Store: cores",
        "API server: requests a second",
        "at most, 10 s",
        "Active pods",
    ]
    wide = ask(_photo(figures, _MANY, _WIDE))
    return "\n".join(
        [
            "## Load",
            "",
            f"While pods work on {_MANY:,} photographs:",
            "",
            *_table(head, rows),
            "",
            "Where pods work for less than nine tenths of their time, the store holds them up",
            f"({_STORE_CORES:g} cores here), or the Job controller.",
            "",
            f"At {_WIDE:,} pods, by kind:",
            "",
            *_table(
                ["", "Mean a second", "At most, 10 s"],
                [
                    [f"{of}: {name}", _round(load.mean), _round(load.peak)]
                    for of, loads in (("Store", wide.store), ("API server", wide.api))
                    for name, load in loads.items()
                ],
            ),
            "",
            (
                "Cores of the store are those of the server that the tests use; measure yours with"
                " one job before you rely"
            ),
            (
                "on them. The status of a job is written every five seconds at most, however many"
                " pods it has."
            ),
        ]
    )


def _kinds(ask: _Answers) -> str:
    figures = ask.figures
    rows = []
    for kind in figures.kinds.values():
        outcome = ask(Fleet(_MANY, _WIDE, kind.figure.value, store_cores=_STORE_CORES))
        small = ask(Fleet(_MANY, _WIDE, kind.figure.value, store_cores=4.0))
        rows.append(
            [
                kind.name,
                f"{kind.figure.value:g}",
                _span(outcome.seconds),
                _round(outcome.total(outcome.store).mean),
                _round(outcome.store_cores),
                _span(small.seconds),
            ]
        )
    head = [
        "Kind",
        "CPU, ms",
        "Time",
        "Store: commands a second",
        "Store: cores",
        "Time with a store of 4 cores",
    ]
    return "\n".join(
        [
            "## Kinds of pictures",
            "",
            f"{_MANY:,} images on {_WIDE:,} pods, with a store of {_STORE_CORES:g} cores:",
            "",
            *_table(head, rows),
            "",
            (
                "The cheaper an image, the more of them a second, and the sooner the store is what"
                " bounds the job."
            ),
        ]
    )


def _limits(ask: _Answers) -> str:
    figures = ask.figures
    default, raised = (
        figures["limits.job_controller_default"],
        figures["limits.job_controller_raised"],
    )
    wide = _photo(figures, 1_000_000, _WIDE)
    slow = ask(wide)
    fast = ask(replace(wide, default_limits=False))
    memory = figures["index.plan_mb"]
    plan = _MANY / figures["index.plan_rate"]
    raise_it = (
        "`--kube-api-qps` of kube-controller-manager and kube-scheduler, where you may set it:"
        f" 1,000,000 photographs on {_WIDE:,} pods take {_span(slow.seconds)} without,"
        f" {_span(fast.seconds)} with"
    )
    return "\n".join(
        [
            "## Where the limits are",
            "",
            *_table(
                ["What", "Limit", "What to do"],
                [
                    [
                        "Pods of a job",
                        f"{WAVE:,} at a time; {WAVE:,} shards a wave, waves one after another",
                        "more pods: several jobs over parts of the source",
                    ],
                    [
                        "Job controller",
                        (
                            f"{default / 2:g} pods a second by default; {raised / 2:g} with more,"
                            " on two cores"
                        ),
                        raise_it,
                    ],
                    [
                        "Listing",
                        (
                            f"{_round(figures['index.rate'])} new images a second; unchanged ones"
                            " are only read"
                        ),
                        "several jobs over parts of the source",
                    ],
                    [
                        "Planning",
                        (
                            f"{_MANY:,} images in {_span(plan)} and {_round(memory)} MB with the"
                            " tests' server"
                        ),
                        "nothing: it runs once for an attempt",
                    ],
                    [
                        "Operator",
                        (
                            f"{figures['api.operator_ms_a_pod']:g} ms of CPU a pod; its memory does"
                            " not grow with pods"
                        ),
                        "nothing",
                    ],
                    ["Queue", "20,000 jobs wait at 0.14 % of a core (`op-queue`)", "nothing"],
                ],
            ),
        ]
    )


def _checks(figures: Figures) -> str:
    rows = [
        [
            check.name,
            f"{check.seconds:.1f} s",
            f"{predicted:.1f} s",
            f"{predicted / check.seconds - 1:+.0%}",
        ]
        for check in figures.checks
        for predicted in [predict(check, figures)]
    ]
    return "\n".join(
        [
            "## How good it is",
            "",
            (
                "Runs on a real cluster, and what the simulation says of them from the cost of one"
                " image alone:"
            ),
            "",
            *_table(["Run", "Measured", "Simulated", ""], rows),
            "",
            (
                "Nothing here was measured on more than one machine: beyond that, the numbers"
                " assume that a store and an"
            ),
            "API server do with more cores what they do with two.",
        ]
    )


def predict(check: Check, figures: Figures) -> float:
    """What the simulation says of a measured run, in seconds."""
    fleet = Fleet(
        check.images,
        check.pods,
        check.image_ms,
        check.workers,
        check.shard_size,
        cores=check.cores,
        spread=False,
    )
    return simulate(fleet, figures).seconds


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _span(seconds: float) -> str:
    """``12 s``, ``4 min``, ``2.5 h``, ``3.1 d``: two digits that count."""
    for unit, size, least in (("d", 86_400.0, 2.0), ("h", 3_600.0, 2.0), ("min", 60.0, 2.0)):
        if seconds >= size * least:
            return (
                f"{seconds / size:.0f} {unit}"
                if seconds >= size * 9.5
                else f"{seconds / size:.1f} {unit}"
            )
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"


def _round(value: float) -> str:
    """Two digits that count, and all that stand before the point."""
    if value == 0:
        return "0"
    if value < 10:
        return f"{value:.2g}"
    digits = len(f"{value:.0f}") - 2
    return f"{round(value, -max(digits, 0)):,.0f}"
