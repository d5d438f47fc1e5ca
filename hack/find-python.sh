#!/usr/bin/env bash
# Prints the first Python from 3.11 to 3.14 that runs, oldest first: what we support longest is used most.
set -euo pipefail
for candidate in python3.11 python3.12 python3.13 python3.14 python3; do
    if "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
        command -v "$candidate"
        exit 0
    fi
done
echo "fpj needs Python 3.11 to 3.14 with its venv module, and found none on PATH." >&2
exit 1
