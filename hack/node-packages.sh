#!/usr/bin/env bash
# Installs what a cluster with a node, and building images, need from the system's packages: only what is missing.
set -euo pipefail

missing=()
need() { # package, command or file
    command -v "$2" >/dev/null || [ -e "$2" ] || missing+=("$1")
}
PATH=$PATH:/usr/sbin:/sbin
need containerd containerd
need runc runc
[ -e /opt/cni/bin/bridge ] || need containernetworking-plugins /usr/lib/cni/bridge
need buildah buildah
need iptables iptables
need iproute2 ip
need ipset ipset # for hack/network-policies.sh
need conntrack conntrack
need mmdebstrap mmdebstrap
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "A cluster with a node needs ${missing[*]}: install them first (as root, apt-get does)." >&2
    exit 1
fi
echo "Installing ${missing[*]} (once)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
