"""Records what a client of ours sends and gets, for its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from curier.codec.packets import Connect
from curier.protocol.connection import CLOSED, Connection, Tap
from curier.trace.events import Closed, Event, Opened, Packet, Wire
from curier.trace.reading import Ring, Trace, shortened
from curier.trace.secrets import without_secrets


class Link(Protocol):
    """One Network Connection of a client, as far as it is asked for here."""

    @property
    def connection(self) -> Any: ...

    @property
    def transport(self) -> Any: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def name(self) -> str: ...

    @property
    def error(self) -> Exception | None: ...


class ClientRecorder:
    """All connections of one client, one after the other, for any number of readers."""

    def __init__(self) -> None:
        self._readers: list[tuple[Ring, int | None]] = []
        self._taps: dict[int, LinkTap] = {}  # by the id of a link that is there
        self._links = 0

    def read(self, ring: Ring, payload: int | None) -> Trace:
        """Record for one more reader, with ``payload`` bytes of each payload, until its trace is closed."""
        reader = (ring, payload)
        self._readers.append(reader)

        def close() -> None:
            self._readers = [one for one in self._readers if one is not reader]
            if not self._readers:
                for tap in self._taps.values():
                    tap.link.connection.tap = None
                self._taps.clear()

        return Trace(ring, close)

    def begin(self, link: Link) -> None:
        """A link is made, or there already."""
        connection: Connection = link.connection
        if self._readers and connection.state != CLOSED and id(link) not in self._taps:
            self._links += 1
            self._taps[id(link)] = connection.tap = LinkTap(self, link, self._links)

    def closed(self, link: Link) -> None:
        """The network is gone."""
        tap = self._taps.pop(id(link), None)
        if tap is not None and tap.wire is not None:
            by = "client" if tap.has_left else "server" if tap.was_told else "network"
            self.tell(Closed(link.clock(), tap.wire, by, str(link.error or "")))

    def tell(self, event: Event) -> None:
        """Give an event to all readers."""
        for ring, payload in self._readers:
            is_cut = payload is not None and isinstance(event, Packet)
            ring.add(shortened(event, payload or 0) if is_cut and isinstance(event, Packet) else event)


class LinkTap(Tap):
    """What goes by on one link."""

    def __init__(self, recorder: ClientRecorder, link: Link, number: int) -> None:
        super().__init__()
        self.recorder = recorder
        self.link = link
        self.number = number
        self.wire: Wire | None = None
        self.has_left = False  # with DISCONNECT
        self.was_told = False  # by the server's, that it ends

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        """Called by the connection."""
        now = self.link.clock()
        if self.wire is None:
            self.wire = self._wire(connection)
            if data[0] >> 4 == 1:
                self.recorder.tell(Opened(now, self.wire))
        elif not self.wire.client_id:
            self.wire = self._wire(connection)  # the server has given it a name
        if data[0] == 0xE0:
            self.has_left, self.was_told = is_outgoing, not is_outgoing
        self.recorder.tell(Packet(now, self.wire, is_outgoing, without_secrets(data, connection.version)))

    def _wire(self, connection: Connection) -> Wire:
        packet = self.link.connection.connect_packet
        user = packet.username if isinstance(packet, Connect) else None
        session = connection.session
        client_id = session.client_id if session is not None else ""
        own, peer = (self._address(name) for name in ("sockname", "peername"))
        return Wire(
            self.number,
            client_id,
            connection.version,
            user or "",
            own,
            peer or self.link.name,
            self.link.name,
        )

    def _address(self, name: str) -> str:
        transport = self.link.transport
        found = transport.get_extra_info(name) if transport is not None else None
        if isinstance(found, tuple) and len(found) >= 2:
            return f"[{found[0]}]:{found[1]}" if ":" in found[0] else f"{found[0]}:{found[1]}"
        return found if isinstance(found, str) else ""
