#!/usr/bin/env bash
# Prints the path of kube-router (hack/network-policies), whose firewall enforces network policies, building it once per
# version. Of all that it can do nothing else is used; ipset and iptables are from hack/node-packages.sh.
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
package=github.com/cloudnativelabs/kube-router/v2
version=$(awk -v package="$package" '$1 == package { print $2; exit }' "$hack/network-policies/go.mod")
exec "$hack/go-build.sh" network-policies "kube-router-$version" kube-router "$package/cmd/kube-router"
