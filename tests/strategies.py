"""Hypothesis strategies: every Control Packet that a version of MQTT allows, and the parts they are made of.

What may stand where is written here a second time, from the specification and not from the codec's table:
`PROPERTIES` is table 2-4 of MQTT 5.0 with the allowed values, `REASON_CODES` is table 2-6.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.properties import WILL, Properties

Strategy = st.SearchStrategy

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
_topic_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00+#")

texts = st.text(_characters, max_size=20)
blobs = st.binary(max_size=40)
bits = st.integers(0, 1)
two_bytes = st.one_of(st.sampled_from([0, 1, 255, 256, 65535]), st.integers(0, 65535))
four_bytes = st.one_of(st.sampled_from([0, 1, 65536, 0xFFFFFFFF]), st.integers(0, 0xFFFFFFFF))
packet_ids = st.one_of(st.sampled_from([1, 255, 256, 65535]), st.integers(1, 65535))
subscription_identifiers = st.one_of(
    st.sampled_from([1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455]),
    st.integers(1, 268_435_455),
)
user_properties = st.lists(st.tuples(texts, texts), max_size=3)
topic_names = st.text(_topic_characters, min_size=1, max_size=20)
_levels = st.one_of(st.just("+"), st.text(st.sampled_from("ab$é"), max_size=2))
topic_filters = (
    st.tuples(st.lists(_levels, min_size=1, max_size=4), st.sampled_from(["", "/#"]))
    .map(lambda parts: "/".join(parts[0]) + parts[1])
    .filter(bool)
)

_NAMES = {
    "CONNECT": c.CONNECT,
    "CONNACK": c.CONNACK,
    "PUBLISH": c.PUBLISH,
    "PUBACK": c.PUBACK,
    "PUBREC": c.PUBREC,
    "PUBREL": c.PUBREL,
    "PUBCOMP": c.PUBCOMP,
    "SUBSCRIBE": c.SUBSCRIBE,
    "SUBACK": c.SUBACK,
    "UNSUBSCRIBE": c.UNSUBSCRIBE,
    "UNSUBACK": c.UNSUBACK,
    "DISCONNECT": c.DISCONNECT,
    "AUTH": c.AUTH,
    "Will": WILL,
}
PROPERTY_PACKETS = tuple(_NAMES.values())
"""Every Control Packet type that can carry Properties, and `WILL`."""

ACKNOWLEDGEMENTS = "PUBACK PUBREC PUBREL PUBCOMP"
EVERYWHERE = " ".join(_NAMES)


def _row(values: Strategy[Any], names: str) -> tuple[Strategy[Any], frozenset[int]]:
    return values, frozenset(_NAMES[name] for name in names.split())


PROPERTIES: dict[str, tuple[Strategy[Any], frozenset[int]]] = {
    "payload_format_indicator": _row(bits, "PUBLISH Will"),
    "message_expiry_interval": _row(four_bytes, "PUBLISH Will"),
    "content_type": _row(texts, "PUBLISH Will"),
    "response_topic": _row(topic_names, "PUBLISH Will"),
    "correlation_data": _row(blobs, "PUBLISH Will"),
    "subscription_identifiers": _row(st.lists(subscription_identifiers, max_size=3), "PUBLISH SUBSCRIBE"),
    "session_expiry_interval": _row(four_bytes, "CONNECT CONNACK DISCONNECT"),
    "assigned_client_identifier": _row(texts, "CONNACK"),
    "server_keep_alive": _row(two_bytes, "CONNACK"),
    "authentication_method": _row(texts, "CONNECT CONNACK AUTH"),
    "authentication_data": _row(blobs, "CONNECT CONNACK AUTH"),
    "request_problem_information": _row(bits, "CONNECT"),
    "will_delay_interval": _row(four_bytes, "Will"),
    "request_response_information": _row(bits, "CONNECT"),
    "response_information": _row(texts, "CONNACK"),
    "server_reference": _row(texts, "CONNACK DISCONNECT"),
    "reason_string": _row(texts, f"CONNACK {ACKNOWLEDGEMENTS} SUBACK UNSUBACK DISCONNECT AUTH"),
    "receive_maximum": _row(two_bytes.filter(bool), "CONNECT CONNACK"),
    "topic_alias_maximum": _row(two_bytes, "CONNECT CONNACK"),
    "topic_alias": _row(two_bytes.filter(bool), "PUBLISH"),
    "maximum_qos": _row(bits, "CONNACK"),
    "retain_available": _row(bits, "CONNACK"),
    "user_properties": _row(user_properties, EVERYWHERE),
    "maximum_packet_size": _row(four_bytes.filter(bool), "CONNECT CONNACK"),
    "wildcard_subscription_available": _row(bits, "CONNACK"),
    "subscription_identifier_available": _row(bits, "CONNACK"),
    "shared_subscription_available": _row(bits, "CONNACK"),
}

_PUBLISHED = "PUBACK PUBREC"
_REASONS = {
    0x00: f"CONNACK {ACKNOWLEDGEMENTS} UNSUBACK AUTH DISCONNECT SUBACK",
    0x01: "SUBACK",
    0x02: "SUBACK",
    0x04: "DISCONNECT",
    0x10: _PUBLISHED,
    0x11: "UNSUBACK",
    0x18: "AUTH",
    0x19: "AUTH",
    0x80: f"CONNACK {_PUBLISHED} SUBACK UNSUBACK DISCONNECT",
    0x81: "CONNACK DISCONNECT",
    0x82: "CONNACK DISCONNECT",
    0x83: f"CONNACK {_PUBLISHED} SUBACK UNSUBACK DISCONNECT",
    0x84: "CONNACK",
    0x85: "CONNACK",
    0x86: "CONNACK",
    0x87: f"CONNACK {_PUBLISHED} SUBACK UNSUBACK DISCONNECT",
    0x88: "CONNACK",
    0x89: "CONNACK DISCONNECT",
    0x8A: "CONNACK",
    0x8B: "DISCONNECT",
    0x8C: "CONNACK DISCONNECT",
    0x8D: "DISCONNECT",
    0x8E: "DISCONNECT",
    0x8F: "SUBACK UNSUBACK DISCONNECT",
    0x90: f"CONNACK {_PUBLISHED} DISCONNECT",
    0x91: f"{_PUBLISHED} SUBACK UNSUBACK",
    0x92: "PUBREL PUBCOMP",
    0x93: "DISCONNECT",
    0x94: "DISCONNECT",
    0x95: "CONNACK DISCONNECT",
    0x96: "DISCONNECT",
    0x97: f"CONNACK {_PUBLISHED} SUBACK DISCONNECT",
    0x98: "DISCONNECT",
    0x99: f"CONNACK {_PUBLISHED} DISCONNECT",
    0x9A: "CONNACK DISCONNECT",
    0x9B: "CONNACK DISCONNECT",
    0x9C: "CONNACK DISCONNECT",
    0x9D: "CONNACK DISCONNECT",
    0x9E: "SUBACK DISCONNECT",
    0x9F: "CONNACK DISCONNECT",
    0xA0: "DISCONNECT",
    0xA1: "SUBACK DISCONNECT",
    0xA2: "SUBACK DISCONNECT",
}

REASON_CODES: dict[int, list[int]] = {
    packet_type: [code for code, names in _REASONS.items() if name in names.split()]
    for name, packet_type in _NAMES.items()
    if any(name in names.split() for names in _REASONS.values())
}
"""The Reason Codes that each Control Packet type of 5.0 may carry."""

RETURN_CODES: dict[int, list[int]] = {c.CONNACK: [0, 1, 2, 3, 4, 5], c.SUBACK: [0, 1, 2, 0x80]}
"""The return codes of 3.1.1 (3.2.2.3 and 3.9.3)."""


def reason_codes(packet_type: int, version: int) -> Strategy[int]:
    """A Reason Code, or return code, that this packet may carry in this version."""
    return st.sampled_from(REASON_CODES[packet_type] if version == 5 else RETURN_CODES[packet_type])


@st.composite
def properties(draw: st.DrawFn, packet_type: int, version: int = 5) -> Properties | None:
    """The Properties of a packet of this type, any of them; None for none at all, as always before 5.0."""
    if version != 5:
        return None
    allowed = [name for name, (_, packet_types) in PROPERTIES.items() if packet_type in packet_types]
    made = Properties()
    for name in draw(st.lists(st.sampled_from(allowed), unique=True, max_size=len(allowed))):
        value = draw(PROPERTIES[name][0])
        if name == "subscription_identifiers" and packet_type == c.SUBSCRIBE:
            value = value[:1]
        setattr(made, name, value)
    if made.authentication_data is not None and made.authentication_method is None:
        made.authentication_method = draw(texts)
    return None if made == Properties() else made


@st.composite
def wills(draw: st.DrawFn, version: int) -> p.Will:
    """A Will of a CONNECT."""
    return p.Will(
        draw(topic_names),
        draw(blobs),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
        draw(properties(WILL, version)),
    )


@st.composite
def connects(draw: st.DrawFn, version: int) -> p.Connect:
    """A CONNECT."""
    username = draw(st.none() | texts)
    password = draw(st.none() | blobs) if version == 5 or username is not None else None
    return p.Connect(
        version,
        draw(texts),
        draw(st.booleans()),
        draw(two_bytes),
        username,
        password,
        draw(st.none() | wills(version)),
        draw(properties(c.CONNECT, version)),
    )


@st.composite
def connacks(draw: st.DrawFn, version: int) -> p.Connack:
    """A CONNACK."""
    code = draw(reason_codes(c.CONNACK, version))
    session_present = draw(st.booleans()) if version != 3 and code == 0 else False
    return p.Connack(session_present, code, draw(properties(c.CONNACK, version)))


@st.composite
def publishes(draw: st.DrawFn, version: int) -> p.Publish:
    """A PUBLISH; in 5.0 sometimes with a Topic Alias in place of the Topic Name."""
    qos = draw(st.integers(0, 2))
    carried = draw(properties(c.PUBLISH, version))
    aliased = carried is not None and carried.topic_alias is not None and draw(st.booleans())
    return p.Publish(
        "" if aliased else draw(topic_names),
        draw(blobs),
        qos,
        draw(st.booleans()) if qos else False,
        draw(st.booleans()),
        draw(packet_ids) if qos else 0,
        carried,
    )


@st.composite
def acknowledgements(draw: st.DrawFn, version: int) -> p.Packet:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""
    kind = draw(st.sampled_from([p.Puback, p.Pubrec, p.Pubrel, p.Pubcomp]))
    packet_id = draw(packet_ids)
    if version != 5:
        return kind(packet_id)
    packet_type = kind(1).packet_type
    return kind(packet_id, draw(reason_codes(packet_type, version)), draw(properties(packet_type)))


@st.composite
def subscribes(draw: st.DrawFn, version: int) -> p.Subscribe:
    """A SUBSCRIBE; in 5.0 with all Subscription Options, and some Shared Subscriptions."""
    subscriptions = []
    for topic_filter in draw(st.lists(topic_filters, min_size=1, max_size=4)):
        options = draw(st.integers(0, 2))
        if version == 5:
            shared = draw(st.booleans())
            if shared:
                topic_filter = f"$share/group/{topic_filter}"
            options |= draw(st.integers(0, 2)) << 4 | draw(bits) << 3
            options |= 0 if shared else draw(bits) << 2
        subscriptions.append((topic_filter, options))
    return p.Subscribe(draw(packet_ids), subscriptions, draw(properties(c.SUBSCRIBE, version)))


@st.composite
def subacks(draw: st.DrawFn, version: int) -> p.Suback:
    """A SUBACK."""
    codes = draw(st.lists(reason_codes(c.SUBACK, version), min_size=1, max_size=5))
    return p.Suback(draw(packet_ids), codes, draw(properties(c.SUBACK, version)))


@st.composite
def unsubscribes(draw: st.DrawFn, version: int) -> p.Unsubscribe:
    """An UNSUBSCRIBE."""
    filters = draw(st.lists(topic_filters, min_size=1, max_size=5))
    return p.Unsubscribe(draw(packet_ids), filters, draw(properties(c.UNSUBSCRIBE, version)))


@st.composite
def unsubacks(draw: st.DrawFn, version: int) -> p.Unsuback:
    """An UNSUBACK; without Reason Codes before 5.0."""
    if version != 5:
        return p.Unsuback(draw(packet_ids), [])
    codes = draw(st.lists(reason_codes(c.UNSUBACK, version), min_size=1, max_size=5))
    return p.Unsuback(draw(packet_ids), codes, draw(properties(c.UNSUBACK)))


@st.composite
def disconnects(draw: st.DrawFn, version: int) -> p.Disconnect:
    """A DISCONNECT."""
    if version != 5:
        return p.Disconnect()
    return p.Disconnect(draw(reason_codes(c.DISCONNECT, 5)), draw(properties(c.DISCONNECT)))


@st.composite
def auths(draw: st.DrawFn) -> p.Auth:
    """An AUTH, with its Authentication Method unless it is the bare Success."""
    code = draw(reason_codes(c.AUTH, 5))
    carried = draw(properties(c.AUTH))
    if code == 0 and carried is None:
        return p.Auth()
    carried = carried or Properties()
    if carried.authentication_method is None:
        carried.authentication_method = draw(texts)
    return p.Auth(code, carried)


def packets(version: int) -> Strategy[p.Packet]:
    """Any Control Packet of this version; only what the codec writes and reads back the same."""
    kinds: list[Strategy[p.Packet]] = [
        connects(version),
        connacks(version),
        publishes(version),
        acknowledgements(version),
        subscribes(version),
        subacks(version),
        unsubscribes(version),
        unsubacks(version),
        disconnects(version),
        st.builds(p.Pingreq),
        st.builds(p.Pingresp),
    ]
    return st.one_of([*kinds, auths()] if version == 5 else kinds)
