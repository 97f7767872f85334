"""Where a peer is, of its address and port: what tells one stranger from another.

It knows no layer, and all that count by place use it: shares of what all share, and the line of logins.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address


def place_of(address: str) -> str:
    """``192.0.2.1`` of ``192.0.2.1:1883``; of ``[2001:db8::7]:1883`` the network, ``2001:db8::/64``.

    Whoever has one address of IPv6 has the 2 ** 64 of its network, so they are one place. An IPv4 address in
    an IPv6 one is the IPv4 address. Of ``uid=1000:pid=4711``, behind a Unix socket, it is the user. What has
    no port, as nothing on a network does, is a place as it stands.
    """
    host = address.rpartition(":")[0].strip("[]")
    if ":" not in host:
        return host or address
    try:
        ip = IPv6Address(host)
    except ValueError:
        return host
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(ip.packed[:8] + bytes(8))}/64"


def region_of(place: str) -> str:
    """Where a place is by and large, such as a provider's network: ``192.0.0.0/16`` of ``192.0.2.1``, of
    ``2001:db8:1:2::/64`` the /32. What is no address is its own region.
    """
    if place.endswith("/64"):
        found = IPv6Address(place[:-3]).packed.hex()
        return f"{found[:4]}:{found[4:8]}::/32"
    parts = place.split(".")
    is_ipv4 = len(parts) == 4 and all(part.isdecimal() for part in parts)
    return f"{parts[0]}.{parts[1]}.0.0/16" if is_ipv4 else place


def lies_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether a peer's address, with its port, is in one of these networks; what has no address is in none.

    An IPv4 address in an IPv6 one is looked for as the IPv4 address.
    """
    try:
        ip = ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
