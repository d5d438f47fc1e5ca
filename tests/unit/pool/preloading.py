"""A supervisor whose children are to share a module that cannot be imported.

Prints what the pool says of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from unit.pool.handlers import factory

from fpj_worker.pool import PoolError, ProcessPool


def main() -> None:
    try:
        with ProcessPool[tuple[str, object], object](
            factory, workers=1, timeout=30, preload=sys.argv[1:] or ["unit.pool.unimportable"]
        ) as pool:
            pool.submit(("echo", 1))
            while pool.in_flight:
                pool.poll(5)
    except PoolError as error:
        sys.stdout.write(str(error))
    else:
        sys.stdout.write("started")


if __name__ == "__main__":
    sys.path[:] = [str(Path(__file__).parents[2]), *sys.path]
    main()
