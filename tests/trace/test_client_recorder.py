"""What a client records of itself: every packet of every connection, and nothing when nobody reads."""

from __future__ import annotations

import pytest

import curier
from curier import Broker, Options, Reconnect
from curier.trace import events as e
from tests.waiting import until

NAMES = "- Connect Connack Publish Puback Pubrec Pubrel Pubcomp Subscribe Suback - - - - Disconnect".split()


def quiet() -> Options:
    options = Options()
    options.sys_interval = 0.0
    return options


def told(events: list[e.Event]) -> list[str]:
    words = []
    for event in events:
        if isinstance(event, e.Packet):
            kind = NAMES[event.data[0] >> 4]
            words.append(f"{event.wire.number}{'>' if event.to_server else '<'}{kind}")
        elif isinstance(event, e.Opened | e.Closed):
            words.append(f"{type(event).__name__} {event.wire.number}")
    return words


async def test_all_connections_of_a_client() -> None:
    async with Broker("tcp://127.0.0.1:0", options=quiet()) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        client = curier.connect(url, username="ann", password="SECRET", reconnect=Reconnect(first=0.01))
        with client.trace() as trace:
            async with client:
                async with client.subscribe("t", qos=1) as stream:
                    await client.publish("t", b"0123456789", qos=1)
                    await stream.get(timeout=20)
                    await until(lambda: not broker.core.sessions[client.client_id].outgoing.unfinished())
                    broker.core.expel(
                        next(iter(broker.core.connections.values())), 0x98, "", "test", broker.core.started_at
                    )
                    assert broker._turn is not None
                    broker._turn.schedule()
                    events = trace.take()
                    while "2<Connack" not in told(events):
                        events.append(await anext(trace))
            events += trace.take()
        words = told(events)
        assert words[:3] == ["Opened 1", "1>Connect", "1<Connack"]
        assert sorted(words[3:9]) == sorted(
            ["1>Subscribe", "1<Suback", "1>Publish", "1<Publish", "1<Puback", "1>Puback"]
        )
        assert words[9:14] == ["1<Disconnect", "Closed 1", "Opened 2", "2>Connect", "2<Connack"]
        assert words[-2:] == ["2>Disconnect", "Closed 2"]
        first, last = events[2], events[-1]
        assert isinstance(first, e.Packet)
        assert isinstance(last, e.Closed)
        assert last.by == "client"
        assert b"SECRET" not in b"".join(event.data for event in events if isinstance(event, e.Packet))
        assert first.wire.server_address == f"127.0.0.1:{broker.port}"
        assert first.wire.client_address.startswith("127.0.0.1:")
        assert (last.wire.user, last.wire.version, last.wire.client_id) == ("ann", 5, client.client_id)


async def test_a_client_that_is_connected_can_be_looked_at_and_left_alone_again() -> None:
    async with (
        Broker("tcp://127.0.0.1:0", options=quiet()) as broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client,
    ):
        await client.publish("t", b"", qos=1)
        with client.trace(payload=2) as trace:
            await client.publish("t", b"0123456789", qos=1)
            events = trace.take()
        assert told(events) == ["1>Publish", "1<Puback"]
        assert isinstance(events[0], e.Packet)
        assert (events[0].data[-2:], events[0].cut) == (b"01", 8)
        assert client._life is not None
        assert client._life.link.connection.tap is None
        await client.publish("t", b"", qos=1)
        assert trace.take() == []
        with pytest.raises(ValueError, match="-1"):
            client.trace(payload=-1)
