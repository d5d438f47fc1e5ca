"""A supervisor to be killed: prints its children's pids, then keeps them busy forever."""

from __future__ import annotations

import sys

from unit.pool.handlers import factory

from fpj_worker.pool import ProcessPool


def main() -> None:
    pool: ProcessPool[tuple[str, object], object] = ProcessPool(factory, workers=2, timeout=600)
    pool.submit(("sleep", 0.2))
    pool.submit(("sleep", 0.2))
    pids = [str(child.process.pid) for child in pool._children]
    while pool.in_flight:
        pool.poll(5)
    pool.submit(("hang_in_c", None))
    sys.stdout.write(" ".join(pids) + "\n")
    sys.stdout.flush()
    while True:
        pool.poll(60)


if __name__ == "__main__":
    main()
