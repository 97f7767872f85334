"""What is asked of the API, and what it answers: each a struct, which JSON is checked against.

Points in time are seconds since 1970, sizes bytes, durations seconds. A list comes in pages: ``next`` is the
cursor of the page behind, "" where there is none. Topics and Client Identifiers are text, as MQTT has them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


def one_of(*values: str) -> Meta:
    """What a text may be, for who reads the description; what else it is, is refused where it is used."""
    return Meta(extra_json_schema={"enum": [*values]})


Limit = Annotated[int, Meta(ge=1, le=500)]
QoS = Annotated[int, Meta(ge=0, le=2)]
Text = Annotated[str, Meta(min_length=1)]
Topic = Annotated[str, Meta(min_length=1, max_length=65_535)]
ClientId = Annotated[str, Meta(max_length=65_535)]


class Form(Struct, forbid_unknown_fields=True):
    """What is asked: a key that is not known is an error."""


class Nothing(Form):
    """There is nothing to say."""


class Done(Struct):
    """It is done: ``done`` says what, in words."""

    done: str


# ---- how the broker is ----


class Trouble(Struct):
    """Something that is wrong: ``level`` is ``error`` or ``warning``, ``text`` says what, and what to do."""

    level: str
    text: str


class Overview(Struct):
    """How the broker is. What begins with ``total`` only grows as long as it runs."""

    version: str
    time: float
    """The broker's clock; ages are to be counted from it."""
    started_at: float
    uptime: float
    troubles: list[Trouble]
    connections: int
    clients: int
    clients_maximum: int
    sessions: int
    subscriptions: int
    shared_subscriptions: int
    retained: int
    retained_bytes: int
    queued_bytes: int
    output_bytes: int
    input_bytes: int
    memory: int
    """Bytes; 0: not known."""
    memory_limit: int
    loop_lag: float
    """Seconds that the event loop was late by, at most, in the last second."""
    total_connects: int
    total_refused: int
    total_protocol_errors: int
    total_packets_received: int
    total_packets_sent: int
    total_publishes_received: int
    total_publishes_sent: int
    total_bytes_received: int
    total_bytes_sent: int
    total_dropped: int
    total_dropped_full: int
    total_expired: int


# ---- clients and their sessions ----


class ClientsQuery(Form):
    """Which clients, in which order."""

    search: str = ""
    """Part of a Client Identifier, a user name or an address, in any case."""
    sort: Annotated[
        str,
        one_of(
            *("client_id", "queued", "queued_bytes", "dropped", "subscriptions", "unsent", "connected_at"),
            "ends_at",
        ),
    ] = "client_id"
    """``client_id``; with the largest first ``queued``, ``queued_bytes``, ``dropped``, ``subscriptions``,
    ``unsent`` or ``connected_at``; with the session first that ends first ``ends_at``."""
    connected: bool | None = None
    """Those that are connected, or those that are not; else all."""
    limit: Limit = 50
    cursor: str = ""


class ClientRow(Struct):
    """A client in a list."""

    client_id: str
    connected: bool
    user: str
    address: str
    listener: str
    version: str
    """``3.1``, ``3.1.1``, ``5.0``; "": it has not come since the broker started."""
    connected_at: float
    """0: it is not connected."""
    queued: int
    """Messages that wait in its session."""
    queued_bytes: int
    inflight: int
    """Messages that it was sent and has not acknowledged."""
    dropped: int
    """Messages for which its queue had no room, since the broker started."""
    subscriptions: int
    unsent: int
    """Bytes that the network has not taken."""
    session_expiry: int
    """Seconds that the session stays without a connection; 4294967295: for ever; 0: not at all."""
    ends_at: float
    """When the session ends; 0: not by itself, or its client is connected."""


class Clients(Struct):
    """A page of clients. ``found`` is how many there are on all pages, ``total`` how many clients in all."""

    clients: list[ClientRow]
    found: int
    total: int
    next: str = ""


class ClientQuery(Form):
    """Which client."""

    client_id: ClientId


class Client(Struct):
    """A client: its session, and its connection if it has one."""

    row: ClientRow
    keep_alive: float
    session_expiry: int
    """Seconds that the session stays without a connection; 4294967295: for ever; 0: not at all."""
    ends_at: float
    """When the session ends; 0: not by itself."""
    kept: bool
    """The session is on disk."""
    has_will: bool
    will_topic: str
    receive_maximum: int
    """Messages that it takes without acknowledging them."""
    quota: int
    """How many of these are left."""
    last_packet_at: float
    groups: list[str]


