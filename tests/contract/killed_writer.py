"""A process that flushes one image after another until it is killed.

Prints what was acknowledged.
"""

from __future__ import annotations

import sys
import time

from contract.records import JOB, batch

from fpj_core.store import open_store


def main(url: str, suspect_after: float) -> None:
    store = open_store(url)
    claimed = store.claim_shard(JOB, 1, "victim", time.time(), suspect_after=suspect_after)
    if claimed is None:
        raise SystemExit("nothing to claim")
    for cursor in range(claimed.cursor, claimed.stop):
        store.flush(batch(claimed, cursor, cursor + 1), time.time())
        sys.stdout.write(f"{cursor + 1}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    # With a second argument, shards that others hold are left to them.
    main(sys.argv[1], 60.0 if len(sys.argv) > 2 else 0.0)
