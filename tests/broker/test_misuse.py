"""Hooks that are not as they should be: each event, misused in each way, costs what the documentation says.

It costs nobody else anything, and means the same in both forms of curier, which run these tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from curier.broker.faults import WHY
from curier.broker.hooks import EVENTS, Hook
from curier.broker.judging import Judge, Rights, Who
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.broker.test_changing_options import change
from tests.each import each

ABOUT_A_CLIENT = {"on_connect", "on_subscribe", "on_unsubscribe", "on_packet"}  # which is there, and pays
ABOUT_NOBODY = {
    *(
        "on_refuse",
        "on_refuse_publish",
        "on_slow",
        "on_disconnect",
        "on_session_end",
        "on_revoke",
        "on_drop",
        "on_delivered",
    ),
}
NO_CODES: list[object] = [None, "", "no", True, False, 1, 0x10, 0x7F, 0x100, -1, 1 << 70, 0.0, [], Ellipsis]

Act = Callable[..., object]


class Misused(Hook):
    """A hook; ``misused`` makes a class of it with one event more."""

    def __init__(self) -> None:
        self.calls = 0


def misused(event: str, act: Act) -> Misused:
    """A hook that calls ``act`` when ``event`` comes about the client "c", or about a will."""

    def told(self: Misused, *arguments: object) -> object:
        if not is_about_c(arguments):
            return 0 if event == "on_publish" else None
        self.calls += 1
        return act(self, *arguments)

    return cast(Misused, type("Misused", (Misused,), {event: told})())


def is_about_c(arguments: tuple[object, ...]) -> bool:
    about = arguments[0]
    if about is None:  # a will
        return True
    return (about.client_id if isinstance(about, BrokerConnection) else about) == "c"


def test_every_event_has_its_place_in_these_tests() -> None:
    assert {name for name in vars(Hook) if name.startswith("on_")} == set(EVENTS)
    assert ABOUT_A_CLIENT | ABOUT_NOBODY | {"on_publish"} == set(EVENTS)


class Rules(Judge):
    """Everybody may do everything but subscribe to one topic."""

    def __init__(self, closed: bytes) -> None:
        super().__init__()
        self.closed = closed

    def rights(self, who: Who) -> Rights:
        return Allowed(self, who)


class Allowed(Rights):
    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        return True

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        return topic_filter != cast(Rules, self.judge).closed

    def may_receive(self, topic: bytes) -> bool:
        return True


class Scene:
    """Whatever there is an event for happens to the client "c", and others go on with what they do."""

    def __init__(self, make: Make) -> None:
        self.net = make(quiet(max_queued_messages=1, max_inflight=2))
        self.net.takes_faults = True
        self.net.core.judge_by(Rules(b""), self.net.now)
        self.reader, self.writer = self.net.connect("reader", expiry=60), self.net.connect("writer")
        self.reader.subscribe("others", "will")
        self.acknowledged: dict[int, int] = {}  # by QoS, what "c" was told of its messages

    def play(self) -> p.Disconnect | None:
        """Everything once; the DISCONNECT with which "c" was sent away, and "c" comes back after it."""
        goodbye: p.Disconnect | None = None
        client = self.net.send_connect(
            "c", session_expiry_interval=60, maximum_packet_size=300, will=p.Will("will", b"gone")
        )
        steps: list[p.Packet | bytes] = [
            p.Subscribe(1, [("a", 2), ("b", 0)]),
            p.Publish("others", b"0", 0),
            p.Publish("others", b"1", 1, packet_id=2),
            p.Publish("others", b"2", 2, packet_id=3),
            p.Pubrel(3),
            p.Publish("a", b"back", 1, packet_id=4),
            p.Puback(1),  # which is on_delivered
            p.Publish("a", bytes(400), 1, packet_id=5),  # too large for itself: on_drop
            p.Publish("$SYS/x", b"", 1, packet_id=6),  # on_refuse
            p.Unsubscribe(7, ["a"]),
        ]
        for step in steps:
            if client.closed:
                goodbye = goodbye or client.goodbye()
                client = self.net.send_connect(
                    "c", clean=False, session_expiry_interval=60, maximum_packet_size=300
                )
            client.send(step)
            for packet in client.inbox:
                if isinstance(packet, p.Puback | p.Pubrec) and packet.packet_id in (2, 3):
                    self.acknowledged[packet.packet_id - 1] = packet.reason_code
        if not client.closed:
            change(self.net, max_byte_rate=1)
            client.send(b"\xc0\0")  # on_slow
            change(self.net, max_byte_rate=0)
        if client.closed:
            goodbye = goodbye or client.goodbye()
        else:
            client.drop()
        self.net.core.judge_by(Rules(b"b"), self.net.now)  # on_revoke
        self.net.advance(61)  # on_session_end
        return goodbye

    def check_others(self) -> None:
        """Everybody else is served, and nothing is left of "c"."""
        core = self.net.core
        assert core.statistics.connected == len(core.connections) == 2
        assert set(core.sessions) == {"reader", "writer"}
        assert core.next_deadline() > self.net.now
        assert core.hooks.depth == 0
        assert core.statistics.queued_bytes == 0
        self.reader.finish(*self.reader.messages())
        assert [self.writer.publish("others", b"x", qos) for qos in (0, 1, 2)] == [0, 0, 0]
        got = self.reader.messages()
        assert [message.payload for message in got] == [b"x"] * 3
        self.reader.finish(*got)
        assert not self.reader.closed


def texts(net: Net) -> set[str]:
    return {fault.text for fault in net.faults}


@each("event", EVENTS)
def test_a_hook_that_raises(make: Make, event: str) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("on purpose")

    scene = Scene(make)
    hook = misused(event, fail)
    scene.net.core.add_hook(hook)
    goodbye = scene.play()
    assert hook.calls
    assert len(scene.net.faults) == hook.calls
    assert all(str(fault.error) == "on purpose" for fault in scene.net.faults)
    assert all(f"the hook Misused.{event} has failed" in text for text in texts(scene.net))
    assert (goodbye is not None) == (event in ABOUT_A_CLIENT)
    if goodbye is not None:
        assert goodbye.reason_code == 0x83
        assert goodbye.properties is not None
        assert goodbye.properties.reason_string == WHY
        assert any("'c' (test) is disconnected" in text for text in texts(scene.net))
    elif event == "on_publish":
        assert scene.acknowledged == {1: 0x83, 2: 0x83}
        assert b"gone" not in [
            message.payload for message in scene.reader.inbox if isinstance(message, p.Publish)
        ]
    else:
        assert all("nobody pays" in text for text in texts(scene.net))
        assert scene.acknowledged == {1: 0, 2: 0}
    scene.check_others()


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("qos", [1, 2])
def test_before_5_0_a_message_that_a_hook_fails_at_does_not_come_for_ever(
    make: Make, version: int, qos: int
) -> None:
    """Its client can be told nothing: it is acknowledged, as other refusals that last are."""
    net = make()
    net.takes_faults = True
    net.core.add_hook(misused("on_publish", lambda *arguments: None))
    watch = net.connect("watch")
    watch.subscribe("t")
    client = net.open()
    client.version = version
    client.send(p.Connect(version, "c", False, 0))
    client.pop(p.Connack)
    assert client.publish("t", b"x", qos) == 0
    assert not client.closed
    assert watch.take() == []
    assert len(net.faults) == 1


@each("event", sorted(set(EVENTS) - {"on_publish"}))
def test_what_nobody_asked_for_is_not_looked_at(make: Make, event: str) -> None:
    scene = Scene(make)
    hook = misused(event, lambda *arguments: "something")
    scene.net.core.add_hook(hook)
    assert scene.play() is None
    assert hook.calls
    assert scene.net.faults == []
    scene.check_others()


@each("event", EVENTS)
def test_a_hook_that_returns_a_coroutine(make: Make, event: str) -> None:
    async def wait() -> int:
        return 0

    scene = Scene(make)
    hook = misused(event, lambda *arguments: wait())  # a warning that it was never awaited is an error here
    scene.net.core.add_hook(hook)
    assert (scene.play() is not None) == (event in ABOUT_A_CLIENT)
    assert len(scene.net.faults) == hook.calls > 0
    assert all("it returned" in str(fault.error) for fault in scene.net.faults)
    scene.check_others()


@pytest.mark.parametrize("answer", NO_CODES, ids=repr)
def test_an_answer_that_is_none_refuses(make: Make, answer: object) -> None:
    scene = Scene(make)
    scene.net.core.add_hook(misused("on_publish", lambda *arguments: answer))
    assert scene.play() is None
    assert scene.acknowledged == {1: 0x83, 2: 0x83}
    assert all(f"it returned {answer!r}" in str(fault.error) for fault in scene.net.faults)
    assert any("a message of 'c' (test) on 'others' is refused" in text for text in texts(scene.net))
    assert any("a will on 'will' is refused" in text for text in texts(scene.net))
    scene.check_others()


@pytest.mark.parametrize("answer", [0, 0x80, 0x83, 0x87, 0x97, 0xFF])
def test_an_answer_that_is_one(make: Make, answer: int) -> None:
    scene = Scene(make)
    scene.net.core.add_hook(misused("on_publish", lambda *arguments: answer))
    scene.play()
    assert scene.net.faults == []
    told = answer if answer != 0xFF else 0x80  # since no PUBACK can have that
    assert scene.acknowledged == {1: told, 2: told}
    scene.check_others()


@each("event", EVENTS)
def test_a_hook_that_removes_itself(make: Make, event: str) -> None:
    def remove(hook: Hook, *arguments: object) -> int:
        scene.net.core.remove_hook(hook)
        return 0

    scene = Scene(make)
    hook = misused(event, remove)
    scene.net.core.add_hook(hook)
    assert scene.play() is None
    assert hook.calls == 1
    assert scene.net.faults == []
    assert scene.acknowledged == {1: 0, 2: 0}
    scene.check_others()


@each("event", EVENTS)
def test_a_hook_that_publishes(make: Make, event: str) -> None:
    scene = Scene(make)
    core = scene.net.core

    def publish(*arguments: object) -> int:
        said = core.publish(ApplicationMessage(b"heard", b"x", 0, False), None, scene.net.now)
        return 0 if not said else 0x83

    hook = misused(event, publish)
    listener = scene.net.connect("listener", expiry=60)
    listener.subscribe("heard")
    core.add_hook(hook)
    assert scene.play() is None
    assert scene.net.faults == []
    assert len(listener.messages()) == hook.calls > 0
    assert scene.acknowledged == {1: 0, 2: 0}
    listener.disconnect()
    scene.net.advance(61)
    scene.check_others()


def test_a_hook_that_publishes_for_ever_does_not(make: Make) -> None:
    net = make(quiet(max_queued_messages=1))
    net.takes_faults = True
    for number in range(3):
        away = net.connect(f"away {number}", expiry=60)
        away.subscribe("t")
        away.drop()
    said: list[str] = []

    class Echo(Hook):
        def on_drop(self, client_id: str, message: Any, why: str) -> None:
            said.append(net.core.publish(ApplicationMessage(b"t", b"dropped", 1, False), None, net.now))

    net.core.add_hook(Echo())
    client = net.connect("c")
    assert [client.publish("t", b"x", 1) for _ in range(2)] == [0, 0x97]  # nobody has room for the second
    assert said.count("") == 3 + 9
    assert len(said) - said.count("") == 27
    assert all("wait for each other" in one for one in said if one)
    assert net.core.statistics.dropped == 3 + 9 + 27


@each("event", EVENTS)
@each("says", [False, True])
def test_a_hook_that_ends_the_connection(make: Make, event: str, says: bool) -> None:
    scene = Scene(make)
    net = scene.net

    def end(*arguments: object) -> int:
        for connection in list(net.core.connections.values()):
            if connection.client_id == "c":
                if says:
                    connection.send_disconnect(0x98, "enough", None)
                connection.end(0x98, "enough", net.now)
        return 0

    hook = misused(event, end)
    net.core.add_hook(hook)
    goodbye = scene.play()
    assert hook.calls
    assert net.faults == []
    if event not in ("on_disconnect", "on_session_end", "on_revoke"):
        assert goodbye is not None
        assert goodbye.reason_code == 0x98
    scene.check_others()


@pytest.mark.parametrize("event", EVENTS)
def test_what_cannot_be_called_is_refused_when_it_is_added(event: str) -> None:
    async def waits(self: Hook, *arguments: object) -> None: ...
    def generates(self: Hook, *arguments: object) -> Any:
        yield

    async def generates_later(self: Hook, *arguments: object) -> Any:
        yield

    def lacks(self: Hook) -> None: ...
    def wants(self: Hook, a: object, b: object, c: object, d: object, e: object, f: object) -> None: ...
    def only_named(self: Hook, *, connection: object) -> None: ...

    net = Net()
    client = net.connect("c")
    for wrong, said in (
        (waits, "is a coroutine function"),
        (generates_later, "is a coroutine function"),
        (generates, "is a generator function"),
        (lacks, f"must take ({', '.join(EVENTS[event])})"),
        (wants, f"must take ({', '.join(EVENTS[event])})"),
        (only_named, f"must take ({', '.join(EVENTS[event])})"),
        (5, "cannot be called"),
    ):
        hook = cast(Hook, type("Wrong", (Hook,), {event: wrong})())
        with pytest.raises(TypeError) as caught:
            net.core.add_hook(hook)
        assert f"Wrong.{event}" in str(caught.value)
        assert said in str(caught.value)
    assert net.core.hooks.all == []
    client.send(p.Pingreq())
    client.expect(p.Pingresp)


@pytest.mark.parametrize("event", EVENTS)
def test_what_can_be_called_is_taken(event: str) -> None:
    class Callable_:
        def __call__(self, *arguments: object) -> int:
            return 0

    def optional(hook: object, /, *arguments: object, more: int = 0) -> int:
        return 0

    rights: list[object] = [optional, staticmethod(Callable_()), classmethod(optional), Callable_()]
    for right in rights:
        net = Net()
        net.core.add_hook(cast(Hook, type("Right", (Hook,), {event: right})()))
        net.connect("c").publish("t", b"", 1)


@pytest.mark.parametrize("wrong", [Ellipsis, None, Hook, "hook"], ids=repr)
def test_what_is_no_hook(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Net().core.add_hook(wrong)
