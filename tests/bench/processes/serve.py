"""Makes images in one of the `ways`, round after round, and says what each round cost.

Requests are lines of JSON on standard input, `{"paths": […], "keep": folder or null}`; answers are
lines on standard output. Start-up is not part of any answer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.memory import peak_bytes
from bench.ways import OUTPUTS, WAYS


def main() -> None:
    """Serve the way and the outputs named on the command line."""
    way, outputs = sys.argv[1:]
    make = WAYS[way](OUTPUTS[outputs])
    for line in sys.stdin:
        request = json.loads(line)
        size = 0
        started, cpu = time.perf_counter(), time.process_time()
        for path in request["paths"]:
            made = make(path)
            size += sum(map(len, made))
            if request["keep"]:
                for number, data in enumerate(made):
                    Path(request["keep"], f"{Path(path).stem}-{number}").write_bytes(data)
        cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - started}
        print(json.dumps({**cost, "bytes": size, "peak": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
