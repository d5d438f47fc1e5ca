"""Where a server inside a pod listens."""

from __future__ import annotations

import socket


def any_address() -> tuple[socket.AddressFamily, str]:
    """(family, address) by which the pod is reached at all its addresses: IPv6 ones too,
    where the machine has IPv6.
    """
    if socket.has_dualstack_ipv6():
        return socket.AF_INET6, "::"
    return socket.AF_INET, "0.0.0.0"  # noqa: S104 - what is asked for
