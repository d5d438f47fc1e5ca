"""What a job of a given size takes: time, and load of store and API server,
as docs/guide/capacity.md explains.
"""

from __future__ import annotations

import argparse
import sys

from fpj_core.kube.names import WAVE
from fpj_fleet.figures import load
from fpj_fleet.model import Fleet, simulate
from fpj_fleet.page import describe


def main() -> int:
    """Simulate one job, and print what it takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=_count, required=True, help="such as 2e6")
    parser.add_argument("--pods", type=_count, default=4, help="sharding.parallelism; 4 by default")
    parser.add_argument(
        "--image-ms", type=float, default=51.2, help="CPU of one image; 51.2: a photograph of 12 MP"
    )
    parser.add_argument(
        "--workers", type=_count, default=4, help="sharding.workersPerPod; 4 by default"
    )
    parser.add_argument("--shard-size", type=_count, help="sharding.shardSize; chosen by default")
    parser.add_argument(
        "--store-cores", type=float, default=4.0, help="cores of MongoDB's server; 4 by default"
    )
    parser.add_argument(
        "--raised-limits", action="store_true", help="--kube-api-qps of Kubernetes is high"
    )
    given = parser.parse_args()
    if given.pods > WAVE or given.image_ms <= 0 or given.store_cores <= 0:
        parser.error(f"there are at most {WAVE:,} pods, and times and cores are above 0")
    fleet = Fleet(
        given.images,
        given.pods,
        given.image_ms,
        given.workers,
        given.shard_size,
        store_cores=given.store_cores,
        default_limits=not given.raised_limits,
    )
    sys.stdout.write(describe(fleet, simulate(fleet, load())) + "\n")
    return 0


def _count(text: str) -> int:
    number = float(text)
    if not 1 <= number <= 1e10:
        raise argparse.ArgumentTypeError("between 1 and 1e10")
    return int(number)


if __name__ == "__main__":
    sys.exit(main())