class Disconnect(Form):
    """Which client to disconnect; ``reason`` is told to it (5.0)."""

    client_id: ClientId
    reason: str = "an administrator has disconnected it"


class Forget(Form):
    """Whose session to end, with its subscriptions and all that waits in it."""

    client_id: ClientId


# ---- bans ----


class BanRow(Struct):
    """A ban: ``who`` (``user ana``, ``client c1``; "": everybody) at ``place`` (an address or a network; "":
    anywhere), for ``seconds`` more."""

    place: str
    who: str
    seconds: float
    why: str
    number: int
    """1 for the first of the same in a while."""


class Bans(Struct):
    """All bans, those first that end last. ``enforced``: somebody is asked who clients are, so they hold."""

    bans: list[BanRow]
    enforced: bool


class NewBan(Form):
    """Ban a client, a user, or all from an address: one of these, or one at the address alone."""

    client_id: str = ""
    user: str = ""
    address: str = ""
    """An address of IPv4 or IPv6, of which the network (/64) is meant; "": anywhere."""
    seconds: Annotated[float, Meta(gt=0, le=10 * 365 * 86_400)] = 3600.0
    why: str = "an administrator has banned it"


class Lift(Form):
    """Which ban to end, as the list has it."""

    place: str = ""
    who: str = ""


class Lifted(Struct):
    """Whether the ban was there."""

    lifted: bool


# ---- subscriptions ----


class SubscriptionsQuery(Form):
    """Whose subscriptions."""

    client_id: ClientId
    search: str = ""
    """Part of a Topic Filter."""
    limit: Limit = 100
    cursor: str = ""


class SubscriptionRow(Struct):
    """A subscription."""

    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int
    """Subscription Identifier; 0: none."""


class Subscriptions(Struct):
    """A page of subscriptions of a client, by Topic Filter."""

    subscriptions: list[SubscriptionRow]
    found: int
    next: str = ""


class SubscribersQuery(Form):
    """Who would get a message on this topic?"""

    topic: Topic
    limit: Limit = 100
    cursor: str = ""


class SubscriberRow(Struct):
    """Somebody who would get it. ``filters`` are those of its Topic Filters that match."""

    client_id: str
    connected: bool
    qos: int
    filters: list[str]
    group: str
    """The Shared Subscription by which it is one of several to choose from; "": it gets it in any case."""
    allowed: bool
    """The rules let it receive this topic."""


class Subscribers(Struct):
    """A page of them, by Client Identifier."""

    subscribers: list[SubscriberRow]
    found: int
    next: str = ""


# ---- topics ----


class Payload(Struct):
    """The first ``shown`` of ``size`` bytes: as ``text`` if they are that, else as ``base64``."""

    size: int
    shown: int
    text: str | None = None
    base64: str | None = None


class Property(Struct):
    """A User Property."""

    name: str
    value: str


class RetainedMessage(Struct):
    """A retained message. ``client`` and ``source`` say who wrote it, where that is known, ``written_at``
    when; 0: before that was noted, so before the broker started. ``undo`` brings back one that is deleted.
    """

    topic: str
    payload: Payload
    qos: int
    expires_at: float
    """0: never."""
    client: str
    source: str
    content_type: str = ""
    response_topic: str = ""
    correlation_data: str = ""
    """As base64."""
    payload_is_text: bool = False
    user_properties: list[Property] = []
    written_at: float = 0.0
    undo: str = ""


class RetainedQuery(Form):
    """Which retained message; at most ``limit`` bytes of its payload."""

    topic: Topic
    limit: Annotated[int, Meta(ge=0, le=1_048_576)] = 65_536


class TopicsQuery(Form):
    """Which retained messages, by Topic Filter and by part of the topic."""

    topic_filter: Topic = "#"
    search: str = ""
    sort: Annotated[str, one_of("topic", "newest", "oldest", "size")] = "topic"
    """``topic``, ``newest``, ``oldest``, or with the largest payload first ``size``."""
    limit: Limit = 100
    cursor: str = ""
    preview: Annotated[int, Meta(ge=0, le=1024)] = 100
    """Bytes of each payload."""
    lately: bool = False
    """Also topics without one that were published to lately, as far as is remembered; by ``topic`` only."""


class TopicRow(Struct):
    """A topic with a retained message, written by ``client`` ("": by the broker, or nobody knows) at
    ``written_at``; 0: before that was noted, so before the broker started. One that is not ``retained`` has
    nothing but its name.
    """

    topic: str
    payload: Payload
    qos: int
    written_at: float
    client: str
    retained: bool = True


