"""What the broker tells about itself under $SYS, and its counters (5.0: 4.7.2)."""

from __future__ import annotations

import pytest

from curier.broker import keeping
from curier.broker.entrances import Entrance
from curier.broker.model import ServerSession
from curier.broker.state import Host
from curier.broker.sys_topics import COUNTED_PER_STEP
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.broker.test_changing_options import change

NAMES = {
    "version",
    "uptime",
    "clients/total",
    "clients/connected",
    "clients/active",
    "clients/disconnected",
    "clients/inactive",
    "clients/maximum",
    "clients/expired",
    "clients/slowed",
    "messages/received",
    "messages/sent",
    "messages/stored",
    "store/messages/count",
    "store/messages/bytes",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/messages/dropped",
    "publish/messages/dropped/full",
    "publish/bytes/received",
    "publish/bytes/sent",
    "bytes/received",
    "bytes/sent",
    "retained messages/count",
    "subscriptions/count",
    "shared_subscriptions/count",
    "turn/longest",
} | {
    f"load/{name}/{minutes}min"
    for name in (
        "messages/received",
        "messages/sent",
        "publish/received",
        "publish/sent",
        "publish/dropped",
        "bytes/received",
        "bytes/sent",
        "sockets",
        "connections",
    )
    for minutes in (1, 5, 15)
}


@pytest.fixture
def told(make: Make) -> Net:
    """A broker that tells every ten seconds, for the first time at once."""
    net = make(quiet(sys_interval=10.0))
    net.advance(0)
    return net


def read(client: Client) -> dict[str, str]:
    return {
        message.topic.removeprefix("$SYS/broker/"): message.payload.decode() for message in client.messages()
    }


def now(net: Net) -> dict[str, str]:
    """Everything as it was told last."""
    client = net.connect("now")
    client.subscribe("$SYS/#")
    values = read(client)
    client.disconnect()
    return values


def test_every_name_is_there_and_has_a_value(told: Net) -> None:
    values = now(told)
    assert set(values) == NAMES
    assert values["version"].startswith("curier ")
    assert values["uptime"] == "0 seconds"
    assert all(values.values())


def test_what_changed_is_told_every_interval_and_nothing_else(told: Net) -> None:
    client = told.connect("c")
    client.subscribe("$SYS/broker/uptime", "$SYS/broker/version", "$SYS/broker/clients/+")
    client.take()
    told.advance(10)
    assert read(client) == {
        "uptime": "10 seconds",
        "clients/total": "1",
        "clients/connected": "1",
        "clients/active": "1",
        "clients/maximum": "1",
    }
    told.advance(10)
    assert read(client) == {"uptime": "20 seconds"}


def test_what_only_its_driver_knows_is_told_as_well(told: Net) -> None:
    client = told.connect("c")
    client.subscribe("$SYS/broker/listeners/#")
    told.core.host.told["listeners/front/certificate/expires"] = "1795392000"
    told.advance(10)
    assert read(client) == {"listeners/front/certificate/expires": "1795392000"}
    told.advance(10)
    assert read(client) == {}


def test_what_is_told_no_more_is_retained_no_more(told: Net) -> None:
    told.core.statistics.entrances.append(Entrance("front", "front"))
    told.core.host.told["listeners/front/certificate/expires"] = "1795392000"
    told.advance(10)
    client = told.connect("c")
    client.subscribe("$SYS/broker/listeners/#")
    names = set(read(client))
    assert len(names) == 6
    told.core.statistics.entrances.clear()
    told.core.host.told.clear()
    told.advance(10)
    assert read(client) == dict.fromkeys(names, "")
    assert set(now(told)) == NAMES
    told.advance(10)
    assert read(client) == {}


def test_when_it_ends_nothing_stays_that_looks_as_if_it_were_true(told: Net) -> None:
    assert set(now(told)) == NAMES
    change(told, sys_interval=0.0)
    assert now(told) == {}
    change(told, sys_interval=5.0)
    told.advance(0)
    assert set(now(told)) == NAMES


def test_each_listener_tells_of_itself(told: Net) -> None:
    front, back = Entrance("front", "front"), Entrance("", "tcp-[::1]:1883")
    told.core.statistics.entrances += [front, back]
    told.entrance = front
    told.connect("gone").drop()
    client = told.connect("c")
    client.subscribe("$SYS/broker/listeners/#")
    told.advance(10)
    values = read(client)
    for name, sockets, connected in (("front", 2, 1), ("tcp-[::1]:1883", 0, 0)):
        above = f"listeners/{name}/"
        assert values.pop(above + "clients/connected") == str(connected)
        assert values.pop(above + "clients/maximum") == str(connected)
        assert values.pop(above + "sockets") == str(sockets)
    bytes_received = told.core.traffic.bytes_received
    assert values["listeners/front/bytes/received"] == str(bytes_received)
    assert 0 < int(values["listeners/front/bytes/sent"]) < told.core.traffic.bytes_sent
    assert values["listeners/tcp-[::1]:1883/bytes/received"] == "0"
    assert values["listeners/tcp-[::1]:1883/bytes/sent"] == "0"
    assert len(values) == 4
    other = told.open()
    assert (front.attached, front.connected) == (2, 1)
    other.drop()
    assert (front.attached, front.connected, front.accepted) == (1, 1, 3)


