"""The recorder: what is told of chosen connections and topics, and what it costs those that are not."""

from __future__ import annotations

import asyncio
import gc

import pytest

import curier
from curier import Broker, Options
from curier.broker import witness
from curier.broker.effects import Answer, Authenticate, Authorize
from curier.broker.hooks import Hook
from curier.broker.judging import Judge, Rights, Who
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.testing import Pair
from curier.trace import events as e
from curier.trace.choice import choice
from curier.trace.lines import from_line, to_line
from curier.trace.reading import Ring, Trace


def taken(pair: Pair, trace: Trace) -> list[e.Event]:
    """All that it recorded, when nothing is on its way any more."""
    pair.settle()
    return trace.take()


def told(events: list[e.Event], version: int = 5) -> list[str]:
    """Each event in a few words: "a>PUBLISH 1" for one to the server, with its publication."""
    words = []
    for event in events:
        assert from_line(to_line(event)) == event
        if isinstance(event, e.Packet):
            name = type(decode(event.data, 0, len(event.data), event.wire.version or version)).__name__
            arrow = ">" if event.to_server else "<"
            number = f" {event.publication}" if event.publication else ""
            words.append(f"{event.wire.client_id}{arrow}{name}{number}")
        elif isinstance(event, e.Happening):
            words.append(f"{event.kind} {event.client_id} {event.publication}".replace("  ", " "))
        elif isinstance(event, e.Missed):
            words.append(f"missed {event.count}")
        else:
            words.append(f"{type(event).__name__} {event.wire.client_id}")
    return words


def happened(events: list[e.Event]) -> list[e.Happening]:
    """What no packet says, but for what is kept of the past."""
    return [one for one in events if isinstance(one, e.Happening) and one.kind not in (e.KEPT, e.PUBLISHED)]


def test_one_publication_has_one_number_on_all_its_ways() -> None:
    pair = Pair()
    a, b, c = pair.connect("a"), pair.connect("b"), pair.connect("c")
    b.subscribe("x/#", qos=2)
    c.subscribe("x/+", qos=1)
    trace = pair.trace()
    a.publish("x/1", b"first", qos=2)
    pair.run(1)
    words = told(taken(pair, trace))
    assert words[:2] == ["a>Publish 1", "published a 1"]
    assert sorted(words[2:]) == sorted(
        "a<Pubrec 1,a>Pubrel 1,a<Pubcomp 1,"
        "b<Publish 1,b>Pubrec 1,b<Pubrel 1,b>Pubcomp 1,delivered b 1,"
        "c<Publish 1,c>Puback 1,delivered c 1".split(",")
    )
    a.publish("x/1", b"second", qos=0)
    pair.run(1)
    words = told(taken(pair, trace))
    assert words[:2] == ["a>Publish 2", "published a 2"]
    assert sorted(words[2:]) == ["b<Publish 2", "c<Publish 2", "delivered b 2", "delivered c 2"]


def test_a_life_is_told_from_the_first_byte_to_the_end_and_only_if_it_was_chosen() -> None:
    pair = Pair()
    trace = pair.trace(client_id="a")
    a, b = pair.connect("a", username="ann"), pair.connect("b")
    b.subscribe("t")
    a.publish("t", b"x")
    a.disconnect()
    events = taken(pair, trace)
    assert told(events) == [
        "Opened ",
        "a>Connect",
        "a<Connack",
        "a>Publish 1",
        "published a 1",
        "a>Disconnect",
        "Closed a",
        "session ended a 0",
    ]
    first, last = events[0], events[-2]
    assert isinstance(first, e.Opened)
    assert isinstance(last, e.Closed)
    assert first.wire.number == last.wire.number
    assert (last.wire.user, last.wire.version, last.by) == ("ann", 5, "client")


def test_a_client_that_is_given_its_name_by_the_broker_can_be_chosen_by_it() -> None:
    pair = Pair()
    pair.connect("")
    name = next(iter(pair.broker.core.sessions))
    number = int(name.removeprefix("auto-"))
    trace = pair.trace(client_id=f"auto-{number + 1}")
    pair.connect("")
    pair.connect("")
    assert told(taken(pair, trace)) == ["Opened ", ">Connect", f"auto-{number + 1}<Connack"]


