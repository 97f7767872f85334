"""Listeners with a mount: clients there see a world of their own, everybody else sees where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authorize
from curier.broker.entrances import Entrance
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.broker.mounting import NOT_FOR_CLIENTS, Mount
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.session.message import ApplicationMessage
from curier.topics.filters import matches
from tests.broker.client import Client
from tests.broker.harness import FOREVER, Net, quiet
from tests.broker.test_lanes import CLIENTS, TOPICS, Both, Choices, Lane, broker, drive, numbers
from tests.codec.cases import properties

Make = Callable[..., Net]

TOPIC_NAME_INVALID = 0x90
TOPIC_FILTER_INVALID = 0x8F

NOISE = (b"a", b"site-a", b"site-a/", b"site-a/$x", b"site-a/$x/b", b"site-b/a", b"secret/x", b"/a")


def at(net: Net, mount: str, name: str, **values: Any) -> Client:
    """A client that comes in by a listener with this mount."""
    net.entrance = Entrance("there", mount=mount.encode()) if mount else None
    return net.connect(name, **values)


# ---- the same world, seen through the mount ----


class Mounted(Lane):
    """All clients come in by a listener with a mount, and others publish where they must not hear of it."""

    def __init__(self, core: BrokerCore) -> None:
        super().__init__(core)
        self.entrance = Entrance("there", mount=b"site-a/")
        self.stranger = core.attach("test", "memory", 0.0)
        self.receive_of_stranger(encode(p.Connect(MQTT_50, "stranger", True, 0, None, None, None, None), 5))
        self.count = 0

    def attach(self) -> None:
        self.connections.append(self.core.attach("test", "memory", 0.0, self.entrance))
        self.output.append(b"")

    def receive_of_stranger(self, data: bytes, now: float = 0.0) -> None:
        self.core.receive(self.stranger, data, now)
        self.turn(now)

    def receive(self, index: int, chunk: bytes, now: float) -> None:
        topic = NOISE[self.count % len(NOISE)]
        self.count += 1
        packet = p.Publish(topic.decode(), b"noise", 1, False, self.count % 3 == 0, 1)
        self.receive_of_stranger(encode(packet, 5), now)
        super().receive(index, chunk, now)

    def is_secret(self, topic: bytes) -> bool:
        return topic.startswith(b"site-a/secret")

    def wrote(self, connection: BrokerConnection, data: bytes) -> None:
        if connection is not self.stranger:
            super().wrote(connection, data)


class Worlds(Both):
    """A world without a mount, and one behind it: every client is sent the same bytes in both."""

    # A mount refuses what begins with $; below "" lies noise, so retained messages from there come first.
    topics = tuple(topic for topic in TOPICS if not topic.startswith(("$", "/")))

    def __init__(self, options: Options, authorizes: bool) -> None:
        super().__init__(options, authorizes)
        self.slow = Mounted(broker(options, False, authorizes))

    def compare(self) -> None:
        plain, mounted = self.fast.core, self.slow.core
        mounted.sessions.pop("stranger")
        assert plain.sessions.keys() == mounted.sessions.keys()
        for name, session in plain.sessions.items():
            other = mounted.sessions[name]
            assert other.mount is not None
            assert [*map(other.mount.filter, session.subscriptions)] == [*other.subscriptions]
            for flow in (session.outgoing, other.outgoing):
                flow.settle()
            for one, two in zip(session.outgoing.unfinished(), other.outgoing.unfinished(), strict=True):
                assert b"site-a/" + one.message.topic == two.message.topic
                assert one.message.payload == two.message.payload
                assert (one.packet_id, one.qos, one.retain) == (two.packet_id, two.qos, two.retain)


@given(
    numbers,
    st.lists(numbers, min_size=CLIENTS, max_size=CLIENTS),
    st.lists(st.lists(numbers, min_size=2, max_size=15), min_size=10, max_size=40),
)
def test_a_mounted_world_is_like_any(settings: int, clients: list[int], steps: list[list[int]]) -> None:
    choices = Choices(settings)
    options = Options()
    options.sys_interval = 0.0
    options.max_inflight = choices.one(1000, 1, 3)
    options.receive_maximum = choices.one(1000, 1000, 1000, 2)
    options.max_queued_messages = choices.one(1000, 2)
    options.when_full = choices.one("drop-newest", "drop-newest", "drop-oldest", "refuse")
    options.queue_qos0 = choices.seldom()
    worlds = Worlds(options, choices.seldom())
    drive(worlds, clients, steps)
    worlds.compare()


levels = st.lists(st.sampled_from(["", "a", "b", "$x", "$SYS", "site-a"]), min_size=1, max_size=4)
topics = levels.map(lambda parts: "/".join(parts).encode()).filter(bool)
filters = st.lists(st.sampled_from(["", "a", "$x", "+", "site-a"]), min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from(["/".join(parts), "/".join([*parts, "#"]), "#"])
)
filters_of_clients = filters.map(str.encode).filter(lambda one: one and not one.startswith(b"$"))


@given(filters_of_clients, topics)
def test_what_is_shown_is_what_the_filter_of_the_client_matches(topic_filter: bytes, topic: bytes) -> None:
    """Of topics below the mount. Of all others nothing is."""
    mount = Mount(b"site-a/")
    is_sent = matches(mount.filter(topic_filter), topic) and mount.shows(topic)
    name = topic.removeprefix(b"site-a/")
    expected = topic.startswith(b"site-a/") and name != b"" and matches(topic_filter, name)
    if name.startswith(b"$"):  # which nobody at the mount could have published
        expected = False
    assert is_sent == expected


# ---- inside and outside ----


def test_each_sees_its_own_names(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("#")
    inside = at(net, "site-a/", "a")
    other = at(net, "site-b/", "b")
    deeper = at(net, "site-a/x/", "x")
    for client in (inside, other, deeper):
        assert client.subscribe("#", "+/t") == [2, 2]
    for qos in range(3):
        inside.publish("x/t", b"1", qos)
        assert inside.message().topic == "x/t"
        assert deeper.message().topic == "t"
        (message,) = outside.messages()
        assert (message.topic, message.qos) == ("site-a/x/t", qos)
        outside.finish(message)
        outside.publish("site-a/x", b"2", qos)
        assert inside.message().topic == "x"
        assert outside.message().topic == "site-a/x"
        outside.publish("t", b"3", qos)
        assert outside.message().topic == "t"
        assert deeper.take() == other.take() == inside.take() == []


def test_retained_messages(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    for topic in ("site-a/t", "site-a", "site-a/", "site-a/$x", "t", "site-b/t"):
        outside.publish(topic, topic.encode(), 1, retain=True)
    inside = at(net, "site-a/", "a")
    inside.subscribe("#")
    message = inside.message()
    assert (message.topic, message.payload, message.retain) == ("t", b"site-a/t", True)
    inside.finish(message)
    inside.publish("t", b"", 1, retain=True)
    assert net.core.retained.get(b"site-a/t") is None
    assert net.core.retained.get(b"t") is not None
    inside.publish("u", b"mine", 1, retain=True)
    outside.subscribe("site-a/u")
    assert outside.message().payload == b"mine"


@pytest.mark.parametrize("topic_filter", ["#", "+", "+/#", "$share/g/#"])
def test_what_has_no_name_there_is_not_sent(make: Make, topic_filter: str) -> None:
    net = make()
    inside = at(net, "site-a/", "a", expiry=FOREVER)
    inside.subscribe(topic_filter)
    net.entrance = None
    outside = net.connect("outside")
    for topic in ("site-a", "site-a/", "site-a/$x"):
        outside.publish(topic, b"x", 1)
    assert inside.take() == []
    assert not net.core.sessions["a"].outgoing.unfinished()


def test_wills(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("#")
    inside = at(net, "site-a/", "a")
    inside.subscribe("will")
    at(net, "site-a/", "dying", will=p.Will("will", b"gone", 1, False)).drop()
    assert inside.message().topic == "will"
    assert outside.message().topic == "site-a/will"


def test_a_will_that_cannot_be(make: Make) -> None:
    net = make(quiet(max_connect_size=100_000))
    net.entrance = Entrance("there", mount=b"site-a/")
    for topic in ("$aws/x", "$SYS/x"):
        refused = net.send_connect("a", will=p.Will(topic, b"", 0, False)).expect(p.Connack)
        assert refused.reason_code == TOPIC_NAME_INVALID
        assert refused.properties is not None
        assert refused.properties.reason_string == f"Will Topic: {NOT_FOR_CLIENTS}"
    refused = net.send_connect("a", will=p.Will("w" * 65530, b"", 0, False)).expect(p.Connack)
    assert refused.reason_code == TOPIC_NAME_INVALID


# ---- topics that begin with $ ----


def test_what_the_broker_tells_of_itself_may_be_read(make: Make) -> None:
    net = make(quiet(sys_interval=10.0))
    net.advance(1)
    inside = at(net, "site-a/", "a")
    assert inside.subscribe("$SYS/broker/version", "$share/g/$SYS/broker/uptime", "#") == [2, 2, 2]
    net.advance(10)
    assert {message.topic for message in inside.messages()} == {"$SYS/broker/version", "$SYS/broker/uptime"}


def test_nothing_else_that_begins_so(make: Make) -> None:
    net = make()
    inside = at(net, "site-a/", "a")
    for topic in ("$SYS/broker/uptime", "$aws/x", "$share/g/x", "$"):
        assert inside.publish(topic, b"x", 1) == TOPIC_NAME_INVALID
    codes = inside.subscribe("$aws/#", "$share/g/$aws/x", "$SYSTEM")
    assert codes == [TOPIC_FILTER_INVALID] * 3
    net.entrance = None
    outside = net.connect("outside")
    outside.publish("$aws/x", b"x", 1)
    outside.publish("$SYSTEM", b"x", 1)
    assert inside.take() == []


def test_a_bridge_may_tell_its_state(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("$SYS/broker/connection/#")
    state = "$SYS/broker/connection/hill/state"
    bridge = at(net, "site-a/", "bridge", will=p.Will(state, b"0", 1, True))
    bridge.subscribe("$SYS/#")
    assert bridge.publish(state, b"1", 1, retain=True) == 0
    bridge.drop()
    messages = outside.messages()
    assert {message.topic for message in messages} == {"$SYS/broker/connection/site-a/hill/state"}
    assert [message.payload for message in messages] == [b"1", b"0"]
    assert bridge.take() == []  # it is told by clients, and these may be anybody's


# ---- Properties, aliases, sizes ----


def test_requests_and_responses(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("#")
    asking = at(net, "site-a/", "asking")
    asking.subscribe("answer/me")
    serving = at(net, "site-a/", "serving")
    serving.subscribe("do")
    extra: dict[str, Any] = {
        "correlation_data": b"7",
        "user_properties": [("\x08", "\x08")],
        "content_type": "c",
    }
    asking.publish("do", b"?", 1, response_topic="answer/me", payload_format_indicator=1, **extra)
    for client, topic in ((serving, "answer/me"), (outside, "site-a/answer/me")):
        message = client.message()
        client.finish(message)
        found = message.properties
        assert found is not None
        assert found.response_topic == topic
        assert (found.correlation_data, found.content_type) == (b"7", "c")
        assert found.user_properties == [("\x08", "\x08")]
        assert found.payload_format_indicator == 1
    outside.publish("site-a/answer/me", b"!")
    assert asking.message().payload == b"!"


@pytest.mark.parametrize("topic", ["answer", "site-a/", "site-a", "site-b/x"])
def test_where_nobody_there_could_answer_they_are_not_told_to(make: Make, topic: str) -> None:
    net = make()
    outside = net.connect("outside")
    inside = at(net, "site-a/", "a")
    inside.subscribe("do")
    outside.publish("site-a/do", b"?", 1, response_topic=topic, correlation_data=b"7")
    found = inside.message().properties
    assert found is not None
    assert (found.response_topic, found.correlation_data) == (None, b"7")


def test_the_response_topic_of_a_will(make: Make) -> None:
    net = make(quiet(max_connect_size=100_000))
    outside = net.connect("outside")
    outside.subscribe("#")
    will = p.Will("w", b"", 0, False, properties(response_topic="answer"))
    at(net, "site-a/", "a", will=will).drop()
    found = outside.message().properties
    assert found is not None
    assert found.response_topic == "site-a/answer"
    will = p.Will("w", b"", 0, False, properties(response_topic="x" * 65530))
    assert net.send_connect("b", will=will).expect(p.Connack).reason_code == TOPIC_NAME_INVALID


def test_names_that_are_too_long_for_the_mount(make: Make) -> None:
    net = make(quiet(max_topic_levels=3))
    inside = at(net, "site-a/", "a")
    assert inside.publish("x" * 65528, b"", 1) == 0x10
    assert inside.publish("x" * 65529, b"", 1) == TOPIC_NAME_INVALID
    assert inside.publish("a/b", b"", 1) == 0x10
    assert inside.publish("a/b/c", b"", 1) == TOPIC_NAME_INVALID
    assert inside.publish("a", b"", 1, response_topic="x" * 65528) == 0x10
    assert inside.publish("a", b"", 1, response_topic="x" * 65529) == TOPIC_NAME_INVALID
    assert inside.subscribe("x" * 65529, "a/b/c", "a/b") == [TOPIC_FILTER_INVALID, TOPIC_FILTER_INVALID, 2]


def test_topic_aliases_are_of_the_names_that_clients_know(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("#")
    inside = at(net, "site-a/", "a", topic_alias_maximum=5)
    inside.subscribe("long/+")
    inside.publish("long/topic", b"1", topic_alias=3)
    inside.publish("", b"2", topic_alias=3)
    first, second = inside.messages()
    assert (first.topic, second.topic) == ("long/topic", "")
    assert first.properties is not None
    assert second.properties is not None
    assert first.properties.topic_alias == second.properties.topic_alias == 1
    assert [message.topic for message in outside.messages()] == ["site-a/long/topic"] * 2


@pytest.mark.parametrize("topic_filter", ["t", "$share/g/t"])
@pytest.mark.parametrize("response", [None, "site-a/answer", "elsewhere"])
def test_the_maximum_packet_size_is_that_of_what_is_sent(
    make: Make, topic_filter: str, response: str | None
) -> None:
    net = make()
    outside = net.connect("outside")
    values: dict[str, Any] = {"response_topic": response} if response else {}
    inside = at(net, "site-a/", "a", maximum_packet_size=60)
    inside.subscribe(topic_filter)
    head = 2 + 3 + 2 + 1 + (3 + len("answer") if response == "site-a/answer" else 0)
    outside.publish("site-a/t", b"x" * (60 - head), 1, **values)
    inside.finish(inside.message())
    outside.publish("site-a/t", b"x" * (60 - head + 1), 1, **values)
    assert inside.take() == []


def test_redelivery(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    inside = at(net, "site-a/", "a", expiry=FOREVER)
    inside.subscribe("#", subscription_identifiers=[9])
    outside.publish("site-a/one", b"1", 1)
    assert inside.message().topic == "one"
    inside.drop()
    outside.publish("site-a/two", b"2", 2)
    inside = at(net, "site-a/", "a", clean=False, expiry=FOREVER)
    one, two = inside.messages()
    assert [(one.topic, one.dup), (two.topic, two.dup)] == [("one", True), ("two", False)]
    assert one.properties is not None
    assert one.properties.subscription_identifiers == [9]


# ---- subscriptions ----


def test_each_mount_has_shared_subscriptions_of_its_own(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    outside.subscribe("$share/g/site-a/t")
    inside = [at(net, "site-a/", name) for name in "ab"]
    for client in inside:
        assert client.subscribe("$share/g/t") == [2]
    for _ in range(4):
        outside.publish("site-a/t", b"x")
    assert len(outside.messages()) == 4  # it has no fewer because somebody there calls a group the same
    for client in inside:
        assert [message.topic for message in client.messages()] == ["t", "t"]
    for client in inside:
        assert client.unsubscribe("$share/g/t", "$share/g/t", "t") == [0, 0x11, 0x11]
    outside.publish("site-a/t", b"x")
    assert len(outside.messages()) == 1
    assert [*net.core.groups] == [b"$share/g/site-a/t"]


def test_what_a_member_leaves_goes_to_others_of_its_mount(make: Make) -> None:
    net = make()
    outside = net.connect("outside", expiry=FOREVER)
    outside.subscribe("$share/g/site-a/t")
    outside.drop()
    leaving = at(net, "site-a/", "leaving", receive_maximum=1)
    leaving.subscribe("$share/g/t")
    net.entrance = None
    sender = net.connect("sender")
    for payload in (b"1", b"2"):
        sender.publish("site-a/t", payload, 1)
    staying = at(net, "site-a/", "staying")
    staying.subscribe("$share/g/t")
    leaving.drop()
    assert staying.payloads() == [b"1", b"2"]
    assert len(net.core.sessions["outside"].outgoing.queue) == 2


def test_no_local(make: Make) -> None:
    net = make()
    inside = at(net, "site-a/", "a")
    inside.subscribe(("t", 1 | 4))
    inside.publish("t", b"own", 1)
    net.entrance = None
    net.connect("outside").publish("site-a/t", b"other")
    assert inside.payloads() == [b"other"]


def test_thousands_of_filters_in_one_packet(make: Make) -> None:
    net = make()
    outside = net.connect("outside")
    inside = at(net, "site-a/", "a")
    names = [f"topic/{number}" for number in range(2000)] + ["$aws/x"]
    assert inside.subscribe(*names) == [2] * 2000 + [TOPIC_FILTER_INVALID]
    assert set(net.core.sessions["a"].subscriptions) == {b"site-a/" + name.encode() for name in names[:-1]}
    outside.publish("site-a/topic/1999", b"x")
    assert inside.message().topic == "topic/1999"
    assert inside.unsubscribe(*names) == [0] * 2000 + [0x11]


@pytest.mark.parametrize(
    ("given_filter", "whole"),
    [
        (b"", b""),
        (b"a+", b"a+"),
        (b"$share/g/", b"$share/g/"),
        (b"$share/g", b"$share/g"),
        (b"$share//a", b"$share//a"),
        (b"/", b"m//"),
        (b"#", b"m/#"),
        (b"$share/g/#", b"$share/g/m/#"),
        (b"$share/g//", b"$share/g/m//"),
        (b"$SYS/#", b"$SYS/#"),
        (b"$share/g/$SYS/#", b"$share/g/$SYS/#"),
    ],
)
def test_whole_filters(given_filter: bytes, whole: bytes) -> None:
    assert Mount(b"m/").filter(given_filter) == whole


# ---- who is told whole names ----


def test_permissions_hooks_and_questions_have_whole_names(make: Make) -> None:
    asked: list[tuple[str, bytes]] = []

    def answer(question: Authorize) -> Answer:
        asked.append((question.action, question.topic))
        return Answer(0x87 if b"secret" in question.topic else 0)

    class Seen(Hook):
        def __init__(self) -> None:
            self.topics: list[bytes] = []

        def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
            self.topics.append(message.topic)
            return 0

        def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
            self.topics.append(topic_filter)

        def on_delivered(self, client_id: str, message: ApplicationMessage, reason_code: int) -> None:
            self.topics.append(message.topic)

    net = make(authorize=answer)
    seen = Seen()
    net.core.add_hook(seen)
    inside = at(net, "site-a/", "a", will=p.Will("w", b"", 0, False))
    assert inside.subscribe("t", "secret", "$share/g/u") == [2, 0x87, 2]
    assert inside.publish("t", b"", 1) == 0
    assert inside.publish("secret", b"", 1) == 0x87
    inside.finish(inside.message())
    assert asked == [
        ("publish", b"site-a/w"),
        ("subscribe", b"site-a/t"),
        ("subscribe", b"site-a/secret"),
        ("subscribe", b"$share/g/site-a/u"),
        ("publish", b"site-a/t"),
        ("publish", b"site-a/secret"),
    ]
    assert seen.topics == [
        *(b"site-a/t", b"site-a/secret", b"$share/g/site-a/u"),
        *(b"site-a/t", b"site-a/t"),
    ]


# ---- lanes ----


def test_clients_with_a_mount_are_looked_at_and_others_are_not() -> None:
    net = Net("fast")
    outside = net.connect("outside")
    inside = at(net, "site-a/", "a")
    assert outside.connection.is_fast
    assert net.core.sessions["outside"].lane
    assert not inside.connection.is_fast
    assert not net.core.sessions["a"].lane