def test_the_messages_of_many_sessions_are_counted_bit_by_bit(told: Net) -> None:
    for number in range(COUNTED_PER_STEP + 1):
        session = ServerSession(f"s{number}", -number, None)
        session.outgoing.append(Outgoing(ApplicationMessage(b"t", b"", 1, False), 1, False))
        keeping.add_session(told.core, session)
    told.now += 10
    told.core.deadline_reached(told.now)
    stored = told.core.retained.get(b"$SYS/broker/messages/stored")
    assert stored is not None
    assert stored.payload == b"0"
    told.advance(1)
    stored = told.core.retained.get(b"$SYS/broker/messages/stored")
    assert stored is not None
    assert int(stored.payload) == COUNTED_PER_STEP + 1 + len(NAMES)


def test_it_is_for_who_asks_by_name(told: Net) -> None:
    client = told.connect("c")
    client.subscribe("#", "+/+/uptime", "+/broker/#")
    told.advance(30)
    assert client.take() == []


def test_it_may_be_switched_off(net: Net) -> None:
    client = net.connect("c")
    client.subscribe("$SYS/#")
    net.advance(1000)
    assert client.take() == []


def test_the_numbers_are_right(told: Net) -> None:
    reader = told.connect("reader", expiry=1000)
    reader.subscribe("t", "$share/g/u")
    sender = told.connect("sender")
    sender.publish("t", b"12345", 0)
    sender.publish("t", b"678", 1)
    sender.publish("kept", b"9", 0, True)
    told.connect("short", expiry=5).drop()
    reader.drop()
    sender.publish("t", b"waits", 1)
    told.advance(10)
    values = now(told)
    retained = len(NAMES) + 1
    assert {
        "clients/total": "2",
        "clients/connected": "1",
        "clients/active": "1",
        "clients/disconnected": "1",
        "clients/inactive": "1",
        "clients/maximum": "3",
        "clients/expired": "1",
        "publish/messages/received": "4",
        "publish/bytes/received": "14",
        "publish/messages/sent": "2",
        "publish/bytes/sent": "8",
        "publish/messages/dropped": "0",
        "retained messages/count": str(retained),
        "messages/stored": str(retained + 2),
        "subscriptions/count": "1",
        "shared_subscriptions/count": "1",
        "messages/received": str(3 + 1 + 4),
    }.items() <= values.items()


def test_what_is_stored_counts_by_its_payload(told: Net) -> None:
    base = told.core.statistics.stored_payload
    reader = told.connect("reader", expiry=1000)
    reader.subscribe("long/topic", "$share/g/long/topic")
    told.connect("other").subscribe("$share/g/long/topic", "$share/h/long/topic")
    sender = told.connect("sender")
    reader.drop()
    sender.publish("long/topic", b"12345", 1, user_properties=[("k", "v")])
    sender.publish("kept", b"123", 1, True)
    sender.publish("kept", b"12", 1, True)
    assert told.core.statistics.stored_payload == base + 5 + 2
    told.advance(10)
    values = now(told)
    assert (values["subscriptions/count"], values["shared_subscriptions/count"]) == ("1", "3")
    told.connect("reader").drop()
    sender.publish("kept", b"", 1, True)
    told.core.retained.remove(b"")
    base = sum(len(payload) for payload in now(told).values())
    assert told.core.statistics.stored_payload == base


def test_connections_and_connects_are_told_apart(told: Net) -> None:
    for _ in range(5):
        told.open()
    told.connect("c")
    told.advance(10)
    values = now(told)
    assert float(values["load/sockets/1min"]) > 5 * float(values["load/connections/1min"]) > 0


def test_memory_is_told_where_it_is_known(told: Net) -> None:
    class Process(Host):
        size = 3000

        def memory(self) -> int:
            return self.size

    told.advance(10)
    assert "heap/current" not in now(told)
    told.core.host = process = Process()
    told.advance(10)
    process.size = 2000
    told.advance(10)
    assert (now(told)["heap/current"], now(told)["heap/maximum"]) == ("2000", "3000")


def test_bytes_are_counted_as_they_come_and_go(told: Net) -> None:
    traffic = told.core.traffic
    client = told.connect("c")
    received, sent = traffic.bytes_received, traffic.bytes_sent
    assert received == 16
    client.send(p.Pingreq())
    assert (traffic.bytes_received - received, traffic.bytes_sent - sent) == (2, 2)


def test_load_averages_follow_the_rate(told: Net) -> None:
    client = told.connect("c")
    for _ in range(30):
        for _ in range(20):
            client.publish("t", b"")
        told.advance(10)
    values = now(told)
    one, fifteen = (float(values[f"load/publish/received/{minutes}min"]) for minutes in (1, 15))
    assert 115 < one < 121  # 120 a minute, for five minutes
    assert 20 < fifteen < 60
    told.advance(600)
    values = now(told)
    assert float(values["load/publish/received/1min"]) < 1


def test_the_longest_turn_is_told_once(told: Net) -> None:
    told.core.statistics.longest_turn = 0.0123
    told.advance(10)
    assert now(told)["turn/longest"] == "12.3"
    told.advance(10)
    assert now(told)["turn/longest"] == "0.0"
