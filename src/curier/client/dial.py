"""Stand-in for branch dial: plain TCP only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from curier.client.urls import ServerUrl
from curier.errors import ConnectionLost


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Stand-in."""


@dataclass(frozen=True, slots=True)
class DialSettings:
    """How to open a Network Connection."""

    tls: ssl.SSLContext | TlsSettings | None = None
    proxy: str | None = None


async def dial(
    url: ServerUrl, settings: DialSettings, protocol: Callable[[], asyncio.Protocol]
) -> tuple[asyncio.Transport, asyncio.Protocol]:
    """Open a Network Connection."""
    try:
        return await asyncio.get_running_loop().create_connection(protocol, url.host, url.port)
    except OSError as error:
        raise ConnectionLost(f"{url}: {error.strerror or error}") from error
