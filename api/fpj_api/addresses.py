"""Whose address a request has. What a proxy says of it is believed of trusted ones only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fpj_core.errors import ManifestError

Network = IPv4Network | IPv6Network
_MOST_HOPS = 20
_PREFIX = 64
"""Of IPv6, what one customer has at least."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (CIDR). Raises `ManifestError` that names what is none."""
    found, odd = [], []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError:
            odd.append(f"{text!r} is not an address or a network such as 10.0.0.0/8")
    if odd:
        raise ManifestError(odd)
    return tuple(found)


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Whether an address is one of the proxies."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in proxies)


def client_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address of the client: ``peer``, or what trusted proxies say in ``forwarded``
    (``X-Forwarded-For``).

    Each proxy appends the address of its client, so the last one that is not our proxy is the
    client; what stands before was written by the client itself.
    """
    address = _text(peer)
    if not is_trusted(address, proxies):
        return address
    for hop in reversed(",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        parsed = _parsed(hop.strip())
        if parsed is None:
            return _text(peer)
        address = str(parsed)
        if not is_trusted(address, proxies):
            break
    return address


def network_of(address: str) -> str:
    """What limits count by: an address of IPv4, a network of IPv6; empty for what is none."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _PREFIX), strict=False))
    return str(parsed or "")


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def _text(address: str) -> str:
    return str(_parsed(address) or address)
