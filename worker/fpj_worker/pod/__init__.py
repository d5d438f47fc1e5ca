"""What runs in the pods of a job: `fpj-worker index` plans it,
`fpj-worker shard` works on one shard of it, `fpj-worker remove` removes what was made. In those of
a cache folder: `fpj-worker evict`, `fpj-worker verify` and `fpj-worker purge`.

The operator tells a pod all that it must know by environment variables (`fpj_worker.pod.task`); the
pod answers by its exit code and termination message (`fpj_core.kube.exits`), and by what it records
in the store.
"""

from __future__ import annotations

import os
import sys

from fpj_worker.stopping import Stop


def main() -> None:
    """The command `fpj-worker`."""
    stop = Stop()
    stop.listen()
    from fpj_worker.pod.run import run  # noqa: PLC0415 - takes a second, in which SIGTERM must be heeded already

    sys.exit(run(sys.argv[1:], os.environ, stop))
