"""Who an address counts as, where tries and connections are counted."""

from __future__ import annotations

import ipaddress


def network_of(source_ip: str) -> str:
    """Who an address counts as: itself, or with IPv6 the /64 that one household has."""
    try:
        address = ipaddress.ip_address(source_ip.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
