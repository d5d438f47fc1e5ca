#!/usr/bin/env bash
# Prints the folder that holds the CustomResourceDefinitions of the Gateway API, of the version that
# hack/cluster/gateway/go.mod pins. The first call downloads its Go module (3 MB).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
module=sigs.k8s.io/gateway-api
go=$("$here/find-go.sh" "$here/cluster/gateway")
export GOTOOLCHAIN=local GOWORK=off
cd "$here/cluster/gateway"
"$go" mod download "$module" >&2
echo "$("$go" list -m -f '{{.Dir}}' "$module")/config/crd/standard"
