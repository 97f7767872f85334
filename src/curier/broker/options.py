"""What a broker may be told: limits, features, intervals. Plain data, checked once when it is made.

Every limit bounds something that a stranger can make grow. Times are in seconds, sizes in bytes. 0 means
"no limit" only where the comment says so.
"""

from __future__ import annotations

from typing import Final, final

from curier.codec.constants import MAXIMUM_REMAINING_LENGTH, SESSION_NEVER_EXPIRES
from curier.protocol.arriving import LARGE
from curier.topics.filters import MAXIMUM_TOPIC_BYTES

LEAST_TOPIC_LENGTH: Final = 256  # that a limit leaves: the broker has topics of its own

MIB: Final = 1024 * 1024

DROP_NEWEST: Final = "drop-newest"
DROP_OLDEST: Final = "drop-oldest"
REFUSE: Final = "refuse"
WHEN_FULL: Final = (DROP_NEWEST, DROP_OLDEST, REFUSE)


class ConnectionOptions:
    """Settings of Network Connections."""

    def __init__(self) -> None:
        self.connect_timeout: float = 10.0  # from accept to a complete, authenticated CONNECT
        self.max_connections: int = 100_000
        self.max_connecting: int = 2000  # of one address, without a CONNACK yet; 0: as many as of all
        self.max_connect_rate: int = 0  # connections a second from one address; 0: as many as come
        self.max_connect_total_rate: int = 0  # from all, beyond which they wait to be accepted; 0: the same
        self.max_packet_size: int = 16 * MIB  # announced in CONNACK (3.2.2.3.6)
        self.max_connect_size: int = 64 * 1024  # of CONNECT and AUTH before CONNACK: it is not known whose
        self.max_request_size: int = 4 * MIB  # of a packet that is not PUBLISH (0x97)
        self.max_user_properties: int = 1000  # of one packet (0x97)
        self.max_property_length: int = 1 * MIB  # bytes of all Properties of a PUBLISH (0x97)
        self.keep_alive_maximum: int = 0  # Server Keep Alive for who asks for more or for none; 0: theirs
        self.receive_maximum: int = 1024  # unfinished QoS 1 and 2 PUBLISH packets of a client (3.2.2.3.3)
        self.topic_alias_maximum: int = 32  # aliases a client may set here (3.2.2.3.8)
        self.outgoing_topic_aliases: int = 32  # aliases chosen for a client, within what it allows; 0: none
        self.output_soft_limit: int = 8 * MIB  # unsent bytes; over it QoS 0 is dropped, QoS 1 and 2 wait
        # Unsent bytes; over it the client is disconnected (0x97). At least one packet more than the soft one.
        self.output_hard_limit: int = 64 * MIB
        self.packet_timeout: float = 30.0  # for a packet from its first byte to its last, and besides
        self.packet_rate: int = 1024  # one second more for so many bytes; packet_timeout 0: no end
        self.max_message_rate: int = 0  # PUBLISH a second that are taken of a client; 0: as many as come
        self.max_byte_rate: int = 0  # bytes a second, of all its packets; 0: the same
        self.max_output_message_rate: int = (
            0  # PUBLISH a second that a client is sent; 0: as many as it takes
        )
        self.max_output_byte_rate: int = 0  # their bytes; 0: the same


