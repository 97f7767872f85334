"""A whole connection under fire: any bytes, in any pieces, before and after CONNECT, in every version.

The oracle: no exception leaves the core, what it answers can be decoded, everybody else goes on undisturbed,
nothing is left behind when the client is gone; and what is answered depends neither on how the bytes were cut
nor on the lane they took.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curier.broker.options import Options
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish
from curier.codec.primitives import packet_end
from tests.codec.cases import BADS, WIRES
from tests.codec.wire import packet_bytes
from tests.protocol.test_fuzz import damaged
from tests.strategies import packets
from tests.v311.harness import WAYS, Client, Network, quiet

VERSIONS = (3, 4, 5)

NOTATIONS = [(case.notation, case.versions) for case in WIRES] + [
    (bad.notation, bad.versions) for bad in BADS
]
CASES = {
    version: [packet_bytes(notation, version) for notation, versions in NOTATIONS if version in versions]
    for version in VERSIONS
}
DISCONNECT = b"\xe0\x00"

few = settings(max_examples=max(10, settings().max_examples // 5))  # an example here is a broker's life


def tight() -> Options:
    """Options with limits so small that they are met."""
    options = quiet()
    options.max_packet_size = 300
    options.max_inflight = 3
    options.receive_maximum = 3
    options.max_queued_messages = 5
    options.max_subscriptions = 5
    options.max_filters_per_packet = 3
    options.max_user_properties = 2
    options.max_retained_messages = 5
    options.route_cache_size = 1000
    options.topic_alias_maximum = 2
    return options


@st.composite
def pieces(draw: st.DrawFn, version: int) -> bytes:
    """Random bytes, a packet, a case from the codec's tests, or one of the latter with some bytes changed."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.binary(max_size=40))
    if kind == 1:
        return encode(draw(packets(version)), version)
    if kind == 5:
        return draw(damaged(version))
    data = draw(st.sampled_from(CASES[version]))
    if kind == 2 and data:
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 3))):
            changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if kind == 3:
        return data[: draw(st.integers(0, len(data)))]
    return data


def streams(version: int) -> st.SearchStrategy[bytes]:
    return st.lists(pieces(version), max_size=12).map(b"".join)


@st.composite
def cuts(draw: st.DrawFn, version: int) -> list[bytes]:
    """A stream in pieces."""
    data = draw(streams(version))
    chunks = []
    while data:
        size = draw(st.one_of(st.just(1), st.integers(1, 64), st.just(len(data))))
        chunks.append(data[:size])
        data = data[size:]
    return chunks


class Bystanders:
    """Two clients that exchange messages all the time."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.receiver = net.connect("bystander", 4)
        self.receiver.subscribe("by/stander")
        self.sender = net.connect("other bystander", 5)

    def check(self) -> None:
        for qos in (0, 1, 2):
            self.sender.publish("by/stander", b"%d" % qos, qos)
            # A stranger may have found the same topic; ours must be there.
            got = [publish for publish in self.receiver.publishes() if publish.payload == b"%d" % qos]
            assert got
            self.receiver.acknowledge(*got)
        assert not self.receiver.closed
        assert not self.sender.closed


def bombard(net: Network, client: Client, chunks: list[bytes]) -> None:
    for chunk in chunks:
        client.send(chunk)
        assert client.connection.waiting_bytes() <= max(net.core.options.max_packet_size, 1 << 20)
        assert not client.closed or not client.connection.waiting_bytes()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
@few
@given(data=st.data())
def test_a_client_that_sends_anything(way: str, version: int, data: st.DataObject) -> None:
    net = Network(way, tight())
    bystanders = Bystanders(net)
    client = net.connect("c", version, clean=data.draw(st.booleans()))
    bombard(net, client, data.draw(cuts(version)))
    bystanders.check()
    if not client.closed:
        client.drop()
    net.advance(100_000_000_000)  # whatever it has asked for expires
    bystanders.check()
    clean = net.connect("c", 4)  # and what never expires ends with this
    clean.disconnect()
    assert set(net.core.sessions) == {"bystander", "other bystander"}
    assert len(net.core.connections) == 2
    assert not net.core.groups
    assert net.core.router.route(b"any/topic").is_empty


@pytest.mark.parametrize("version", VERSIONS)
@few
@given(data=st.data())
def test_a_stranger_that_sends_anything(version: int, data: st.DataObject) -> None:
    net = Network("fast", tight())
    bystanders = Bystanders(net)
    stranger = net.open(version)
    bombard(net, stranger, data.draw(cuts(version)))
    bystanders.check()
    net.advance(11)  # the connect timeout
    if stranger.connection.client_id == "":
        assert stranger.closed
    bystanders.check()


def by_type(data: bytes) -> dict[int, list[bytes]]:
    """Whole packets by their type, each kind in its order: a client must not mind more than that."""
    found: dict[int, list[bytes]] = {}
    pos = 0
    while pos < len(data):
        end = packet_end(data, pos)
        found.setdefault(data[pos] >> 4, []).append(data[pos:end])
        pos = end
    return found


@pytest.mark.parametrize("version", VERSIONS)
@few
@given(data=st.data())
def test_neither_cuts_nor_lanes_change_the_answer(version: int, data: st.DataObject) -> None:
    chunks = data.draw(cuts(version))
    answers = []
    for way, parts in (("fast", chunks), ("fast", [b"".join(chunks)]), ("slow", chunks)):
        net = Network(way, tight())
        watch = net.connect("watch", 4)
        watch.subscribe("#")
        client = net.connect("c", version)
        client.subscribe("#", "+")
        for qos in (1, 2, 2):  # so that acknowledgements mean something
            watch.publish("t", b"x", qos)
        for part in parts:
            client.send(part)
        answers.append((client.closed, by_type(client.heard), by_type(watch.heard)))
    assert answers[0] == answers[1] == answers[2]


@few
@given(st.binary(max_size=300))
def test_a_connect_with_anything_in_it(body: bytes) -> None:
    net = Network("fast", tight())
    for version in VERSIONS:
        client = net.open(version)
        head = encode(Connect(version, ""), version)[2:]
        client.send(b"\x10\xac\x02" + (head[:8] + body).ljust(300, b"\x00")[:300])
        client.send(encode(Publish("t", b"x"), version), DISCONNECT)
        assert client.closed
    assert not net.core.connections
