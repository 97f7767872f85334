"""A web server for one WebSocket after the other, in memory: what an ASGI server gives an application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.mounted import Mount

Message = MutableMapping[str, Any]


class Visitor:
    """A client of a mount. ``takes`` is cleared to have it take nothing more."""

    def __init__(
        self,
        mount: Mount,
        client: tuple[str, int] | None = ("127.0.0.1", 5000),
        subprotocols: list[str] | None = None,
        headers: dict[str, str] | None = None,
        **scope: Any,
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/mqtt",
            "client": client,
            "subprotocols": ["mqtt"] if subprotocols is None else subprotocols,
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
            **scope,
        }
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()
        self.sent = 0  # bytes that the application has been allowed to send
        self._data = b""
        self.to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(mount(self.scope, self.to_app.get, self._take))

    async def _take(self, message: Message) -> None:
        await self.takes.wait()
        self.sent += len(message.get("bytes") or b"")
        self.from_app.put_nowait(message)

    async def next(self) -> Message:
        """What the application says next."""
        async with asyncio.timeout(100):
            return await self.from_app.get()

    def say(self, *packets: p.Packet, version: int = 5) -> None:
        """Send packets in one message."""
        self.send(b"".join(encode(packet, version) for packet in packets))

    def send(self, data: bytes) -> None:
        self.to_app.put_nowait({"type": "websocket.receive", "bytes": data})

    async def hear(self, version: int = 5) -> p.Packet:
        """The next packet."""
        while True:
            end = packet_end(self._data, 0)
            if 0 < end <= len(self._data):
                packet = decode(self._data, 0, end, version)
                self._data = self._data[end:]
                return packet
            message = await self.next()
            assert message["type"] == "websocket.send", message
            self._data += message["bytes"]

    async def enter(self, client_id: str = "page", **how: Any) -> p.Connack:
        """Be accepted, connect, and return what the broker says."""
        assert await self.next() == {"type": "websocket.accept", "subprotocol": "mqtt", "headers": []}
        self.say(p.Connect(5, client_id, **how))
        answer = await self.hear()
        assert isinstance(answer, p.Connack)
        return answer

    async def closed(self) -> int:
        """The code with which the application closes; what it sends before is passed over."""
        while True:
            message = await self.next()
            if message["type"] == "websocket.close":
                self.hang_up()
                return int(message["code"])

    def hang_up(self) -> None:
        self.to_app.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def gone(self) -> None:
        """Hang up, and wait until the application has noticed."""
        self.hang_up()
        self.takes.set()
        async with asyncio.timeout(100):
            await self.task
