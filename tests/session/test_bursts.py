"""Bursts of an outgoing flow: counted while acknowledgements come in order, ordinary deliveries otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curier.session.message import ApplicationMessage
from curier.session.outgoing import MAXIMUM_PACKET_ID, Burst, Outgoing, OutgoingFlow

NOW = 1000.0
HEAD = b"\x32\x06\x00\x01t"  # and a Packet Identifier, and a payload of one byte
SIZE = len(HEAD) + 3


def flow(quota: int = 100) -> OutgoingFlow:
    made = OutgoingFlow()
    made.open(quota)
    return made


def send(made: OutgoingFlow, payloads: bytes, group: bytes = b"") -> int:
    """Send a burst of one-byte payloads, as far as there is room; how many."""
    room = made.burst_room(len(payloads), 2)
    if room:
        first = made.burst_id()
        frames = b"".join(
            HEAD + int(first + index).to_bytes(2, "big") + payloads[index : index + 1]
            for index in range(room)
        )
        made.add_burst(Burst(b"t", frames, SIZE, SIZE - 1, first, room, group, NOW))
    return room


def inflight(made: OutgoingFlow) -> list[tuple[int, bytes]]:
    made.settle()
    return [(packet_id, entry.message.payload) for packet_id, entry in made.inflight.items()]


def test_acknowledgements_in_order_are_counted() -> None:
    made = flow(10)
    assert send(made, b"abc") == 3
    assert send(made, b"de") == 2
    assert (made.quota, made.inflight_count(), made.expected) == (5, 5, 1)
    made.confirm(2)
    assert (made.quota, made.inflight_count(), made.expected) == (7, 3, 3)
    made.confirm(1)
    assert made.expected == 4
    assert inflight(made) == [(4, b"d"), (5, b"e")]
    assert (made.quota, made.expected) == (8, 0)


def test_what_is_settled_is_as_if_it_had_been_sent_one_by_one() -> None:
    made = flow()
    send(made, b"ab", b"$share/g/t")
    first, second = made.unfinished()
    assert (first.packet_id, first.qos, first.on_wire, first.sent_at) == (1, 1, True, NOW)
    assert (second.message.topic, second.message.payload, second.group) == (b"t", b"b", b"$share/g/t")
    assert made.acknowledged(2) is second
    assert made.acknowledged(1) is first
    assert made.quota == 100


def test_a_puback_out_of_order_is_taken() -> None:
    made = flow()
    send(made, b"abc")
    taken = made.acknowledged(2)
    assert taken is not None
    assert taken.message.payload == b"b"
    assert inflight(made) == [(1, b"a"), (3, b"c")]


def test_a_burst_after_single_messages_and_before_them() -> None:
    made = flow()
    made.start(Outgoing(ApplicationMessage(b"t", b"1", 1, False), 1, False), NOW)
    send(made, b"23")
    made.start(Outgoing(ApplicationMessage(b"t", b"4", 2, False), 2, False), NOW)
    send(made, b"5")
    assert inflight(made) == [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4"), (5, b"5")]


def test_a_puback_of_a_single_message_leaves_the_bursts_behind_it_whole() -> None:
    made = flow()
    made.start(Outgoing(ApplicationMessage(b"t", b"1", 1, False), 1, False), NOW)
    made.start(Outgoing(ApplicationMessage(b"t", b"2", 2, False), 2, False), NOW)
    send(made, b"345")
    assert made.acknowledged(1) is not None
    assert made.received(2, NOW) is not None
    assert made.received(2, NOW) is not None  # a repeated PUBREC
    assert made.acknowledged(2) is None
    assert (made.expected, made.inflight) == (3, {})
    assert made.received(3, NOW) is None  # of QoS 1
    assert inflight(made) == [(3, b"3"), (4, b"4"), (5, b"5")]


def test_the_end_of_the_connection_keeps_what_is_not_acknowledged() -> None:
    made = flow()
    send(made, b"abc")
    made.confirm(1)
    made.close()
    made.open(10)
    assert [entry.message.payload for entry in made.resend] == [b"b", b"c"]
    assert made.burst_room(1, 2) == 0  # they go first


def test_room_ends_with_the_quota_and_with_the_identifiers() -> None:
    made = flow(3)
    assert send(made, b"abcd") == 3
    assert send(made, b"d") == 0
    made = flow(MAXIMUM_PACKET_ID)
    made.last_id = MAXIMUM_PACKET_ID - 2
    assert send(made, b"abcd") == 2  # a burst does not go beyond the last identifier
    assert send(made, b"cd") == 2
    assert [packet_id for packet_id, _ in inflight(made)] == [65534, 65535, 1, 2]


def test_room_ends_with_the_bytes_that_may_be_unacknowledged() -> None:
    made = OutgoingFlow()
    made.open(100, max_sent_bytes=7)  # each of the messages has two
    assert send(made, b"abcdefgh") == 4  # the last one goes over it
    assert (made.sent_bytes, made.has_room()) == (8, False)
    assert send(made, b"e") == 0
    made.confirm(1)
    assert made.has_room()
    assert send(made, b"ef") == 1
    made.settle()
    assert made.acknowledged(3) is not None
    assert made.sent_bytes == 6
    made.close()
    made.open(100, max_sent_bytes=7)
    assert made.sent_bytes == 0


def test_no_identifier_in_use_is_given_again() -> None:
    made = flow(MAXIMUM_PACKET_ID)
    made.start(Outgoing(ApplicationMessage(b"t", b"1", 2, False), 2, False), NOW)
    made.reserve(4)
    made.received(1, NOW)
    made.last_id = MAXIMUM_PACKET_ID
    assert send(made, b"x") == 0  # 1 waits for its PUBCOMP
    made.last_id = 1
    assert send(made, b"abc") == 2
    made = flow(MAXIMUM_PACKET_ID)
    for _ in range(0, MAXIMUM_PACKET_ID, 1000):
        send(made, bytes(1000))
    send(made, bytes(535))
    assert made.inflight_count() == MAXIMUM_PACKET_ID
    made.confirm(10)
    assert made.burst_room(100, 2) == 10
    made.settle()
    assert len(made.inflight) == MAXIMUM_PACKET_ID - 10


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["burst", "single", "ack", "late"]), st.integers(1, 9))),
)
def test_any_order_of_events(quota: int, steps: list[tuple[str, int]]) -> None:
    """A flow with bursts holds what one without them would hold."""
    made, plain = flow(quota), flow(quota)
    made.last_id = plain.last_id = MAXIMUM_PACKET_ID - 10
    number = 0
    for step, count in steps:
        if step in ("burst", "single"):
            sent = send(made, bytes(range(number, number + count))) if step == "burst" else 0
            for index in range(sent or (1 if made.quota else 0)):
                payload = bytes([number + index])
                one = ApplicationMessage(b"t", payload, 1, False)
                plain.start(Outgoing(one, 1, False), NOW)
                if not sent:
                    made.start(Outgoing(one, 1, False), NOW)
            number = (number + 10) % 200
        elif step == "ack" and made.expected:
            count = min(count, made.bursts[made.done].count)
            for packet_id in range(made.expected, made.expected + count):
                assert plain.acknowledged(packet_id) is not None
            made.confirm(count)
        elif step == "late" and plain.inflight:
            packet_id = list(plain.inflight)[count % len(plain.inflight)]
            assert plain.acknowledged(packet_id) is not None
            assert made.acknowledged(packet_id) is not None
        assert made.quota == plain.quota
        assert made.inflight_count() == len(plain.inflight)
        assert made.last_id == plain.last_id
    assert inflight(made) == inflight(plain)
