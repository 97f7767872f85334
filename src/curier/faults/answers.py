"""The packet that answers another one with a Reason Code of choice, as if it had never been passed on."""

from __future__ import annotations

from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.errors import LocalProtocolError, MalformedPacket, RemoteProtocolError

_WITHOUT = "before MQTT 5.0 this answer has no Reason Code"


def answer(data: bytes, version: int, reason_code: int) -> tuple[bytes, str]:
    """The bytes of the answer, or none and why there can be none.

    Any Reason Code that the answer may have is taken; to a PUBREC a PUBREL answers, which has two.
    """
    try:
        packet = decode(data, 0, len(data), version)
    except (MalformedPacket, RemoteProtocolError) as error:
        return b"", f"the packet cannot be read: {error}"
    if isinstance(packet, Connect):
        version = packet.version
    reply = _reply(packet, reason_code)
    if reply is None:
        return b"", "nothing answers a PUBLISH of QoS 0"
    if version != MQTT_50 and not isinstance(reply, (Connack, Suback)) and reason_code:
        return b"", _WITHOUT
    try:
        return encode(reply, version), ""
    except LocalProtocolError as error:
        return b"", str(error)


def _reply(packet: Packet, code: int) -> Packet | None:
    if isinstance(packet, Connect):
        return Connack(False, code)
    if isinstance(packet, Publish):
        if not packet.qos:
            return None
        return Puback(packet.packet_id, code) if packet.qos == 1 else Pubrec(packet.packet_id, code)
    if isinstance(packet, Pubrec):
        return Pubrel(packet.packet_id, code)
    if isinstance(packet, Pubrel):
        return Pubcomp(packet.packet_id, code)
    if isinstance(packet, Subscribe):
        return Suback(packet.packet_id, [code] * len(packet.subscriptions))
    if isinstance(packet, Unsubscribe):
        return Unsuback(packet.packet_id, [code] * len(packet.topic_filters))
    return None