@final
class Options(ConnectionOptions):
    """Settings of a broker; set attributes before it is made, never after."""

    def __init__(self) -> None:
        super().__init__()
        # -- a Session --
        self.max_sessions: int = 1_000_000  # that outlive their connections
        self.session_expiry_maximum: int = SESSION_NEVER_EXPIRES  # caps what clients ask for (3.2.2.3.2)
        self.session_owners: bool = True  # where there are users, theirs are their sessions (``client_ids``)
        self.client_ids: str = ""  # patterns, between them blanks: one of them has to fit; "": all may be
        self.max_inflight: int = 65535  # unfinished QoS 1 and 2 PUBLISH packets sent to one client
        self.max_inflight_bytes: int = 16 * MIB  # their payloads and topics; over it nothing more is sent
        self.max_queued_messages: int = 1_000_000  # QoS 1 and 2 messages waiting for one client
        self.max_queued_bytes: int = 64 * MIB  # their payloads and topics
        self.max_queued_total_bytes: int = 4096 * MIB  # the same, of all clients together
        # When a queue is full: drop the message that comes, or the oldest that waits, or, where that would be
        # lost to a session that outlives its connection, take none (see ``queueing``).
        self.when_full: str = DROP_NEWEST
        self.queue_qos0: bool = False  # also keep QoS 0 messages for a client that is away
        self.max_subscriptions: int = 20_000  # of one session
        self.max_filters_per_packet: int = 20_000  # of one SUBSCRIBE or UNSUBSCRIBE (0x97)
        self.max_subscription_bytes: int = 4 * MIB  # their Topic Filters
        self.max_topic_levels: int = 128  # of a Topic Name or Topic Filter
        self.max_topic_length: int = MAXIMUM_TOPIC_BYTES  # bytes of one, ShareName not included
        self.max_wildcard_levels: int = 12  # of a Topic Filter with '+'; one more doubles the longest search
        self.max_wildcard_shapes: int = 64  # of one session: so many of its filters can match one topic
        self.retry_interval: float = 0.0  # timed re-sending to 3.1 and 3.1.1 clients; 0: off [MQTT-4.4.0-1]
        # -- what is offered --
        self.maximum_qos: int = 2
        self.retain_available: bool = True
        self.wildcard_subscription_available: bool = True
        self.subscription_identifiers_available: bool = True
        self.shared_subscription_available: bool = True
        self.check_payload_format: bool = False  # refuse what is not the UTF-8 it claims to be (0x99)
        self.response_information: str = ""  # "{client_id}" in it is filled in (3.1.2.11.7)
        # -- the whole broker --
        self.client_share: int = 8  # one client may have an eighth of the retained messages; 1: all
        self.source_share: int = 2  # one user or address may have half of what is shared; 1: all
        self.max_user_connections: int = 0  # of one user or address, with a CONNACK; 0: as many as of all
        self.max_user_message_rate: int = (
            0  # PUBLISH a second of all its clients together; 0: as many as come
        )
        self.max_user_byte_rate: int = 0  # bytes a second, of all their packets; 0: the same
        self.memory_limit: int = 0  # bytes that all clients may hold; 0: half of the machine's memory
        self.max_subscriptions_total: int = 10_000_000  # of all sessions
        self.max_retain_rate: int = 0  # topics a second that one source retains anew; 0: as many as it does
        self.max_retained_messages: int = 2_000_000
        self.max_retained_bytes: int = 1024 * MIB
        # Bytes of Topic Names whose receivers are remembered; 0: a 32nd of memory_limit, 64 MiB at most.
        self.route_cache_size: int = 0
        self.max_lag: float = 0.25  # of the loop, in seconds, before new connections wait; 0: they never do
        self.sys_interval: float = 10.0  # between publications of $SYS/broker/...; 0: none

    def check(self) -> None:
        """Raise ``ValueError`` naming the first setting that is out of its range, or that there is not.

        ``TypeError`` for one of another type, which compiled attributes do not take in the first place.
        """
        wrong = self.problems()
        if wrong:
            raise ValueError(wrong[0])

    def problems(self) -> list[str]:
        """All that is wrong, each beginning with the name of a setting. Raises as ``check`` for what is no
        setting, or of another type.
        """
        _check_types(self, Options())
        wrong: list[str] = []
        self._check_numbers(wrong)
        _within(wrong, "memory_limit", self.memory_limit, 0, 1 << 62)
        if self.when_full not in WHEN_FULL:
            wrong.append(f"when_full is one of {', '.join(WHEN_FULL)}, not {self.when_full!r}")
        for pattern in self.client_ids.split():
            if "{" in pattern.replace("{username}", ""):
                wrong.append(
                    f"client_ids may have * and {{username}} in a pattern, and no other {{, not {pattern!r}"
                )
        if not self.connect_timeout > 0:
            wrong.append("connect_timeout must be more than 0 seconds")
        for name, seconds in (
            ("packet_timeout", self.packet_timeout),
            ("max_lag", self.max_lag),
            ("retry_interval", self.retry_interval),
            ("sys_interval", self.sys_interval),
        ):
            if not seconds >= 0:
                wrong.append(f"{name} must be 0 (off) or more seconds")
        return wrong

    def _check_numbers(self, wrong: list[str]) -> None:
        _within(wrong, "receive_maximum", self.receive_maximum, 1, 65535)
        _within(wrong, "max_inflight", self.max_inflight, 1, 65535)
        _within(wrong, "topic_alias_maximum", self.topic_alias_maximum, 0, 65535)
        _within(wrong, "outgoing_topic_aliases", self.outgoing_topic_aliases, 0, 65535)
        _within(wrong, "keep_alive_maximum", self.keep_alive_maximum, 0, 65535)
        _within(wrong, "maximum_qos", self.maximum_qos, 0, 2)
        _within(wrong, "max_packet_size", self.max_packet_size, 64, MAXIMUM_REMAINING_LENGTH + 5)
        _within(wrong, "max_retain_rate", self.max_retain_rate, 0, 1 << 40)
        _within(wrong, "route_cache_size", self.route_cache_size, 0, 1 << 40)
        _within(wrong, "max_topic_length", self.max_topic_length, LEAST_TOPIC_LENGTH, MAXIMUM_TOPIC_BYTES)
        _within(wrong, "max_connecting", self.max_connecting, 0, 1 << 62)
        _within(wrong, "max_connect_rate", self.max_connect_rate, 0, 1 << 40)
        _within(wrong, "max_connect_total_rate", self.max_connect_total_rate, 0, 1 << 40)
        _within(wrong, "max_message_rate", self.max_message_rate, 0, 1 << 40)
        _within(wrong, "max_byte_rate", self.max_byte_rate, 0, 1 << 40)
        _within(wrong, "max_output_message_rate", self.max_output_message_rate, 0, 1 << 40)
        _within(wrong, "max_output_byte_rate", self.max_output_byte_rate, 0, 1 << 40)
        _within(wrong, "max_user_connections", self.max_user_connections, 0, 1 << 62)
        _within(wrong, "max_user_message_rate", self.max_user_message_rate, 0, 1 << 40)
        _within(wrong, "max_user_byte_rate", self.max_user_byte_rate, 0, 1 << 40)
        _within(wrong, "max_connect_size", self.max_connect_size, 64, MAXIMUM_REMAINING_LENGTH + 5)
        _within(wrong, "max_request_size", self.max_request_size, LARGE, MAXIMUM_REMAINING_LENGTH + 5)
        _within(wrong, "session_expiry_maximum", self.session_expiry_maximum, 0, SESSION_NEVER_EXPIRES)
        _within(wrong, "output_hard_limit", self.output_hard_limit, self.output_soft_limit, 1 << 62)
        for name, value in (
            ("max_connections", self.max_connections),
            ("max_sessions", self.max_sessions),
            ("max_inflight_bytes", self.max_inflight_bytes),
            ("max_queued_messages", self.max_queued_messages),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_queued_total_bytes", self.max_queued_total_bytes),
            ("max_user_properties", self.max_user_properties),
            ("max_property_length", self.max_property_length),
            ("max_subscriptions", self.max_subscriptions),
            ("max_subscriptions_total", self.max_subscriptions_total),
            ("max_filters_per_packet", self.max_filters_per_packet),
            ("max_subscription_bytes", self.max_subscription_bytes),
            ("max_topic_levels", self.max_topic_levels),
            ("packet_rate", self.packet_rate),
            ("client_share", self.client_share),
            ("source_share", self.source_share),
            ("max_wildcard_levels", self.max_wildcard_levels),
            ("max_wildcard_shapes", self.max_wildcard_shapes),
            ("max_retained_messages", self.max_retained_messages),
            ("max_retained_bytes", self.max_retained_bytes),
            ("output_soft_limit", self.output_soft_limit),
        ):
            _within(wrong, name, value, 1, 1 << 62)


def _check_types(options: object, defaults: object) -> None:
    """Raise for attributes that defaults do not have, or have in another type."""
    known = dir(defaults)
    for name in dir(options):
        if name not in known:
            raise ValueError(f"{name} is no setting")
        value: object = getattr(options, name)
        default: object = getattr(defaults, name)
        if name.startswith("_") or callable(default):
            continue
        if isinstance(default, bool):
            fits, kind = isinstance(value, bool), "True or False"
        elif isinstance(default, float):
            fits, kind = isinstance(value, (int, float)), "a number of seconds"
        elif isinstance(default, int):
            fits, kind = isinstance(value, int), "a whole number"
        else:
            fits, kind = isinstance(value, str), "text"
        if not fits:
            raise TypeError(f"{name} must be {kind}, not {value!r}")


def _within(wrong: list[str], name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        wrong.append(f"{name} must be from {low} to {high}, not {value}")
