"""PUBLISH packets of many topics and sizes in a row, which the fast lane takes together, mean what they mean
one by one.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.effects import Commit
from curier.broker.layouts import LONGEST_KNOWN, MOST_KNOWN
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.protocol.connection import CLOSED
from tests.broker.test_lanes import Both, Choices, numbers

PAYLOADS = (b"x", b"", b"y" * 40, b"z" * 90, b"w" * 200, b"v" * 17_000)
TOPICS = ("a", "b/c", "b/d", "b/long/enough/for/eight", "b/long/enough/for/night", "ä/b" * 50)


def messages(choices: Choices, both: Both, position: int, known: set[int]) -> list[p.Packet]:
    """Packets of one QoS and flag, most of them plain; ``known`` are the Topic Aliases that are set."""
    qos = choices.one(1, 1, 1, 0, 2)
    retain = choices.one(False, False, True)
    aliases = both.versions[position] == 5 and choices.one(True, False)
    tells = both.versions[position] == 5 and choices.one(True, False)
    found: list[p.Packet] = []
    for _ in range(12 - choices.below(12)):
        topic = choices.one(*TOPICS)
        payload = choices.one(*PAYLOADS[: choices.one(3, 5, 5, 5, 6)])
        properties = said(choices) if tells else None
        if aliases and choices.below(4):
            properties = properties if properties is not None else Properties()
            alias = properties.topic_alias = TOPICS.index(topic) + 1
            if alias in known or choices.seldom():
                topic = ""
            known.add(alias)
        packet_id = qos and both.next_id(position)
        found.append(p.Publish(topic, payload, qos, False, retain, packet_id, properties))
    return found


def said(choices: Choices) -> Properties | None:
    """Properties that fleets send, of few kinds; or none."""
    if choices.below(3) == 2:
        return None
    properties = Properties()
    properties.message_expiry_interval = choices.one(None, 60, 0)
    properties.user_properties = choices.one([("kind", "x")], [], [("a", "b"), ("a", "c")])
    properties.content_type = choices.one(None, "text", "t" * 110, "t" * 125)
    return properties


def start(settings: Choices, stores: bool) -> Both:
    """A publisher, who may hear itself, and two subscribers; with ``stores``, whose sessions are on disk."""
    options = Options()
    options.sys_interval = 0.0
    options.max_inflight = settings.one(1000, 1000, 1000, 6)
    options.max_inflight_bytes = settings.one(1 << 20, 1 << 20, 1 << 20, 300)
    options.route_cache_size = settings.one(1 << 20, 0)
    options.topic_alias_maximum = settings.one(8, 8, 8, 3)
    options.max_retained_messages = settings.one(1000, 1000, 2)
    both = Both(options, settings.seldom(), stores)
    both.now = 1.0  # at 0, what expires at once would never
    both.fast.delay = both.slow.delay = settings.below(3) if stores else 0
    most = settings.one(4, 5)
    for index in range(3):
        version = settings.one(most, most, most, most, 9 - most)
        lasts = settings.one(stores, stores, True, False)
        properties = Properties() if version == 5 else None
        if properties is not None:
            properties.session_expiry_interval = 1000 if lasts else None
            properties.topic_alias_maximum = settings.one(None, None, 3)
            properties.maximum_packet_size = settings.one(None, None, None, 100)
        both.connect(index, version, lasts, properties)
        both.near_the_last_identifier(index, settings.one(5, 0, 20))
        if index or settings.seldom():
            topic_filter = settings.one("#", "#", "#", "b/#", "b/+")
            asked = Properties() if version == 5 and settings.one(False, True) else None
            if asked is not None:
                asked.subscription_identifiers = [settings.one(7, 300, 3_000_000)]
            both.receive(
                index,
                encode(
                    p.Subscribe(
                        90,
                        [
                            (
                                topic_filter,
                                settings.one(1, 1, 1, 2, 0)
                                | (settings.one(0, 0, 8, 4) if version == 5 else 0),
                            )
                        ],
                        asked,
                    ),
                    version,
                ),
            )
            if asked is not None and settings.one(True, False):  # overlaps, in part
                asked.subscription_identifiers = [settings.one(8, 301)]
                both.receive(index, encode(p.Subscribe(91, [("b/d", settings.one(1, 5))], asked), version))
    return both


@given(numbers, st.lists(numbers, min_size=1, max_size=12))
def test_trains_mean_what_their_packets_mean(settings: int, steps: list[int]) -> None:
    drive(start(Choices(settings), False), steps)


@given(numbers, st.lists(numbers, min_size=1, max_size=12))
def test_trains_to_sessions_on_disk_mean_what_their_packets_mean(settings: int, steps: list[int]) -> None:
    """With the same records, in the same order."""
    drive(start(Choices(settings), True), steps)


def drive(both: Both, steps: list[int]) -> None:
    """Have one publish and others acknowledge."""
    known: set[int] = set()
    for number in steps:
        choices = Choices(number)
        parts = [encode(one, both.versions[0]) for one in messages(choices, both, 0, known)]
        if both.fast.connections[0].state == CLOSED:
            break
        both.receive(0, b"".join(parts))
        for index in (1, 2):
            owed = both.owed[index]
            count = choices.one(len(owed), len(owed) // 2, 1, 0)
            if choices.seldom():
                owed.reverse()
            both.receive(index, b"".join(encode(one, both.versions[index]) for one in owed[:count]))
            del owed[:count]
        if choices.below(9) == 8:
            both.connect(1, both.versions[1], True, None)
            break
    both.compare()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("retain", [False, True])
def test_a_train_on_disk_is_acknowledged_when_it_is_there(version: int, retain: bool) -> None:
    """Its acknowledgements are one piece, which waits for the batch with the records of all."""
    both = Both(Options(), False, True)
    both.connect(0, version, False, None)
    properties = Properties()
    properties.session_expiry_interval = None if retain else 1000
    both.connect(1, version, not retain, properties)
    both.receive(1, encode(p.Subscribe(1, [("#", 1)]), version))
    core = both.fast.core
    assert core.journal is not None
    publisher, subscriber = both.fast.connections
    packets = [p.Publish(topic, b"x", 1, False, retain, 1 + n) for n, topic in enumerate(TOPICS)]
    core.receive(publisher, b"".join(encode(packet, version) for packet in packets), 0.0)
    assert len(subscriber.output) == 1
    assert not publisher.output
    assert [(one.batch, one.credit) for one in publisher.held] == [(core.journal.number, len(TOPICS))]
    assert publisher.held_count == len(TOPICS)
    quota = publisher.receive_quota
    (commit,) = core.take_effects()
    assert isinstance(commit, Commit)
    kinds = [type(record).__name__ for record in commit.batch.records]
    assert kinds == ["MessageSaved", *(["Retained"] if retain else ["Queued", "Sent"])] * len(TOPICS)
    core.committed(commit.batch.number, 0.0)
    answers = b"".join(encode(p.Puback(1 + n), version) for n in range(len(TOPICS)))
    assert publisher.output == [answers]
    assert publisher.receive_quota == quota + len(TOPICS)
    assert publisher.held_count == 0


def test_what_has_no_record_does_not_wait_for_what_has() -> None:
    """A message without payload removes nothing where nothing is retained."""
    both = Both(Options(), False, True)
    both.fast.delay = both.slow.delay = 1
    both.connect(0, 4, False, None)
    packets = [p.Publish("a", b"", 1, False, True, 1), p.Publish("b", b"x", 1, False, True, 2)]
    packets.append(p.Publish("c", b"", 1, False, True, 3))  # behind one that waits
    both.receive(0, b"".join(encode(packet, 4) for packet in packets))
    assert both.fast.output[0].endswith(encode(p.Puback(1), 4))
    both.compare()
    assert both.fast.output[0].endswith(b"".join(encode(p.Puback(number), 4) for number in (1, 2, 3)))


def test_thousands_of_acknowledgements_to_record_take_turns() -> None:
    both = Both(Options(), False, True)
    both.connect(0, 4, False, None)
    both.connect(1, 4, True, None)
    both.receive(1, encode(p.Subscribe(1, [("#", 1)]), 4))
    for first in (1, 1001, 2001):
        packets = [p.Publish("a", b"x", 1, False, False, first + number) for number in range(1000)]
        both.receive(0, b"".join(encode(packet, 4) for packet in packets))
    core = both.fast.core
    subscriber = both.fast.connections[1]
    answers = b"".join(encode(packet, 4) for packet in both.owed[1])
    core.receive(subscriber, answers, 0.0)
    assert subscriber.is_resting
    assert 1000 < 3000 - core.sessions["c1"].outgoing.inflight_count() < 2100
    both.fast.turn(0.0)
    assert not core.sessions["c1"].outgoing.inflight_count()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_train_is_one_piece_of_output(version: int, qos: int) -> None:
    """And its acknowledgements are another, whatever the topics and sizes."""
    both = Both(Options(), False)
    both.connect(0, version, False, None)
    both.connect(1, version, False, None)
    both.receive(1, encode(p.Subscribe(1, [("#", 1)]), version))
    core = both.fast.core
    publisher, subscriber = both.fast.connections
    packets = [p.Publish(topic, b"x" * 9 * len(topic), qos, False, False, qos) for topic in TOPICS]
    core.receive(publisher, b"".join(encode(packet, version) for packet in packets), 0.0)
    assert len(subscriber.output) == 1
    assert len(publisher.output) == qos
    session = core.sessions["c1"]
    assert [burst.count for burst in session.outgoing.bursts] == [len(TOPICS)] * qos


@pytest.mark.parametrize("qos", [0, 1])
def test_what_messages_say_goes_on_as_it_came(qos: int) -> None:
    """User Properties, and an expiry of which nothing has passed, are in a train; 3.1.1 gets none of it."""
    both = Both(Options(), False)
    both.now = 1.0
    both.connect(0, 5, False, None)
    for index, version in ((1, 5), (2, 4)):
        both.connect(index, version, False, None)
        both.receive(index, encode(p.Subscribe(1, [("#", qos)]), version))
    properties = Properties()
    properties.message_expiry_interval = 60
    properties.user_properties = [("kind", "state")]
    said = [None if number % 2 else properties for number in range(len(TOPICS))]
    packets = [
        encode(p.Publish(topic, b"x", qos, False, False, qos and 1 + number, said[number]), 5)
        for number, topic in enumerate(TOPICS)
    ]
    core = both.fast.core
    publisher, new, old = both.fast.connections
    core.receive(publisher, b"".join(packets), 1.0)
    assert new.output == [b"".join(packets)]
    assert len(old.output) == 1
    assert len(core.layouts.known) == 1
    outgoing = core.sessions["c2"].outgoing
    assert [burst.count for burst in outgoing.bursts] == [len(TOPICS)] * qos
    outgoing.settle()
    expiries = [entry.message.expires_at for entry in outgoing.inflight.values()]
    assert expiries == ([61.0 if one is not None else 0.0 for one in said] if qos else [])


def test_what_is_known_of_properties_is_bounded() -> None:
    both = Both(Options(), False)
    both.connect(0, 5, False, None)
    core = both.fast.core
    for number in range(3 * MOST_KNOWN):
        properties = Properties()
        properties.user_properties = [("number", str(number))]
        both.receive(0, encode(p.Publish("a", b"x", 0, False, False, 0, properties), 5))
        assert len(core.layouts.known) <= MOST_KNOWN
    assert core.layouts.known
    assert all(len(block) <= 1 + LONGEST_KNOWN for block in core.layouts.known)


WRONG = {
    "unknown alias": b"\x32\x08\0\0\0\x03\x03\x23\0\x07",
    "large alias": b"\x32\x09\0\1a\0\x03\x03\x23\0\x09",
    "alias 0": b"\x32\x09\0\1a\0\x03\x03\x23\0\0",
    "wildcard": b"\x32\x06\0\1#\0\x03\0",
    "identifier 0": b"\x32\x06\0\1a\0\0\0",
    "cut short": b"\x32\x04\0\1a\0",
    "topic too long": b"\x32\x06\0\x09a\0\x03\0",
    "Property Length too large": b"\x32\x06\0\1a\0\x03\x03",
}


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_ends_a_train(name: str, retain: bool) -> None:
    options = Options()
    options.topic_alias_maximum = 8
    both = Both(options, False)
    both.connect(0, 5, False, None)
    both.connect(1, 5, False, None)
    both.receive(1, encode(p.Subscribe(1, [("#", 1)]), 5))
    properties = Properties()
    properties.topic_alias = 2
    good = [p.Publish("a", b"1", 1, False, retain, 1, properties), p.Publish("b", b"2", 1, False, retain, 2)]
    parts = [encode(packet, 5) for packet in good]
    bad = bytearray(WRONG[name])
    bad[0] |= retain
    both.receive(0, b"".join([*parts, bad, *parts]))
    assert both.fast.connections[0].state == CLOSED
    assert len(both.owed[1]) == 2
    both.compare()
