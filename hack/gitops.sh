#!/usr/bin/env bash
# Prints the path of gitops-health (hack/gitops), which says what kstatus and Argo CD make of an object, building it
# once per version of its source (some 30 s on 2 cores).
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
digest=$(cd "$hack/gitops" && cat go.mod go.sum ./*.go | sha256sum | cut -c1-12)
exec "$hack/go-build.sh" gitops "gitops-health-$digest" gitops-health
