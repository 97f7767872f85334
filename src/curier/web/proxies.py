"""What a proxy in front says of those who ask: where they are, and whether they came by TLS.

Anybody can write such headers, so they are heard from addresses alone that are trusted to.
"""

from __future__ import annotations

from starlette.types import Scope

from curier.listeners import Network
from curier.net.upgrade import forwarded
from curier.places import lies_in


def behind(scope: Scope, trusted: tuple[Network, ...]) -> Scope:
    """A request as the proxy was asked it, by ``X-Forwarded-For`` and ``X-Forwarded-Proto``; the same one
    where nobody trusted has asked. What says of two proxies both ``https`` and ``http`` counts as ``https``:
    so the cookie of a login never goes by a way in clear text.
    """
    client = scope.get("client")
    if not client:
        return scope
    peer = f"[{client[0]}]:{client[1]}" if ":" in client[0] else f"{client[0]}:{client[1]}"
    if not lies_in(peer, trusted):
        return scope
    address = forwarded(_lines(scope, b"x-forwarded-for"), peer, trusted)
    host, _, port = address.rpartition(":")
    found = {**scope, "client": (host.strip("[]"), int(port))}
    said = [one.strip().lower() for line in _lines(scope, b"x-forwarded-proto") for one in line.split(",")]
    if scope["type"] == "http" and "https" in said:
        found["scheme"] = "https"
    return found


def _lines(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for one, value in scope["headers"] if one == name]
