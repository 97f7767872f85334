"""Are records that somebody may have written by hand such as a broker writes? Every value in its range, and
all of them together.

What it says is for whoever wrote them: it names fields as the records do, as do the lines that ``portable``
reads and has checked here, and says "above" of what came before. That neither knows a number of which the
other does not is seen to by ``tests/store/test_portable.py``.
"""

from __future__ import annotations

import math
from typing import Final

from curier.codec.constants import PUBLISH
from curier.codec.primitives import Reader, encode_topic, encode_utf8, encode_varint
from curier.codec.properties import Properties, decode_properties
from curier.errors import MqttError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    IdentifierTaken,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    SessionSaved,
    Subscribed,
    WillSaved,
)
from curier.topics.filters import check_topic_filter, is_shared

_MOST: Final = (1 << 47) - 1  # of the journal's numbers: a session's stands before a Packet Identifier
_FOREVER: Final = 0xFFFFFFFF
_LEVELS: Final = 65536  # of a topic; how many a broker takes is its own setting

# The lowest and the highest value of each number.
_RANGES: Final[dict[type[Record], tuple[tuple[str, int, int], ...]]] = {
    SessionSaved: (("session", 1, _MOST), ("version", 3, 5), ("expiry_interval", 0, _FOREVER)),
    Subscribed: (("session", 1, _MOST), ("options", 0, 0x3F), ("identifier", 0, 268_435_455)),
    MessageSaved: (("number", 1, _MOST),),
    Queued: (("session", 1, _MOST), ("delivery", 1, _MOST), ("message", 1, _MOST), ("qos", 0, 2)),
    Sent: (("session", 1, _MOST), ("delivery", 1, _MOST), ("packet_id", 1, 65535)),
    Received: (("session", 1, _MOST), ("delivery", 1, _MOST), ("order", 1, _MOST)),
    IdentifierTaken: (("session", 1, _MOST), ("packet_id", 1, 65535)),
    Retained: (("message", 1, _MOST),),
    WillSaved: (("session", 1, _MOST), ("delay", 0, _FOREVER), ("expiry", -1, _FOREVER)),
}


