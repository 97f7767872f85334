"""An MQTT 5.0 client in memory, for the tests of the broker: speaks Control Packets, watches the broker.

Whatever a test is about, every client watches what no server may ever do to it: send anything before CONNACK
but AUTH, a second CONNACK, anything behind DISCONNECT, a packet that is too large, more unfinished messages
than its Receive Maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from tests.codec.cases import properties

if TYPE_CHECKING:
    from tests.broker.harness import Net

P = TypeVar("P", bound=p.Packet)


class Client:
    """One Network Connection to the core. ``closed`` is True once the core has asked to close it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.connection: BrokerConnection = net.core.attach("test", "memory", net.now, net.entrance)
        self.version = MQTT_50
        self.closed = False
        self.inbox: list[p.Packet] = []
        self.connack: p.Connack | None = None
        self._limit = 0  # its Maximum Packet Size
        self._quota = 65535  # its Receive Maximum
        self._unfinished: set[int] = set()  # Packet Identifiers of messages it was sent and has not answered
        self._is_over = False
        self._last_id = 0

    # ---- packets ----

    def send(self, *packets: p.Packet | bytes) -> None:
        """Send packets, or bytes as they are, in one piece."""
        for packet in packets:
            if isinstance(packet, p.Publish):
                self.net.warm(packet.topic)
            elif isinstance(packet, p.Connect) and packet.properties is not None:
                self._limit = packet.properties.maximum_packet_size or 0
                self._quota = packet.properties.receive_maximum or 65535
            elif isinstance(packet, (p.Puback, p.Pubcomp)) or (
                isinstance(packet, p.Pubrec) and packet.reason_code >= 0x80
            ):
                self._unfinished.discard(packet.packet_id)
        pieces = [one if isinstance(one, bytes) else encode(one, self.version) for one in packets]
        self.net.receive(self.connection, b"".join(pieces))

    def feed(self, data: bytes) -> None:
        """Whole packets from the core."""
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            assert pos < end <= len(data), f"no whole packet: {data[pos:].hex(' ')}"
            assert not self._limit or end - pos <= self._limit, "larger than Maximum Packet Size"
            packet = decode(data, pos, end, self.version)
            assert not self._is_over, f"{packet} behind DISCONNECT"
            if isinstance(packet, p.Connack):
                assert self.connack is None, "a second CONNACK"
                self.connack = packet
            elif not isinstance(packet, p.Auth):
                assert self.connack is not None, f"{packet} before CONNACK"
                assert self.connack.reason_code == 0, f"{packet} behind a refusal"
            if isinstance(packet, p.Publish) and packet.qos:
                self._unfinished.add(packet.packet_id)
                assert len(self._unfinished) <= self._quota, "over the Receive Maximum"
            self._is_over = isinstance(packet, p.Disconnect)
            self.inbox.append(packet)
            pos = end

    def take(self) -> list[p.Packet]:
        """The packets that have come since the last look."""
        packets, self.inbox = self.inbox, []
        return packets

    def expect(self, kind: type[P]) -> P:
        """The one packet that has come, which is of this kind."""
        packets = self.take()
        assert [type(packet) for packet in packets] == [kind], packets
        return cast(P, packets[0])

    def pop(self, kind: type[P]) -> P:
        """The first packet of this kind among those that have come; the others stay."""
        for index, packet in enumerate(self.inbox):
            if isinstance(packet, kind):
                del self.inbox[index]
                return packet
        raise AssertionError(f"no {kind.__name__} in {self.inbox}")

    def goodbye(self) -> p.Disconnect:
        """The DISCONNECT that is the last thing the broker says before it closes."""
        assert self.closed
        last = self.inbox.pop()
        assert isinstance(last, p.Disconnect), last
        return last

    def messages(self) -> list[p.Publish]:
        """The packets that have come, which are all PUBLISH."""
        packets = self.take()
        assert {type(packet) for packet in packets} <= {p.Publish}, packets
        return cast(list[p.Publish], packets)

    def message(self) -> p.Publish:
        """The one packet that has come, a PUBLISH."""
        (message,) = self.messages()
        return message

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages()]

    # ---- what clients do ----

    def packet_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def subscribe(self, *filters: str | tuple[str, int], **values: Any) -> list[int]:
        """Subscribe, each filter with its Subscription Options or QoS 2; what SUBACK says."""
        pairs = [(one, 2) if isinstance(one, str) else one for one in filters]
        packet_id = self.packet_id()
        self.send(p.Subscribe(packet_id, pairs, properties(**values) if values else None))
        suback = self.pop(p.Suback)
        assert suback.packet_id == packet_id
        return suback.reason_codes

    def unsubscribe(self, *filters: str) -> list[int]:
        packet_id = self.packet_id()
        self.send(p.Unsubscribe(packet_id, list(filters)))
        unsuback = self.pop(p.Unsuback)
        assert unsuback.packet_id == packet_id
        return unsuback.reason_codes

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **values: Any
    ) -> int:
        """Publish and see the flow through to its end; the Reason Code of PUBACK or PUBREC, 0 for QoS 0."""
        packet_id = self.packet_id() if qos else 0
        made = properties(**values) if values else None
        self.send(p.Publish(topic, payload, qos, False, retain, packet_id, made))
        if qos == 0:
            return 0
        answer = self.pop(p.Puback) if qos == 1 else self.pop(p.Pubrec)
        assert answer.packet_id == packet_id
        if qos == 2 and answer.reason_code < 0x80:
            self.send(p.Pubrel(packet_id))
            assert self.pop(p.Pubcomp) == p.Pubcomp(packet_id)
        return answer.reason_code

    def finish(self, *messages: p.Publish) -> None:
        """Answer received messages to the end of their flows."""
        for message in messages:
            if message.qos == 1:
                self.send(p.Puback(message.packet_id))
            elif message.qos == 2:
                self.send(p.Pubrec(message.packet_id))
                assert self.pop(p.Pubrel) == p.Pubrel(message.packet_id)
                self.send(p.Pubcomp(message.packet_id))

    def disconnect(self, reason_code: int = 0, **values: Any) -> None:
        self.send(p.Disconnect(reason_code, properties(**values) if values else None))
        assert self.closed

    def drop(self) -> None:
        """The network fails: the connection ends without DISCONNECT."""
        self.net.drop(self.connection)
