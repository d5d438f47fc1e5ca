#!/usr/bin/env bash
# Prints the path of the browser that the dashboard is tested with: Debian's Chromium, installed only if it is missing.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    if command -v "$name"; then exit 0; fi
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Tests of the dashboard need chromium: install it first (as root, apt-get does)." >&2
    exit 1
fi
echo "Installing chromium (once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends chromium >&2
command -v chromium