class Checker:
    """Checks records in the order that a store gives them in: what they name is to be there before them."""

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()  # what may be there once
        self._sessions: set[int] = set()
        self._messages: dict[int, tuple[bytes, int]] = {}  # their topics and QoS
        self._deliveries: dict[int, tuple[int, int]] = {}  # their sessions and QoS
        self._sent: set[int] = set()

    def check(self, record: Record) -> None:
        """Raises ``ValueError`` that says what is wrong."""
        for name, lowest, highest in _RANGES[type(record)]:
            value: int = getattr(record, name)
            if not lowest <= value <= highest:
                raise ValueError(f'"{name}": {value} is not in {lowest} to {highest}')
        try:
            self._check(record)
        except MqttError as error:
            raise ValueError(str(error)) from None

    def _check(self, record: Record) -> None:
        if isinstance(record, SessionSaved):
            _check_time("ends_at", record.ends_at)
            if not record.client_id:
                raise ValueError('"client_id": is empty')
            encode_utf8(record.client_id)
            _check_mount(record.mount)
            _check_user(record.user)
            self._once("session", record.session)
            self._once("client_id", record.client_id)
            self._sessions.add(record.session)
        elif isinstance(record, MessageSaved):
            _check_message(record.message)
            self._once("message", record.number)
            self._messages[record.number] = record.message.topic, record.message.qos
        elif isinstance(record, Retained):
            topic = self._message(record.message)[0]
            _check_time("written_at", record.written_at)
            encode_utf8(record.writer)
            if record.topic != topic:
                raise ValueError(f"message {record.message} has another topic")
            self._once("retained", record.topic.decode())
        else:
            self._check_of_session(record)

    def _check_of_session(self, record: Record) -> None:
        session: int = getattr(record, "session")  # noqa: B009 - all that are left have one
        if session not in self._sessions:
            raise ValueError(f"there is no session {session} above")
        if isinstance(record, Subscribed):
            _check_filter(record.topic_filter)
            if record.options & 3 == 3 or record.options & 0x30 == 0x30:
                raise ValueError(f'"options": {record.options} are no Subscription Options')
            self._once("subscription", session, record.topic_filter.decode())
        elif isinstance(record, Queued):
            self._check_queued(record)
        elif isinstance(record, (Sent, Received)):
            owner, qos = self._deliveries.get(record.delivery, (0, 0))
            if owner != session:
                raise ValueError(f"there is no delivery {record.delivery} of session {session} above")
            if isinstance(record, Sent):
                self._check_sent(record, qos)
            else:
                if qos != 2 or record.delivery not in self._sent:
                    raise ValueError(f"delivery {record.delivery} was not sent at QoS 2")
                self._once("received", record.delivery)
                self._once("order", record.order)
        elif isinstance(record, IdentifierTaken):
            self._once("identifier", session, record.packet_id)
        elif isinstance(record, WillSaved):
            _check_time("due_at", record.due_at)
            _check_message(record.message)
            self._once("will of session", session)

    def _check_queued(self, record: Queued) -> None:
        if record.qos > self._message(record.message)[1]:
            raise ValueError(f'"qos": {record.qos} is more than message {record.message} has')
        if record.group:
            _check_filter(record.group)
            if not is_shared(record.group):
                raise ValueError('"group": expected the Topic Filter of a Shared Subscription')
        _check_properties("identifiers", record.identifiers, True)
        self._once("delivery", record.delivery)
        self._deliveries[record.delivery] = record.session, record.qos

    def _check_sent(self, record: Sent, qos: int) -> None:
        if not qos:
            raise ValueError(f"delivery {record.delivery} has QoS 0, which takes no Packet Identifier")
        self._once("sent", record.delivery)
        self._once("packet_id", record.session, record.packet_id)
        self._sent.add(record.delivery)

    def _message(self, number: int) -> tuple[bytes, int]:
        if number not in self._messages:
            raise ValueError(f"there is no message {number} above")
        return self._messages[number]

    def _once(self, *what: object) -> None:
        if what in self._seen:
            raise ValueError(f"{what[0]} {' of '.join(map(repr, reversed(what[1:])))} is there twice")
        self._seen.add(what)


def _check_time(name: str, value: float) -> None:
    if not 0.0 <= value < math.inf:  # which is not so of NaN either
        raise ValueError(f'"{name}": {value} is no point in time')


def _check_message(message: ApplicationMessage) -> None:
    if not 0 <= message.qos <= 2:
        raise ValueError(f'"qos": {message.qos} is not in 0 to 2')
    _check_time("expires_at", message.expires_at)
    encode_topic(message.topic.decode())
    _check_properties("properties", message.properties, False)


def _check_mount(mount: bytes) -> None:
    """``mount`` is the beginning of topics, up to the end of a level; b"" is none."""
    if not mount:
        return
    encode_topic(mount.decode())
    if not mount.endswith(b"/") or mount.startswith(b"$") or b"/$" in mount:
        raise ValueError('"mount": expected levels that end with / and do not begin with $')


def _check_user(user: str) -> None:
    try:
        user.encode()
    except UnicodeEncodeError:
        raise ValueError('"user": expected text that can be UTF-8') from None


def _check_filter(topic_filter: bytes) -> None:
    encode_utf8(topic_filter.decode())
    if why := check_topic_filter(topic_filter, _LEVELS):
        raise ValueError(why)


def _check_properties(name: str, encoded: bytes, are_identifiers: bool) -> None:
    """``encoded``, without its length: only Subscription Identifiers, or whatever else a message has."""
    if not encoded:
        return
    data = encode_varint(len(encoded)) + encoded
    properties = decode_properties(Reader(data, 0, len(data)), PUBLISH)
    expected = Properties()
    if are_identifiers:
        expected.subscription_identifiers = properties.subscription_identifiers
    else:
        expected.payload_format_indicator = properties.payload_format_indicator
        expected.content_type = properties.content_type
        expected.response_topic = properties.response_topic
        expected.correlation_data = properties.correlation_data
        expected.user_properties = properties.user_properties
    if properties != expected:
        raise ValueError(f'"{name}": has Properties that have no place there')
