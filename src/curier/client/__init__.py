"""The client library: async, or blocking. See ``connect`` and ``connect_sync``."""

from __future__ import annotations

from typing import Any

from curier.client.client import Client
from curier.client.settings import ClientSettings
from curier.client.signatures import takes
from curier.client.sync import SyncClient


@takes(ClientSettings)
def connect(*args: Any, **settings: Any) -> Client:
    """A client, to be entered with ``async with``; the parameters are the fields of ``ClientSettings``.

    Raises ``ConfigError`` for a setting that cannot be. Nothing is connected before the context is entered,
    and no file looked at: entering raises ``ConfigError`` for those.
    """
    return Client(ClientSettings(*args, **settings))


@takes(ClientSettings)
def connect_sync(*args: Any, **settings: Any) -> SyncClient:
    """A blocking client, to be entered with ``with``; takes and raises what ``connect`` does."""
    return SyncClient(ClientSettings(*args, **settings))


__all__ = ["Client", "ClientSettings", "SyncClient", "connect", "connect_sync"]
