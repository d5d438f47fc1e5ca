#!/usr/bin/env bash
# Checks the dashboard's JavaScript: form, lint rules, and the types that its JSDoc states. `--fix` writes what can be fixed.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
tools=$(hack/js-tools.sh)
if [ "${1:-}" = --fix ]; then
    "$tools/biome" check --write
else
    "$tools/biome" check --error-on-warnings
    "$tools/tsc" --project jsconfig.json
fi