@pytest.mark.parametrize("by", ["client_id", "user", "listener", "address"])
def test_only_who_is_chosen_leaves_the_fast_lane_and_only_while_it_is(by: str) -> None:
    pair = Pair()
    pair.connect("chosen", username="u1")
    pair.connect("other", username="u2")
    core = pair.broker.core
    chosen, other = core.connections.values()
    chosen.address = "10.1.2.3:5"
    other.address = "[2001:db8::1]:5"
    words = {"client_id": "chosen", "user": "u1", "listener": "memory", "address": "10.0.0.0/8"}
    trace = pair.trace(**{by: words[by]})  # type: ignore[arg-type]
    assert chosen.tap is not None
    assert not chosen.is_fast
    assert (other.tap is not None) == (by == "listener")
    assert other.is_fast == (by != "listener")
    trace.close()
    assert core.hooks.witness is None
    assert [one.tap for one in core.connections.values()] == [None, None]
    assert [one.is_fast for one in core.connections.values()] == [True, True]


def test_who_does_not_keep_a_trace_has_closed_it() -> None:
    pair = Pair()
    trace = pair.trace()
    assert pair.broker.core.hooks.witness is not None
    del trace
    gc.collect()
    assert pair.broker.core.hooks.witness is None


def test_a_topic_shows_everybody_it_concerns_and_nothing_else() -> None:
    pair = Pair()
    a, b, c = pair.connect("a"), pair.connect("b"), pair.connect("c")
    b.subscribe("x/#", qos=1)
    c.subscribe("x/1", qos=1, no_local=True)
    for topic in ("x/1", "x/2", "x/3"):
        a.publish(topic, b"known route", qos=1)
    pair.settle()
    trace = pair.trace(topic=["x/1", "z/+"])
    for topic in ("x/2", "x/1", "x/3"):
        a.publish(topic, b"x", qos=1)
    c.publish("x/1", b"own", qos=1)
    events = taken(pair, trace)
    numbers = [event.publication for event in events if isinstance(event, e.Packet) and event.to_server]
    first, last = f" {numbers[0]}", f" {numbers[-1]}"
    words = [word.replace(first, " 1").replace(last, " 4") for word in told(events)]
    assert words[:2] == ["a>Publish 1", "published a 1"]
    assert sorted(words[2:]) == sorted(
        "a<Puback 1,b<Publish 1,b>Puback 1,delivered b 1,c<Publish 1,c>Puback 1,delivered c 1,"
        "c>Publish 4,published c 4,not for c 4,c<Puback 4,b<Publish 4,b>Puback 4,delivered b 4".split(",")
    )


def test_who_has_nothing_to_do_with_a_topic_stays_on_the_fast_lane() -> None:
    pair = Pair()
    a, b, quiet = pair.connect("a"), pair.connect("b"), pair.connect("quiet")
    b.subscribe("x")
    quiet.subscribe("y")
    trace = pair.trace(topic="x")
    core = pair.broker.core
    assert all(connection.is_fast for connection in core.connections.values())
    a.publish("x")
    a.publish("y")
    pair.settle()
    assert [connection.is_fast for connection in core.connections.values()] == [False, False, True]
    assert quiet.messages
    trace.close()
    assert all(connection.is_fast for connection in core.connections.values())


def test_a_topic_alias_hides_no_topic() -> None:
    options = quiet()
    options.topic_alias_maximum = 5
    pair = Pair(options)
    trace = pair.trace(topic="x")
    b = pair.connect("b", topic_alias_maximum=5)
    b.subscribe("x", qos=1)
    a = pair.connect("a")
    for _ in range(3):
        a.publish("x", b"", qos=1)
        pair.run(1)
    assert [word for word in told(taken(pair, trace)) if "Publish" in word] == [
        word for number in (1, 2, 3) for word in (f"a>Publish {number}", f"b<Publish {number}")
    ]


def test_what_waits_and_why_and_what_becomes_of_it() -> None:
    options = quiet()
    options.max_queued_messages = 2
    pair = Pair(options)
    a = pair.connect("a")
    b = pair.connect("b", session_expiry_interval=1000)
    b.subscribe("t", qos=1)
    trace = pair.trace(topic="t")
    b.disconnect()
    a.publish("t", b"0", qos=0)
    a.publish("t", b"1", qos=1)
    a.publish("t", b"2", qos=1, message_expiry=10)
    a.publish("t", b"3", qos=1)
    pair.run(20)
    events = taken(pair, trace)
    happened = [event for event in events if isinstance(event, e.Happening) and event.client_id == "b"]
    assert [(one.kind, one.publication, one.why) for one in happened] == [
        ("dropped", 1, "its client is away, and QoS 0 waits for nobody"),
        ("queued", 2, "its client is away"),
        ("queued", 3, "its client is away"),
        ("dropped", 4, "its queue is full"),
    ]
    b.reconnect()
    pair.run(1)
    assert told(taken(pair, trace)) == ["b<Publish 2", "expired b 3", "b>Puback 2", "delivered b 2"]


