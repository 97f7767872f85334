"""What a subscriber makes of any mixture of streams, faults and cuts, against a list of what was done."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec.decode import decode
from curier.codec.packets import Packet, Puback, Pubcomp, Pubrec
from curier.codec.primitives import packet_end
from curier.loadgen.ledger import Ledger
from curier.loadgen.loop import Loop
from curier.loadgen.plan import Plan
from curier.loadgen.publisher import Publisher
from curier.loadgen.subscriber import Subscriber, Track


class Stage:
    """Publishers that are not connected, and a subscriber that is told of them."""

    def __init__(
        self, loop: Loop, streams: int, qos: int, version: int, learns: bool = False, **values: int
    ) -> None:
        plan = Plan("sub" if learns else "fanin", qos=qos, version=version, publishers=streams, run=1)
        plan = replace(plan, **values)  # type: ignore[arg-type]
        self.version = version
        self.subscriber = Subscriber(plan, loop, 0, set())
        self.publishers = [Publisher(plan, loop, number, set()) for number in range(streams)]
        self.ledgers = [Ledger() for _ in self.publishers]
        if not learns:
            for publisher, ledger in zip(self.publishers, self.ledgers, strict=True):
                self.subscriber.expect(publisher, ledger)

    def packets(self, stream: int, count: int, sent_at: int) -> list[bytes]:
        publisher = self.publishers[stream]
        publisher.publish(count, sent_at)
        data = b"".join(publisher.out)
        publisher.out.clear()
        return split(data)

    def feed(self, data: bytes, cuts: list[int]) -> list[Packet]:
        """Let it have the data in pieces; its answers."""
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for start, stop in pairwise(edges):
            self.subscriber.receive(data[start:stop])
        answers = b"".join(self.subscriber.out)
        return [decode(piece, 0, len(piece), self.version) for piece in split(answers)]


def split(data: bytes) -> list[bytes]:
    found = []
    pos = 0
    while pos < len(data):
        stop = packet_end(data, pos)
        found.append(data[pos:stop])
        pos = stop
    return found


FAULTS = ("lose", "double", "late", "damage")


@given(
    batches=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), max_size=12),
    faults=st.dictionaries(st.integers(0, 300), st.sampled_from(FAULTS), max_size=6),
    cuts=st.lists(st.integers(0, 100_000), max_size=8),
    qos=st.integers(0, 2),
    version=st.sampled_from([4, 5]),
    topics=st.sampled_from([1, 3]),
    spread=st.sampled_from([0, 100]),
    seed=st.integers(0, 2**32),
)
def test_every_fault_is_found(
    batches: list[tuple[int, int]],
    faults: dict[int, str],
    cuts: list[int],
    qos: int,
    version: int,
    topics: int,
    spread: int,
    seed: int,
) -> None:
    chance = random.Random(seed)
    with Loop() as loop:
        stage = Stage(loop, 4, qos, version, topics=topics, spread=spread)
        sent: list[tuple[int, bytes]] = []
        for number, (stream, count) in enumerate(batches):
            sent += [(stream, packet) for packet in stage.packets(stream, count, number)]
        expected = {"lose": 0, "double": 0, "late": 0, "damage": 0}
        came: list[bytes] = []
        last = [max((i for i, (s, _) in enumerate(sent) if s == stream), default=-1) for stream in range(4)]
        late: dict[int, bytes] = {}  # by stream
        for index, (stream, packet) in enumerate(sent):
            fault = faults.get(index, "")
            if fault == "late" and (index == last[stream] or stream in late):
                fault = ""  # nothing comes before it
            if fault:
                expected[fault] += 1
            if fault == "damage":
                damaged = bytearray(packet)
                damaged[-chance.randint(1, 64)] ^= chance.randint(1, 255)
                packet = bytes(damaged)
            if fault == "late":
                late[stream] = packet
            elif fault != "lose":
                came += [packet] * (2 if fault == "double" else 1)
                if faults.get(index, "") not in ("damage",) and stream in late:
                    came.append(late.pop(stream))
        for packet in late.values():  # all that came after it was lost or damaged: it is not late
            came.append(packet)
            expected["late"] -= 1
        answers = stage.feed(b"".join(came), cuts)
    totals = {"lost": 0, "doubled": 0, "reordered": 0, "received": 0}
    for publisher, ledger in zip(stage.publishers, stage.ledgers, strict=True):
        ledger.close(publisher.sent)
        assert publisher.accounted <= publisher.sent
        for name in totals:
            totals[name] += getattr(ledger.checks, name)
    corrupted = sum(checks.corrupted for checks in stage.subscriber.corrupted.values())
    assert corrupted == expected["damage"]
    assert totals["lost"] == expected["lose"] + expected["damage"]
    assert totals["doubled"] == expected["double"]
    assert totals["reordered"] == expected["late"]
    assert stage.subscriber.error == ""
    kind = {1: Puback, 2: Pubrec}.get(qos)
    if kind is None:
        assert answers == []
    else:
        ids = [int.from_bytes(packet[packet_at(packet) :][:2], "big") for packet in came]
        assert answers == [kind(packet_id) for packet_id in ids]


def packet_at(packet: bytes) -> int:
    """Where the Packet Identifier is."""
    at = 2 if packet[1] < 128 else 3
    return at + 2 + (packet[at] << 8 | packet[at + 1])


def test_most_of_a_long_run_is_taken_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all would be right, and slow."""
    noted: list[int] = []
    note = Subscriber._note

    def counted(self: Subscriber, track: Track, number: int) -> None:
        noted.append(number)
        note(self, track, number)

    monkeypatch.setattr(Subscriber, "_note", counted)
    with Loop() as loop:
        stage = Stage(loop, 1, 1, 5)
        for now in range(10):
            stage.feed(b"".join(stage.packets(0, 1000, now)), [])
    assert stage.ledgers[0].checks.received == 10_000
    assert len(noted) < 20


def test_pubrel_is_answered() -> None:
    with Loop() as loop:
        stage = Stage(loop, 1, 2, 5)
        plain = b"".join(b"\x62\x02" + number.to_bytes(2, "big") for number in range(1, 301))
        answers = stage.feed(plain + b"\x62\x03\x00\x07\x00", [17, 333])
    assert answers == [Pubcomp(number) for number in [*range(1, 301), 7]]


def test_streams_of_others_are_learnt() -> None:
    with Loop() as loop:
        stage = Stage(loop, 2, 1, 4, learns=True)
        first = stage.packets(0, 100, 1)
        second = stage.packets(1, 100, 1)
        del second[50]
        stage.feed(b"".join(first[20:] + second) + b"\x30\x05\x00\x01xhi", [])
        (one, other) = stage.subscriber.tracks.values()
    for track in (one, other):
        track.ledger.close(None)
    assert (one.ledger.checks.received, one.ledger.checks.lost) == (80, 0)
    assert (other.ledger.checks.received, other.ledger.checks.lost) == (99, 1)
    assert stage.subscriber.foreign == 1
    assert not stage.subscriber.corrupted


@given(
    st.lists(
        st.sampled_from([b"\x30", b"\x32", b"\x34", b"\x40\x02\x00\x01", b"\x62", b"\x90\x03"]) | st.binary()
    ),
    st.sampled_from([4, 5]),
    st.booleans(),
)
def test_any_bytes_end_at_most_the_connection(pieces: list[bytes], version: int, publishes: bool) -> None:
    with Loop() as loop:
        stage = Stage(loop, 1, 1, version)
        client = stage.publishers[0] if publishes else stage.subscriber
        for piece in pieces:
            client.receive(piece)
            if client.error:
                break
