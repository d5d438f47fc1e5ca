#!/usr/bin/env bash
# Prints the path of Caffeine's simulator, a jar from Maven in which the recorded traces are that `make bench` replays
# (tests/bench/traces.py). 92 MB, fetched once per machine into a cache outside the checkout.
set -euo pipefail

exec "$(dirname "$0")/maven.sh" com.github.ben-manes.caffeine:simulator:3.1.8 \
    23e2c147d4ba951dda0536614a51f4e7beaf2703a5d7199dc3cfb81a40efad59 \
    "${XDG_CACHE_HOME:-$HOME/.cache}/fpj/traces-3.1.8"