def test_a_message_waits_for_receive_maximum() -> None:
    pair = Pair()
    a = pair.connect("a")
    b = pair.connect("b", manual_acks=True, receive_maximum=1)
    b.subscribe("t", qos=1)
    trace = pair.trace(client_id="b")
    a.publish("t", b"1", qos=1)
    a.publish("t", b"2", qos=1)
    events = taken(pair, trace)
    assert told(events) == ["b<Publish 1", "queued b 2"]
    assert isinstance(events[1], e.Happening)
    assert "Receive Maximum" in events[1].why


def test_who_published_is_told_what_becomes_of_it_elsewhere() -> None:
    pair = Pair()
    a, other = pair.connect("a"), pair.connect("other")
    b = pair.connect("b", session_expiry_interval=1000)
    b.subscribe("t", qos=1)
    b.disconnect()
    trace = pair.trace(client_id="a")
    a.publish("t", b"", qos=1)
    other.publish("t", b"", qos=1)
    assert told(taken(pair, trace)) == ["a>Publish 1", "published a 1", "queued b 1", "a<Puback 1"]


def test_retained_messages_keep_their_number() -> None:
    pair = Pair()
    trace = pair.trace(topic="#")
    a, b = pair.connect("a"), pair.connect("b")
    a.publish("t", b"x", retain=True)
    assert told(taken(pair, trace)) == ["a>Publish 1", "published a 1", "retained a 1", "nobody 1"]
    a.publish("u", b"x", retain=True)
    taken(pair, trace)
    b.subscribe("t", qos=1)
    assert told(taken(pair, trace)) == ["b<Publish 1", "delivered b 1"]


def test_a_will_is_published_by_nobody_that_is_there() -> None:
    pair = Pair()
    a = pair.connect("a", will=curier.Will(curier.Message("t", b"gone")))
    b = pair.connect("b")
    b.subscribe("t")
    trace = pair.trace(topic="t")
    a.disconnect(with_will=True)
    assert told(taken(pair, trace)) == ["published 1", "b<Publish 1", "delivered b 1"]


class Rules(Judge):
    def rights(self, who: Who) -> Rights:
        return May(self, who)


class May(Rights):
    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        self.why = "rules.toml, line 3"
        return self.who.client_id != "bad"

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        return True

    def may_receive(self, topic: bytes) -> bool:
        self.why = "rules.toml, line 7"
        return self.who.client_id != "blind"


def test_what_rules_deny_names_the_rule() -> None:
    pair = Pair()
    pair.broker.core.judge_by(Rules(), pair.now)
    trace = pair.trace(topic="t")
    bad, good, blind = pair.connect("bad"), pair.connect("good"), pair.connect("blind")
    blind.subscribe("t")
    good.subscribe("t")
    for client in (bad, good):
        client.publish("t", b"", qos=1)
    events = taken(pair, trace)
    assert told(events) == [
        *("bad>Publish 1", "denied bad 1", "bad<Puback 1"),
        *("good>Publish 2", "published good 2", "denied blind 2", "good<Publish 2", "delivered good 2"),
        "good<Puback 2",
    ]
    whys = [event.why for event in events if isinstance(event, e.Happening) and event.kind == e.DENIED]
    assert "rules.toml, line 3" in whys[0]
    assert "rules.toml, line 7" in whys[1]


class Refusing(Hook):
    def on_publish(self, connection: BrokerConnection | None, message: object) -> int:
        return 0x97


def test_what_a_hook_refuses_is_told_with_its_reason() -> None:
    pair = Pair()
    pair.broker.core.add_hook(Refusing())
    trace = pair.trace()
    a = pair.connect("a")
    taken(pair, trace)
    a.publish("t", b"", qos=1)
    a.publish("t", b"", qos=0)
    events = taken(pair, trace)
    assert sorted(told(events)) == sorted(
        ["a>Publish 1", "refused a 1", "a<Puback 1", "a>Publish 2", "refused a 2"]
    )


