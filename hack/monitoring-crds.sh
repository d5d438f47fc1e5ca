#!/usr/bin/env bash
# Prints the folder that holds the CustomResourceDefinitions of Prometheus' operator, of the version that
# hack/cluster/monitoring/go.mod pins. The first call downloads its Go module (4 MB).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
module=github.com/prometheus-operator/prometheus-operator
go=$("$here/find-go.sh" "$here/cluster/monitoring")
export GOTOOLCHAIN=local GOWORK=off
cd "$here/cluster/monitoring"
"$go" mod download "$module" >&2
echo "$("$go" list -m -f '{{.Dir}}' "$module")/example/prometheus-operator-crd"
