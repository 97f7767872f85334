"""The limits: what each is about, for whoever sets it. Defaults and ranges are those of ``Options``."""

from __future__ import annotations

from typing import Final

from curier.broker.options import WHEN_FULL
from curier.settings.kinds import COUNT, FLAG, SECONDS, SIZE, TEXT, WHOLE_SECONDS, Kind, one_of

LIMITS: Final[dict[str, tuple[tuple[str, Kind, str], ...]]] = {
    "A connection": (
        (
            "connect_timeout",
            SECONDS,
            "Seconds from the connection to a complete, accepted CONNECT; also for a re-authentication.",
        ),
        (
            "max_connections",
            COUNT,
            "Clients at a time; one more is told that the server is busy. Each takes an open file: "
            "`curier broker` raises its own limit for them as far as the system's hard limit (`ulimit "
            "-Hn`) lets it.",
        ),
        (
            "max_connecting",
            COUNT,
            "Connections from one address (a /64 of IPv6) that have no CONNACK yet, whatever they are "
            "still busy with; never more than `max_connections`. Further ones are closed, and the log "
            "says so. `0`: no such limit. See [security.md](security.md#what-strangers-can-cost).",
        ),
        (
            "max_connect_rate",
            COUNT,
            "New connections a second from one address (a /64 of IPv6), in the long run; what comes in one "
            "second may come at once. Further ones are closed, and the log says so. `0`: as many as come. "
            "A gateway or NAT is one address: leave room for all of its clients to come back.",
        ),
        (
            "max_connect_total_rate",
            COUNT,
            "New connections a second in all, at all listeners. Further ones wait in the system's backlog "
            "until it is their turn. `0`: as many as come.",
        ),
        (
            "max_packet_size",
            SIZE,
            "The largest packet a client may send, 64 bytes to 256 MiB; told to 5.0 clients.",
        ),
        (
            "max_connect_size",
            SIZE,
            "The largest CONNECT, or AUTH before it is accepted, while it is not known who speaks. A will "
            "is part of CONNECT: wills with larger payloads need more.",
        ),
        (
            "max_request_size",
            SIZE,
            "The largest packet that is not PUBLISH, 128 KiB at least; larger ones end the connection "
            "(0x97).",
        ),
        (
            "max_property_length",
            SIZE,
            "Bytes of all Properties of one PUBLISH; more end the connection (0x97).",
        ),
        (
            "max_user_properties",
            COUNT,
            "User Properties of one packet; more end the connection (0x97).",
        ),
        (
            "packet_timeout",
            SECONDS,
            "Seconds a packet of a client may take from its first byte to its last, besides what its size "
            "takes at `packet_rate`; then the client is disconnected (0x97). 0 means it may take for "
            "ever.",
        ),
        (
            "packet_rate",
            COUNT,
            "Bytes a second that the slowest honest network brings. 16 MiB may take four and a half hours.",
        ),
        (
            "max_message_rate",
            COUNT,
            "Messages a second that are taken of a client, in the long run; what comes in one second may "
            "come at once. Who sends faster is slowed by not being read from, and is not disconnected. `0`: "
            "as many as come. See [security.md](security.md#clients-that-send-too-fast).",
        ),
        (
            "max_byte_rate",
            SIZE,
            "The same of bytes: of all that a client sends in MQTT packets.",
        ),
        (
            "max_output_message_rate",
            COUNT,
            "Messages a second that a client is sent, in the long run; what comes in one second may come at "
            "once. Further ones wait in its session as for a slow client, those with QoS 0 are dropped. `0`: "
            "as many as it takes. See [security.md](security.md#clients-that-send-too-fast).",
        ),
        (
            "max_output_byte_rate",
            SIZE,
            "The same of bytes: of the PUBLISH packets that a client is sent.",
        ),
        (
            "keep_alive_maximum",
            WHOLE_SECONDS,
            "The longest Keep Alive in seconds, for 5.0 clients that ask for more or for none; they are "
            "told. 0 lets every client have its own.",
        ),
        (
            "receive_maximum",
            COUNT,
            "QoS 1 and 2 messages a client may have unfinished on their way to the broker, 1 to 65 535.",
        ),
        (
            "topic_alias_maximum",
            COUNT,
            "Topic Aliases a client may set; 0 for none.",
        ),
        (
            "outgoing_topic_aliases",
            COUNT,
            "Topic Aliases the broker uses towards a client, as far as that allows them; 0 for none.",
        ),
        (
            "output_soft_limit",
            SIZE,
            "Unsent bytes for a client; beyond them its messages with QoS 0 are dropped, those with QoS 1 "
            "and 2 wait in its session, and it is not read from.",
        ),
        (
            "output_hard_limit",
            SIZE,
            "Unsent bytes for a client beyond which it is disconnected (0x97). There is always room for "
            "one packet more than the soft limit.",
        ),
    ),
    "A session": (
        (
            "max_sessions",
            COUNT,
            "Sessions that outlive their connections, whether their clients are connected or not. When "
            "there are so many, clients are still let in whose sessions end with their connections.",
        ),
        (
            "session_expiry_maximum",
            WHOLE_SECONDS,
            "The longest Session Expiry Interval in seconds, told to clients that ask for more; the "
            "default, the largest number, means for ever. It holds for 3.1.1 clients with Clean Session 0 "
            "as well.",
        ),
        (
            "session_owners",
            FLAG,
            "Where there are users, a session belongs to the one who began it: another user who comes with "
            "its Client Identifier is refused (0x87, in 3.x Return Code 5). See "
            "[security.md](security.md#whose-a-client-identifier-is).",
        ),
        (
            "client_ids",
            TEXT,
            "Which Client Identifiers a user may have: patterns, between them blanks, of which one has to "
            "fit; `*` stands for any text, `{username}` for the user. Others are refused (0x85, in 3.x "
            "Return Code 2). None: all may be.",
        ),
        (
            "max_inflight",
            COUNT,
            "QoS 1 and 2 messages sent to a client and not yet acknowledged, 1 to 65 535; a 5.0 client "
            "may ask for fewer.",
        ),
        (
            "max_inflight_bytes",
            SIZE,
            "Topics, payloads and Properties of those; over it nothing more is sent before it acknowledges "
            "some.",
        ),
        (
            "max_queued_messages",
            COUNT,
            "QoS 1 and 2 messages that wait for a client.",
        ),
        (
            "max_queued_bytes",
            SIZE,
            "Topics, payloads and Properties of those.",
        ),
        (
            "max_queued_total_bytes",
            SIZE,
            "Topics, payloads and Properties of what waits for all clients together.",
        ),
        (
            "when_full",
            one_of(WHEN_FULL),
            "What becomes of a message that finds a queue full: it is dropped, the oldest there is "
            '(`"drop-oldest"`), or nobody\'s message is taken that would be lost (`"refuse"`); see '
            "[durability.md](durability.md#when-a-queue-is-full).",
        ),
        (
            "queue_qos0",
            FLAG,
            "Keep messages with QoS 0, too, for a client that is away.",
        ),
        (
            "max_subscriptions",
            COUNT,
            "Subscriptions of one session.",
        ),
        (
            "max_filters_per_packet",
            COUNT,
            "Topic Filters of one SUBSCRIBE or UNSUBSCRIBE; more end the connection (0x97).",
        ),
        (
            "max_subscription_bytes",
            SIZE,
            "The Topic Filters of one session, all together; more are refused (0x97).",
        ),
        (
            "max_topic_levels",
            COUNT,
            "Levels of a Topic Name or Topic Filter.",
        ),
        (
            "max_topic_length",
            COUNT,
            "Bytes of a Topic Name or Topic Filter, with the `mount` of its listener and without "
            "`$share/` and ShareName, 256 to 65 535. Longer ones are refused (0x90, 0x8F).",
        ),
        (
            "max_wildcard_levels",
            COUNT,
            "Levels of a Topic Filter with `+`; one that has more is not allowed (0x8F). Each level more "
            "doubles how long a message may have to be looked up when somebody subscribes to everything "
            "that could match it: with 12 levels some 3 ms.",
        ),
        (
            "max_wildcard_shapes",
            COUNT,
            "In how many different places the Topic Filters of one session may have their wildcards: "
            "`a/+` and `b/+` have them in one place, `+/a` in another. That is how many of its "
            "subscriptions can match one topic, whatever `max_subscriptions` is. Each ShareName counts as "
            "one, too. More are refused (0x97).",
        ),
        (
            "retry_interval",
            SECONDS,
            "Seconds after which a 3.1 or 3.1.1 client is sent again what it left unanswered; 0 means "
            "only when it connects again.",
        ),
    ),
    "What is offered": (
        (
            "maximum_qos",
            COUNT,
            "The highest QoS, 0 to 2.",
        ),
        (
            "retain_available",
            FLAG,
            "Whether messages may be retained.",
        ),
        (
            "wildcard_subscription_available",
            FLAG,
            "Whether Topic Filters may have wildcards.",
        ),
        (
            "subscription_identifiers_available",
            FLAG,
            "Whether subscriptions may have identifiers.",
        ),
        (
            "shared_subscription_available",
            FLAG,
            "Whether subscriptions may be shared.",
        ),
        (
            "check_payload_format",
            FLAG,
            "Refuse payloads that are not the UTF-8 they claim to be (0x99).",
        ),
        (
            "response_information",
            TEXT,
            "What is answered to Request Response Information; `{client_id}` in it is replaced.",
        ),
    ),
    "The whole broker": (
        (
            "client_share",
            COUNT,
            "A client may have an eighth of `max_retained_messages` and `max_retained_bytes`; more is "
            "refused (0x97). Where one gateway publishes for all, 1 lets it have all. A retained message "
            "belongs to the client that set it last; those that were there when the broker was started "
            "belong to nobody until they are set again.",
        ),
        (
            "source_share",
            COUNT,
            "All clients of one user, or, where users are not authenticated, of one address (IPv6: of one "
            "/64) may have half of them together, and half of `max_sessions` and `max_subscriptions_total`. "
            "A gateway or NAT is one address. 1: they may have all.",
        ),
        (
            "max_user_connections",
            COUNT,
            "Clients of one user, or, where users are not authenticated, of one address (IPv6: of one /64), "
            "at a time. One more is refused (0x97; in 3.x it is closed on, since no Return Code says so). "
            "`0`: as many as of all.",
        ),
        (
            "max_user_message_rate",
            COUNT,
            "Messages a second that are taken of all clients of one user, or of one address, together. They "
            "are slowed as by `max_message_rate`, each in its turn. `0`: as many as come.",
        ),
        (
            "max_user_byte_rate",
            SIZE,
            "The same of bytes.",
        ),
        (
            "memory_limit",
            SIZE,
            "Bytes that all clients together may hold in memory: packets that have not come to their end, "
            "output they do not take, messages in their queues and those they have not acknowledged, "
            "Topic Aliases, answers that wait for the disk. Beyond it clients are disconnected (0x97, "
            "with how much it was), those first that hold most and have done so longest. Queues have at "
            "most three quarters of it. 0 means half of the memory of the machine, or of the control "
            "group (container) if that has less.",
        ),
        (
            "max_subscriptions_total",
            COUNT,
            "Subscriptions of all sessions; more are refused (0x97).",
        ),
        (
            "max_retain_rate",
            COUNT,
            "Topics a second that got no retained message before and get one from the clients of one user or "
            "address, in the long run; what comes in one second may come at once. Further ones are refused "
            "(0x97), other retained messages are replaced all the same. `0`: as many as come.",
        ),
        (
            "max_retained_messages",
            COUNT,
            "Retained messages.",
        ),
        (
            "max_retained_bytes",
            SIZE,
            "Topics, payloads and Properties of retained messages.",
        ),
        (
            "route_cache_size",
            SIZE,
            "Bytes of Topic Names whose receivers are remembered, 250 to 350 for each, and 8 for each of its "
            "receivers. Topics beyond that are looked for among all subscriptions each time. `0`: a 32nd of "
            "`memory_limit`, at most 64 MiB.",
        ),
        (
            "max_lag",
            SECONDS,
            "Seconds by which the broker's loop may be late before new connections have to wait in the "
            "system's backlog until it has caught up, but for a few each second. Clients that are connected "
            "go on; the log says so. `0`: they never wait.",
        ),
        (
            "sys_interval",
            SECONDS,
            "Seconds between reports on `$SYS/#`; 0 means none.",
        ),
    ),
}
"""Name, kind, and what it is about (Markdown), by the part of the broker that it bounds."""