def test_secrets_are_zeros() -> None:
    def answers(question: Authenticate | Authorize) -> Answer:
        if isinstance(question, Authorize):
            return Answer(0)
        if question.data == b"SECRET one":
            return Answer(0x18, data=b"SECRET two")
        return Answer(0, identity="ann", data=b"SECRET four")

    pair = Pair(answers=answers)
    pair.broker.core.authentication_methods = frozenset(["SCRAM"])
    trace = pair.trace()
    pair.connect("plain", username="ann", password=b"SECRET zero")
    core = pair.broker.core
    connection = core.attach("1.2.3.4:5", "memory", pair.now)
    method = Properties()
    method.authentication_method = "SCRAM"
    for kind in (p.Connect, p.Auth):
        method.authentication_data = b"SECRET one" if kind is p.Connect else b"SECRET three"
        packet = p.Connect(5, "scram", properties=method) if kind is p.Connect else p.Auth(0x18, method)
        core.receive(connection, encode(packet, 5), pair.now)
        for effect in core.take_effects():
            assert isinstance(effect, Authenticate)
            core.resume(effect, answers(effect), pair.now)
    events = taken(pair, trace)
    data = b"".join(event.data for event in events if isinstance(event, e.Packet))
    assert b"SCRAM" in data
    assert b"SECRET" not in data
    assert sum(isinstance(event, e.Packet) for event in events) == 6


def test_payloads_are_left_out_on_request() -> None:
    pair = Pair()
    none, some, all_of_it = pair.trace(payload=0), pair.trace(payload=3), pair.trace()
    pair.connect("a").publish("topic", b"0123456789", qos=1, content_type="text")
    found = []
    for trace in (none, some, all_of_it):
        packets = [event for event in taken(pair, trace) if isinstance(event, e.Packet)]
        assert {packet.cut for packet in packets[:2]} == {0}
        found.append((packets[2].data[-4:], packets[2].cut))
    assert found == [(b"text", 10), (b"t012", 7), (b"6789", 0)]


def test_a_reader_that_takes_nothing_misses_the_oldest_and_nobody_else() -> None:
    pair = Pair()
    ring = Ring(most_events=5)
    slow, quick = pair.broker.recorder.read(choice(), ring), pair.trace()
    a = pair.connect("a")
    for number in range(20):
        a.publish("t", b"%d" % number)
    events = taken(pair, slow)
    missed = events[0]
    assert isinstance(missed, e.Missed)
    all_events = taken(pair, quick)
    assert missed.count == len(all_events) - 5
    assert events[1:] == all_events[-5:]
    assert taken(pair, slow) == []


def test_bytes_bound_a_ring_too() -> None:
    pair = Pair()
    slow = pair.broker.recorder.read(choice(), Ring(most_bytes=100_000))
    a = pair.connect("a")
    for _ in range(10):
        a.publish("t", bytes(30_000))
    a.publish("t", bytes(200_000))
    events = taken(pair, slow)
    assert sum(len(event.data) for event in events if isinstance(event, e.Packet)) < 100_000
    with pytest.raises(ValueError, match="room for an event"):
        Ring(most_events=0)


def test_a_recorder_that_fails_costs_no_client_anything() -> None:
    pair = Pair()
    a = pair.connect("a")
    faults: list[object] = []
    pair.broker.on_fault = faults.append
    trace = pair.trace()

    for name in ("packet", "happened"):
        core = pair.broker.core
        core.hooks.witness = Failing(name)
        core.look_again(next(iter(core.connections.values())))
        a.publish("t", b"", qos=1)
        pair.run(1)
        assert core.hooks.witness is None
    assert a.is_connected
    assert len(faults) == 2
    trace.close()


class Failing(witness.Witness):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def sees(self, connection: BrokerConnection) -> bool:
        return True

    def packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes) -> None:
        if self.name == "packet":
            raise RuntimeError("a bug")

    def happened(self, *_: object) -> None:
        raise RuntimeError("a bug")


def test_words_of_the_core_are_those_of_events() -> None:
    words = {name: value for name, value in vars(witness).items() if name.isupper()}
    assert len(words) > 5
    assert words == {name: getattr(e, name) for name in words}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"topic": "a/#/b"}, "a/#/b"),
        ({"topic": ""}, "not empty"),
        ({"client_id": ["a", ""]}, "not empty"),
        ({"address": "localhost"}, "not 'localhost'"),
        ({"payload": -1}, "not -1"),
    ],
)
def test_what_cannot_be_chosen_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pair().trace(**wrong)  # type: ignore[arg-type]


