#!/usr/bin/env bash
# Prints the path of the browser that the dashboard is tested with: Debian's Chromium, installed only if it is missing.
set -euo pipefail

find_browser() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}
if find_browser; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Tests of the dashboard need chromium: install it first (as root, apt-get does)." >&2
    exit 1
fi
exec 9<"$0"
flock 9 # several tests may ask at once
if find_browser; then exit 0; fi
echo "Installing chromium (once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends chromium >&2
find_browser
