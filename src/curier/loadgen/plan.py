"""What a run is to do: the scenarios, and all that can be chosen about one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from curier.codec.constants import MQTT_50
from curier.errors import ConfigError
from curier.loadgen.payload import HEADER_BYTES

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Scenario:
    """One way of sending messages around, and how many clients it has when nobody says."""

    name: str
    summary: str
    publishers: int
    subscribers: int


SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario("pub", "publishers only; nobody is subscribed, unless elsewhere", 1, 0),
        Scenario("sub", "subscribers only, for what others publish; checks what `pub` sends", 0, 1),
        Scenario("pubsub", "every subscriber gets what every publisher sends", 1, 1),
        Scenario("fanout", "one publisher, many subscribers", 1, 100),
        Scenario("fanin", "many publishers, one subscriber", 50, 1),
        Scenario("pairs", "every publisher has a subscriber of its own", 50, 50),
        Scenario("rr", "one message at a time: the next goes when the last has arrived", 1, 1),
        Scenario("connect", "connect, be accepted, stay; no messages", 0, 0),
    )
}

MIXED: Final = ("pubsub", "fanout", "fanin", "pairs")
"""Where `curier bench` sends other topics and sizes from one message to the next if nobody says otherwise."""

MIXED_TOPICS: Final = 100
MIXED_SPREAD: Final = 400

MOST_INFLIGHT: Final = 65000
"""Unacknowledged messages of one publisher: fewer than there are Packet Identifiers."""

LARGEST_PAYLOAD: Final = 256_000_000
MOST_SPREAD: Final = 100_000

SIZES: Final = 16  # of payloads, where they are spread
STRIDE: Final = 7  # from one size to the next


@dataclass
class Plan:
    """A run. Counts that are None are the scenario's own; ``check`` raises ``ConfigError`` for nonsense.

    ``seconds`` is how long to publish, ``messages`` how many, of all publishers together, ends it before.
    ``rate`` is messages a second of all publishers together, or connections; None: as fast as it goes.
    ``outstanding`` is how many deliveries may be under way when there is no rate, ``inflight`` how many
    unacknowledged QoS 1 and 2 messages a publisher may have. ``topic`` is the prefix of the topics;
    ``patience`` is for how many seconds nothing may arrive before what is missing counts as lost. ``pid`` is
    the broker's process.

    Each publisher goes through ``topics`` of its own in turn; payloads have from ``payload`` to ``payload`` +
    ``spread`` bytes; ``retain`` sets RETAIN, and what is retained is removed at the end. With ``aliases``
    they publish by Topic Alias (MQTT 5.0), as many as the broker takes. With ``kept`` the sessions of
    subscribers outlive their connections; they are removed at the end.

    ``socket_file`` is a Unix socket, in place of ``host`` and ``port``. With ``tls`` it speaks TLS, with
    ``web_path`` WebSocket, asking for this path; each packet is then a record, and a frame, of its own, or
    if ``batched``, all that is written at once.
    """

    scenario: str
    host: str = "127.0.0.1"
    port: int = 1883
    version: int = 4
    qos: int = 0
    payload: int = 64
    publishers: int | None = None
    subscribers: int | None = None
    connections: int = 1000
    concurrency: int = 100
    hold: float = 0.0
    seconds: float | None = None
    messages: int | None = None
    warmup: float = 0.0
    rate: float | None = None
    inflight: int = 100
    outstanding: int = 20_000
    shared: bool = False
    topic: str | None = None
    topics: int = 1
    spread: int = 0
    retain: bool = False
    aliases: bool = False
    kept: bool = False
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    patience: float = 5.0
    pid: int | None = None
    socket_file: str | None = None
    tls: ssl.SSLContext | None = None
    web_path: str | None = None
    batched: bool = False
    run: int = field(default_factory=lambda: secrets.randbits(32))

    @property
    def publisher_count(self) -> int:
        """How many publishers there are."""
        return self._count(self.publishers, self.subscribers, SCENARIOS[self.scenario].publishers)

    @property
    def subscriber_count(self) -> int:
        """How many subscribers there are."""
        return self._count(self.subscribers, self.publishers, SCENARIOS[self.scenario].subscribers)

    def _count(self, given: int | None, others: int | None, default: int) -> int:
        if given is None and self.is_paired:
            given = others
        return default if given is None else given

    @property
    def has_tunnels(self) -> bool:
        """Whether anything is between MQTT and the socket."""
        return self.tls is not None or self.web_path is not None

    @property
    def address(self) -> str:
        """Where the broker is."""
        return f"{self.host}:{self.port}" if self.socket_file is None else self.socket_file

    @property
    def is_paired(self) -> bool:
        """Whether subscriber n gets what publisher n sends, and nothing else."""
        return self.scenario in ("pairs", "rr")

    @property
    def duration(self) -> float | None:
        """Seconds to publish, after the warm-up; None: until ``messages`` are sent."""
        if self.seconds is None and self.messages is None:
            return 10.0
        return self.seconds

    @property
    def fanout(self) -> int:
        """How many deliveries one message makes."""
        if self.is_paired or (self.shared and self.subscriber_count):
            return 1
        return self.subscriber_count

    @property
    def prefix(self) -> str:
        """What the topics begin with; the publisher's number comes after a slash."""
        return f"curier-bench/{self.run:08x}" if self.topic is None else self.topic

    @property
    def is_varied(self) -> bool:
        """Whether messages differ in more than their header."""
        return self.topics > 1 or self.spread > 0 or self.retain or self.aliases

    def topic_of(self, stream: int, number: int = 0) -> str:
        """The topic on which publisher ``stream`` publishes its message ``number``."""
        if self.topics == 1:
            return f"{self.prefix}/{stream}"
        return f"{self.prefix}/{stream}/{number % self.topics}"

    def payload_of(self, number: int) -> int:
        """Bytes of the payload of message ``number`` of a publisher."""
        return self.payload + self.spread * (number * STRIDE % SIZES) // (SIZES - 1)

    def filter_of(self, subscriber: int) -> str:
        """The Topic Filter of a subscriber."""
        below = "/+" if self.topics > 1 else ""
        if self.is_paired:
            return f"{self.prefix}/{subscriber}{below}"
        if self.scenario == "sub":
            whole = "curier-bench/#" if self.topic is None else f"{self.topic}/#"
        else:
            whole = f"{self.prefix}/{'+' if self.publisher_count != 1 else '0'}{below}"
        return f"$share/bench-{self.run:08x}/{whole}" if self.shared else whole

    def check(self) -> None:
        """Raise ``ConfigError`` where the parts do not go together."""
        if self.scenario not in SCENARIOS:
            raise ConfigError(f"there is no scenario {self.scenario!r}; there are {', '.join(SCENARIOS)}")
        self._check_counts()
        if self.payload < HEADER_BYTES or self.payload > LARGEST_PAYLOAD:
            raise ConfigError(
                f"a payload of {self.payload} bytes: it carries number, time and check of the message, "
                f"so it takes from {HEADER_BYTES} to {LARGEST_PAYLOAD} bytes"
            )
        if not 0 <= self.spread <= MOST_SPREAD:
            raise ConfigError(f"payloads that differ by {self.spread} bytes: expected 0 to {MOST_SPREAD}")
        if self.is_varied and self.scenario in ("pub", "sub", "connect"):
            raise ConfigError(
                "topics, spread, retain and aliases are for scenarios with publishers and subscribers"
            )
        if self.aliases and self.version != MQTT_50:
            raise ConfigError("aliases are a part of MQTT 5.0")
        if self.kept and not self.subscriber_count:
            raise ConfigError("kept is for scenarios with subscribers")
        if not 1 <= self.inflight <= MOST_INFLIGHT:
            raise ConfigError(f"{self.inflight} messages in flight: expected 1 to {MOST_INFLIGHT}")
        if self.rate is not None and self.rate <= 0:
            raise ConfigError(
                "a rate is more than 0 messages a second; without one it goes as fast as it can"
            )
        if self.topic is not None and ({"+", "#", "\0"} & set(self.topic) or not self.topic.strip("/")):
            raise ConfigError(f"{self.topic!r} is not the beginning of a Topic Name: no wildcards, not empty")
        if self.password is not None and self.username is None and self.version != 5:
            raise ConfigError("a password without a user name is possible in MQTT 5.0 only")

    def _check_counts(self) -> None:
        publishers, subscribers = self.publisher_count, self.subscriber_count
        if self.is_paired and publishers != subscribers:
            raise ConfigError(
                f"{self.scenario} has as many publishers as subscribers, not {publishers} and {subscribers}"
            )
        if self.scenario == "pub" and subscribers:
            raise ConfigError("pub has no subscribers; pubsub has")
        if self.scenario == "sub" and publishers:
            raise ConfigError("sub has no publishers; pubsub has")
        if self.scenario not in ("sub", "connect") and publishers < 1:
            raise ConfigError(f"{self.scenario} needs a publisher")
        if self.scenario not in ("pub", "connect") and subscribers < 1:
            raise ConfigError(f"{self.scenario} needs a subscriber; pub has none")
        if self.shared and self.scenario in ("pub", "pairs", "rr", "connect", "sub"):
            raise ConfigError("a Shared Subscription is for pubsub, fanout and fanin")
        least = {
            "connections": self.connections,
            "concurrency": self.concurrency,
            "outstanding": self.outstanding,
            "messages": self.messages,
            "topics": self.topics,
        }
        for name, value in least.items():
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: expected 1 or more")
