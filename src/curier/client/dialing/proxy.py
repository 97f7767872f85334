"""A tunnel through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS 5 (RFC 1928, RFC 1929).

Both proxies get the server's name, not its address, so names that only they know can be used, and none leak
to the local network. Their answers are read to the byte: what follows is the server's.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from typing import Final

from curier.client.dialing.talk import Talk
from curier.client.urls import ProxyUrl, join_address
from curier.errors import ConnectionLost

HEAD_BYTES: Final = 16_384
"""What an HTTP proxy's answer may have."""

_STATUS: Final = rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r\n"
_SOCKS: Final = {
    1: "general failure",
    2: "its rules do not allow that",
    3: "the network cannot be reached",
    4: "the host cannot be reached or is not known",
    5: "the connection was refused",
    6: "the time to live expired",
    7: "it cannot connect",
    8: "it does not know that type of address",
}


async def open_tunnel(
    transport: asyncio.Transport, talk: Talk, proxy: ProxyUrl, host: str, port: int
) -> None:
    """Have the proxy connect to ``host``; ``ConnectionLost`` says why it did not."""
    if proxy.scheme == "http":
        await _connect_http(transport, talk, proxy, host, port)
    else:
        await _connect_socks(transport, talk, proxy, host, port)


async def _connect_http(
    transport: asyncio.Transport, talk: Talk, proxy: ProxyUrl, host: str, port: int
) -> None:
    target = join_address(host, port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        secret = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")  # RFC 7617
    transport.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii"))
    head = await talk.read_until(b"\r\n\r\n", HEAD_BYTES)
    status = re.match(_STATUS, head)
    if status is None:
        raise ConnectionLost(f"{talk.peer} did not answer in HTTP; is it an HTTP proxy?")
    code, reason = int(status[1]), _shown(status[2] or b"")
    if 200 <= code < 300:
        return
    hint = ""
    if code == 407:
        hint = "; check the user and password in its URL" if proxy.username else _ask_for_user(proxy)
    raise ConnectionLost(f"{talk.peer} does not connect to {target}: {f'{code} {reason}'.rstrip()}{hint}")


async def _connect_socks(
    transport: asyncio.Transport, talk: Talk, proxy: ProxyUrl, host: str, port: int
) -> None:
    no_authentication, user_and_password = 0, 2
    methods = [no_authentication] if proxy.username is None else [no_authentication, user_and_password]
    transport.write(bytes([5, len(methods), *methods]))
    version, method = await talk.read(2)
    if version != 5:
        raise ConnectionLost(f"{talk.peer} does not speak SOCKS 5")
    if method == 0xFF:
        hint = "" if proxy.username else _ask_for_user(proxy)
        raise ConnectionLost(f"{talk.peer} takes none of our ways to authenticate{hint}")
    if method not in methods:
        raise ConnectionLost(f"{talk.peer} chose a way to authenticate that was not offered: {method}")
    if method == user_and_password:
        user, password = (proxy.username or "").encode(), (proxy.password or "").encode()
        transport.write(bytes([1, len(user), *user, len(password), *password]))
        _, status = await talk.read(2)
        if status != 0:
            raise ConnectionLost(f"{talk.peer} does not accept the user and password in its URL")
    transport.write(bytes([5, 1, 0]) + _socks_address(host) + port.to_bytes(2))
    version, reply = await talk.read(2)
    if version == 5 and reply != 0:
        why = _SOCKS.get(reply, f"code {reply}")
        raise ConnectionLost(f"{talk.peer} does not connect to {join_address(host, port)}: {why}")
    _, kind = await talk.read(2)
    if version != 5 or kind not in (1, 3, 4):
        raise ConnectionLost(f"{talk.peer} does not speak SOCKS 5")
    size = {1: 4, 4: 16}.get(kind) or (await talk.read(1))[0]
    await talk.read(size + 2)  # the address and port it connects from


def _socks_address(host: str) -> bytes:
    """A type and an address (RFC 1928 section 5)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")  # of at most 253 bytes, see urls
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed


def _ask_for_user(proxy: ProxyUrl) -> str:
    address = join_address(proxy.host, proxy.port)
    return f"; it wants a user and password: {proxy.scheme}://USER:PASSWORD@{address}"


def _shown(reason: bytes) -> str:
    """Words of a stranger, fit for a message."""
    return re.sub(r"[^\x20-\x7e]", "?", reason[:200].decode("latin-1"))
