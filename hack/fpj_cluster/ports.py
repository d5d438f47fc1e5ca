"""Free ports that stay free: chosen where Linux hands out none of its own."""

from __future__ import annotations

import random
import socket

from fpj_cluster.errors import ClusterError

_MOST_TRIED = 500


def free_ports(number: int, among: range) -> list[int]:
    """So many free ports, chosen at random so that those who ask together rarely meet.

    Raises `ClusterError`.

    Choose ``among`` below 32768: from there on Linux hands ports to outgoing connections, and takes
    away what was free.
    """
    tried = random.sample(among, min(_MOST_TRIED, len(among)))
    chosen: list[int] = []
    for port in tried:
        if len(chosen) == number:
            break
        if _is_free(port):
            chosen.append(port)
    if len(chosen) < number:
        raise ClusterError(f"there are no free ports between {among.start} and {among.stop}")
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True
