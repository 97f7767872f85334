"""The header of the PROXY protocol that tells a broker for whom a connection is made.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address
from typing import Final

from curier.net.proxy_protocol import LOCAL, PROXY, SIGNATURE, UNSPECIFIED

_STREAM_4: Final = 0x11
_STREAM_6: Final = 0x21


def proxy_header(version: int, client: str, server: str) -> bytes:
    """The header of version 1 or 2 for a client at ``client``, which connected to us at ``server``.

    Both are ``host:port``; where one is no address of IP, the header says that it is not known.
    """
    ends = _address(client), _address(server)
    if ends[0] is None or ends[1] is None or len(ends[0][0]) != len(ends[1][0]):
        if version == 1:
            return b"PROXY UNKNOWN\r\n"
        return SIGNATURE + bytes([LOCAL, UNSPECIFIED, 0, 0])
    (source, source_port), (target, target_port) = ends[0], ends[1]
    is_4 = len(source) == 4
    if version == 1:
        words = ("TCP4" if is_4 else "TCP6", ip_address(source), ip_address(target), source_port, target_port)
        return ("PROXY {} {} {} {} {}\r\n".format(*words)).encode()
    body = source + target + struct.pack("!HH", source_port, target_port)
    return SIGNATURE + struct.pack("!BBH", PROXY, _STREAM_4 if is_4 else _STREAM_6, len(body)) + body


def _address(text: str) -> tuple[bytes, int] | None:
    """The packed address and the port of ``host:port``; an IPv4 address within IPv6 is the one it is."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
        inner = None if isinstance(address, IPv4Address) else address.ipv4_mapped
        return (inner or address).packed, int(port)
    except ValueError:
        return None