class Topics(Struct):
    """A page of topics, in the order that was asked for."""

    topics: list[TopicRow]
    found: int
    next: str = ""


class LevelQuery(Form):
    """What stands below ``prefix`` in the tree of retained topics; None: at its top. With ``lately`` also
    topics that were published to lately, as far as is remembered.
    """

    prefix: str | None = None
    limit: Limit = 200
    cursor: str = ""
    lately: bool = False


class LevelRow(Struct):
    """One level below: ``topic`` is the whole of it up to here."""

    level: str
    topic: str
    has_message: bool
    has_more: bool
    """There are levels below it."""
    went_by: bool = False
    """This topic was published to lately, and nothing is retained on it."""


class Level(Struct):
    """A page of levels, by name."""

    levels: list[LevelRow]
    next: str = ""


class TopicForm(Form):
    """Which topic."""

    topic: Topic


class Publish(Form):
    """A message, with a payload of ``text`` or ``base64``."""

    topic: Topic
    text: str | None = None
    base64: str | None = None
    qos: QoS = 0
    retain: bool = False
    expiry: Annotated[int, Meta(ge=0, le=4_294_967_295)] | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: str | None = None
    """As base64."""
    payload_is_text: bool = False
    user_properties: list[Property] = []


# ---- rules ----


class AclTest(Form):
    """May this client do that?"""

    action: Annotated[str, one_of("publish", "subscribe", "receive")]
    """``publish``, ``subscribe`` or ``receive``."""
    topic: Topic
    user: str | None = None
    client_id: str = ""
    qos: QoS = 0
    retain: bool = False
    groups: list[str] = []
    claims: dict[str, str] = {}
    certificate_name: str | None = None
    listener: str = ""
    address: str = ""


class AclAnswer(Struct):
    """Whether it may, and by which rule."""

    allowed: bool
    why: str


# ---- the wire ----


class Packet(Form):
    """A Control Packet, as a flow shows it: its bytes as ``hex``, of which ``cut`` more were left out."""

    hex: Annotated[str, Meta(max_length=65_536, extra_json_schema={"pattern": "^([0-9a-fA-F]{2})*$"})]
    version: Annotated[int, Meta(ge=0, le=5)] = 0
    """3, 4 or 5; 0: not known."""
    to_server: bool = True
    cut: Annotated[int, Meta(ge=0)] = 0


class FieldRow(Struct):
    """A field: the bytes from ``start`` to ``end``, or the bits ``mask`` of that byte, and what they say.
    ``rule`` is the statement that it fulfils; where there is a ``fault``, the one that it breaks.
    """

    name: str
    value: str
    start: int
    end: int
    mask: int = 0
    rule: str = ""
    fault: str = ""
    children: list[FieldRow] = []


class Fields(Struct):
    """A packet taken apart. ``fault`` says what is wrong with it, ``rule`` which statement that breaks."""

    name: str
    version: int
    size: int
    fault: str
    rule: str
    fields: list[FieldRow]


# ---- the broker itself ----


class SettingRow(Struct):
    """A setting: its place in the file, its value as TOML has it, and where that comes from."""

    key: str
    value: str
    origin: str
    about: str


class Settings(Struct):
    """All settings, as they hold now."""

    settings: list[SettingRow]


class Checked(Struct):
    """What would be wrong if the settings were read again now."""

    wrong: list[str]


class ListenerRow(Struct):
    """A listener. ``certificate_ends`` is when its first certificate ends; 0: it has none."""

    url: str
    real: list[str]
    """Its addresses, as bound."""
    name: str
    connected: int
    connected_maximum: int
    accepted: int
    bytes_received: int
    bytes_sent: int
    mount: str
    certificate_ends: float


class Listeners(Struct):
    """All listeners."""

    listeners: list[ListenerRow]


class LogLevels(Struct):
    """How much is logged of each topic."""

    levels: dict[str, str]


class SetLogLevel(Form):
    """Log so much of a topic (of all: "") until the broker ends or reads its settings again."""

    level: str
    topic: str = ""


class HistoryQuery(Form):
    """How far back."""

    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 900.0


class HistoryAnswer(Struct):
    """Samples by field, oldest first, ``step`` seconds apart; ``time`` is among the fields."""

    step: int
    columns: dict[str, list[float]]


class Self(Struct):
    """Who asks, and as what."""

    name: str
    role: str
