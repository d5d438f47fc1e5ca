#!/usr/bin/env bash
# Prints the path of toxiproxy's server (hack/toxiproxy), through which chaos runs disturb connections, building it once
# per version.
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
package=github.com/Shopify/toxiproxy/v2
version=$(awk -v package="$package" '$1 == package { print $2; exit }' "$hack/toxiproxy/go.mod")
exec "$hack/go-build.sh" toxiproxy "toxiproxy-$version" toxiproxy "$package/cmd/server"