async def test_a_broker_is_read_as_it_goes() -> None:
    async with Broker("tcp://127.0.0.1:0", options=quiet()) as broker:
        async with broker.trace(client_id="a") as trace:
            async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="a") as client:
                await client.publish("t", b"x", qos=1)
            events = []
            async for event in trace:
                events.append(event)
                if isinstance(event, e.Closed):
                    break
        assert told(events) == [
            *("Opened ", "a>Connect", "a<Connack", "a>Publish 1", "published a 1", "nobody 1", "a<Puback 1"),
            *("a>Disconnect", "Closed a"),
        ]
        wire = events[-1].wire if isinstance(events[-1], e.Closed) else None
        assert wire is not None
        assert wire.server_address == f"127.0.0.1:{broker.port}"
        assert told([event async for event in trace]) == ["session ended a 0"]
        with broker.trace() as other:
            waiting = asyncio.ensure_future(anext(other))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(other)
            waiting.cancel()


def test_an_acknowledgement_that_waits_for_the_disk_says_so() -> None:
    pair = Pair(durable=True, disk_latency=0.5)
    b = pair.connect("b", session_expiry_interval=100)
    b.subscribe("kept", qos=1)
    pair.run(2)
    b.disconnect()
    a = pair.connect("a")
    pair.run(2)
    trace = pair.trace()
    a.publish("kept", b"x", qos=1)
    pair.run(2)
    events = taken(pair, trace)
    assert told(events) == ["a>Publish 1", "published a 1", "queued b 1", "stored a 1", "a<Puback 1"]
    assert events[3].time - events[0].time == pytest.approx(0.5)
    a.publish("gone", b"x", qos=1)
    pair.run(2)
    assert told(taken(pair, trace))[2:] == ["nobody 2", "a<Puback 2"]
    a.publish("kept", b"x", qos=2)
    pair.run(2)
    words = told(taken(pair, trace))
    assert words.index("stored a 3") == words.index("a<Pubrec 3") - 1
    other = pair.trace(topic="else")
    a.publish("kept", b"x", qos=1)
    pair.run(2)
    assert told(taken(pair, other)) == []


def quiet() -> Options:
    options = Options()
    options.sys_interval = 0.0
    return options


async def test_what_went_wrong_before_anybody_looked_is_still_known() -> None:
    options = quiet()
    options.max_queued_messages = 1
    async with Broker("tcp://127.0.0.1:0", options=options) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        async with curier.connect(url, client_id="b", session_expiry=100) as away:
            await away.subscribe("t", "u", qos=1).open()
        async with curier.connect(url, client_id="a") as client:
            await client.publish("t", b"", qos=1)
            for topic in ("t", "u"):
                with pytest.raises(curier.PublishRefused, match="queues of all receivers are full"):
                    await client.publish(topic, b"", qos=1)
            with pytest.raises(curier.PublishRefused):
                await client.publish("$SYS/mine", b"", qos=1)
        assert all(connection.is_fast for connection in broker.core.connections.values())
        with broker.trace(past=True, topic="t") as trace:
            events = trace.take()
        published = [one for one in events if isinstance(one, e.Packet) and one.data[0] >> 4 == 3]
        (drop,) = happened(events)
        assert (drop.kind, drop.client_id, drop.topic, drop.why) == ("dropped", "b", "t", "its queue is full")
        assert [one.publication for one in published] == [drop.publication - 1, drop.publication]
        with broker.trace(past=True, client_id="a") as trace:
            events = trace.take()
        denied = [one for one in happened(events) if one.kind == "denied"]
        assert [(one.client_id, one.topic) for one in denied] == [("a", "$SYS/mine")]
        with broker.trace() as trace:
            assert trace.take() == []


async def test_a_broker_that_keeps_no_past_keeps_none() -> None:
    broker = Broker("tcp://127.0.0.1:0", options=quiet())
    broker.keeps_past = False
    async with broker:
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="a") as client:
            with pytest.raises(curier.PublishRefused):
                await client.publish("$SYS/mine", b"", qos=1)
        with broker.trace(past=True) as trace:
            nothing, end = trace.take()
            assert told([nothing, end]) == ["kept 0", "kept 0"]
            assert isinstance(nothing, e.Happening)
            assert nothing.why == "nothing of what went by before (no_past)"
