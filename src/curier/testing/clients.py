"""Clients of the broker of a test, made within the loop of whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curier.client.client import Client
    from curier.client.sync import SyncClient


class ClientMaker:
    """Makes clients that connect to ``url``. Settings are those of ``curier.connect``.

    async def test_greeting(mqtt_client):
        async with mqtt_client(client_id="me") as client:
            await client.publish("greetings", b"hello", qos=1)
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, **settings: Any) -> Client:
        """For ``async with``, in any asyncio loop."""
        from curier.client.client import connect

        return connect(self.url, **settings)

    def sync(self, **settings: Any) -> SyncClient:
        """For ``with``: it blocks, and has a loop of its own."""
        from curier.client.sync import connect_sync

        return connect_sync(self.url, **settings)
