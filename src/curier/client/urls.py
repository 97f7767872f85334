"""Stand-in for branch dial: plain TCP only."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from curier.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """One server."""

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = field(default="", repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def parse_server_url(url: str) -> ServerUrl:
    """Read the URL of a server; ``ConfigError`` says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme != "mqtt":
        raise ConfigError(f"{url}: expected mqtt://")
    return ServerUrl(
        "mqtt", parts.hostname or "", parts.port or 1883, username=parts.username, password=parts.password
    )
