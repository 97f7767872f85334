"""Random Control Packets from a seed: many at once, and the same each time."""

from __future__ import annotations

from random import Random
from typing import Any

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.properties import WILL, Properties
from tests.strategies import PROPERTIES, REASON_CODES, RETURN_CODES

LETTERS = "abcxyz019 -_.:ăîșț漢é"
BYTES = b"\x80\x9f\xc0\xff{}~ab"  # that no tool takes for the end of a line
NUMBERS = (0, 1, 127, 128, 255, 256, 16_383, 16_384, 65_535, 65_536, 0xFFFFFFFF)
_MOST = {"payload_format_indicator": 1, "maximum_qos": 1, "retain_available": 1}
_TWO = ("server_keep_alive", "receive_maximum", "topic_alias_maximum", "topic_alias")


def text(random: Random, least: int = 0) -> str:
    return "".join(random.choice(LETTERS) for _ in range(random.randint(least, 12)))


def topic(random: Random) -> str:
    return "/".join(text(random, 1) for _ in range(random.randint(1, 4)))


def properties(random: Random, packet_type: int, version: int) -> Properties | None:
    if version != 5 or random.random() < 0.3:
        return None
    made = Properties()
    allowed = [name for name, (_, types) in PROPERTIES.items() if packet_type in types]
    for name in random.sample(allowed, random.randint(0, min(5, len(allowed)))):
        setattr(made, name, _value(random, name, packet_type))
    if made.authentication_data is not None and made.authentication_method is None:
        made.authentication_method = text(random)
    return made


def _value(random: Random, name: str, packet_type: int) -> Any:
    if name == "user_properties":
        return [(text(random, 1), text(random)) for _ in range(random.randint(1, 3))]
    if name == "subscription_identifiers":
        most = 1 if packet_type == c.SUBSCRIBE else 3
        return [random.randint(1, 268_435_455) for _ in range(random.randint(1, most))]
    if name.endswith("_data"):
        return bytes(random.choices(BYTES, k=random.randint(1, 20)))
    if name == "response_topic":
        return topic(random)
    if (
        name.endswith(("indicator", "information", "available", "maximum_qos"))
        and name != "response_information"
    ):
        return random.randint(0, 1)
    if name in _TWO:
        return random.randint(1, 65_535)
    if name.endswith(("interval", "size")):
        return max(1, random.choice(NUMBERS))
    return text(random, 1)


def packet(random: Random, version: int) -> p.Packet:
    """Any packet but CONNECT."""
    kind = random.choice(_KINDS if version == 5 else _KINDS[:-1])
    made: p.Packet = kind(random, version)
    return made


def connect(random: Random, version: int) -> p.Connect:
    will = None
    if random.random() < 0.5:
        carried = properties(random, WILL, version)
        will = p.Will(
            topic(random), random.randbytes(9), random.randint(0, 2), random.random() < 0.5, carried
        )
    user = text(random, 1) if random.random() < 0.5 else None
    password = b"sesame" if user is not None and random.random() < 0.5 else None
    carried = properties(random, c.CONNECT, version)
    return p.Connect(version, text(random, 1), random.random() < 0.5, 60, user, password, will, carried)


def _connack(random: Random, version: int) -> p.Packet:
    code = _code(random, c.CONNACK, version)
    present = code == 0 and version != 3 and random.random() < 0.5
    return p.Connack(present, code, properties(random, c.CONNACK, version))


def _publish(random: Random, version: int) -> p.Packet:
    qos = random.randint(0, 2)
    return p.Publish(
        topic(random),
        random.randbytes(random.choice((0, 1, 30, 300))),
        qos,
        qos > 0 and random.random() < 0.3,
        random.random() < 0.3,
        random.randint(1, 65_535) if qos else 0,
        properties(random, c.PUBLISH, version),
    )


def _acknowledgement(random: Random, version: int) -> p.Packet:
    kind = random.choice([p.Puback, p.Pubrec, p.Pubrel, p.Pubcomp])
    packet_id = random.randint(1, 65_535)
    if version != 5:
        return kind(packet_id)
    packet_type = kind(1).packet_type
    return kind(packet_id, _code(random, packet_type, 5), properties(random, packet_type, 5))


def _subscribe(random: Random, version: int) -> p.Packet:
    filters = []
    for _ in range(random.randint(1, 4)):
        options = random.randint(0, 2)
        if version == 5:
            options |= random.randint(0, 2) << 4 | random.randint(0, 3) << 2
        filters.append((topic(random) + random.choice(["", "/#", "/+"]), options))
    return p.Subscribe(random.randint(1, 65_535), filters, properties(random, c.SUBSCRIBE, version))


def _suback(random: Random, version: int) -> p.Packet:
    codes = [_code(random, c.SUBACK, version) for _ in range(random.randint(1, 4))]
    return p.Suback(random.randint(1, 65_535), codes, properties(random, c.SUBACK, version))


def _unsubscribe(random: Random, version: int) -> p.Packet:
    filters = [topic(random) for _ in range(random.randint(1, 4))]
    return p.Unsubscribe(random.randint(1, 65_535), filters, properties(random, c.UNSUBSCRIBE, version))


def _unsuback(random: Random, version: int) -> p.Packet:
    if version != 5:
        return p.Unsuback(random.randint(1, 65_535), [])
    codes = [_code(random, c.UNSUBACK, 5) for _ in range(random.randint(1, 4))]
    return p.Unsuback(random.randint(1, 65_535), codes, properties(random, c.UNSUBACK, 5))


def _ping(random: Random, version: int) -> p.Packet:
    return random.choice([p.Pingreq, p.Pingresp])()


def _disconnect(random: Random, version: int) -> p.Packet:
    if version != 5:
        return p.Disconnect()
    return p.Disconnect(_code(random, c.DISCONNECT, 5), properties(random, c.DISCONNECT, 5))


def _auth(random: Random, version: int) -> p.Packet:
    carried = properties(random, c.AUTH, version) or Properties()
    carried.authentication_method = text(random, 1)
    return p.Auth(_code(random, c.AUTH, version), carried)


def _code(random: Random, packet_type: int, version: int) -> int:
    return random.choice(REASON_CODES[packet_type] if version == 5 else RETURN_CODES[packet_type])


_KINDS = [
    *(_connack, _publish, _acknowledgement, _subscribe, _suback, _unsubscribe, _unsuback, _ping, _disconnect),
    _auth,
]
