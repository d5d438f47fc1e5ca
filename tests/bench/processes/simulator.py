"""Replays a trace against policies of libCacheSim, and says what each spent.

Usage: simulator TRACE COUNT ROOM POLICY…, by the Python of an environment in which libcachesim is
(hack/bench-setup.sh makes it). Prints `{policy: {"cpu_ms": ms, "hit_bytes": bytes}}` on the last
line.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from bench.traces import TRACES, Trace


def main() -> None:
    """Each policy gets an empty folder."""
    library: Any = importlib.import_module("libcachesim")
    name, count, room, *policies = sys.argv[1:]
    trace = TRACES[name](int(count))
    print(
        json.dumps(
            {
                policy: replay(trace, getattr(library, policy)(int(room)), library.Request())
                for policy in policies
            }
        )
    )


def replay(trace: Trace, cache: Any, request: Any) -> dict[str, float]:
    """The request is one object, filled in for each."""
    spent, hits = 0.0, 0
    for at, number in enumerate(trace.asked):
        request.obj_id, request.obj_size, request.clock_time = number, trace.sizes[number], at
        if cache.get(request):
            hits += trace.sizes[number]
        else:
            spent += trace.costs[number]
    return {"cpu_ms": spent, "hit_bytes": hits}


if __name__ == "__main__":
    main()
