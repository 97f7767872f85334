"""Events become flows: joined by number or by content, bounded, and honest about what they wait for."""

from __future__ import annotations

import pytest

from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Subscribe
from curier.codec.packets import Packet as ControlPacket
from curier.codec.properties import Properties
from curier.testing import Pair
from curier.trace.events import (
    DENIED,
    DROPPED,
    NOBODY,
    NOT_FOR,
    NOT_MQTT,
    PUBLISHED,
    QUEUED,
    SESSION_ENDED,
    Closed,
    Event,
    Happening,
    Missed,
    Opened,
    Packet,
    Wire,
)
from curier.trace.fate import fate_words
from curier.trace.flows import DONE, LOST, PASSED_OVER, ConnectionLife, Leg, Publication, SubscriptionFlow
from curier.trace.joining import Joiner
from tests.trace.seen import Seen

ANA, BOB, CARL = (Wire(number, name, 5) for number, name in enumerate(("ana", "bob", "carl"), 1))


class Tape:
    """Events, a millisecond apart."""

    def __init__(self) -> None:
        self.joiner = Joiner()
        self.now = 1_700_000_000.0

    def feed(self, event: Event) -> None:
        self.joiner.feed(event)

    def went(self, wire: Wire, packet: ControlPacket, publication: int = 0, lost: bool = False) -> None:
        self._packet(wire, packet, True, publication, lost)

    def came(self, wire: Wire, packet: ControlPacket, publication: int = 0, lost: bool = False) -> None:
        self._packet(wire, packet, False, publication, lost)

    def _packet(self, wire: Wire, packet: ControlPacket, to_server: bool, number: int, lost: bool) -> None:
        self.now += 0.001
        data = encode(packet, wire.version or MQTT_50)
        self.feed(Packet(self.now, wire, to_server, data, number, 0, lost))

    def happened(
        self, kind: str, client_id: str, why: str = "", publication: int = 0, topic: str = ""
    ) -> None:
        self.now += 0.001
        self.feed(Happening(self.now, kind, client_id, why, publication, topic))

    @property
    def only(self) -> Publication:
        (found,) = self.joiner.publications
        return found

    def waits(self) -> list[tuple[str, str]]:
        return [(wait.whom, wait.what) for flow in self.joiner.publications for wait in flow.waits()]


@pytest.fixture
def tape() -> Tape:
    return Tape()


def states(flow: Publication) -> dict[str, str]:
    return {leg.client_id: leg.state for leg in flow.deliveries}


# ---- by what it is joined ----


def test_a_delivery_belongs_to_the_publication_whose_number_it_has(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x"), 7)
    tape.went(ANA, Publish("t", b"x"), 8)
    tape.came(BOB, Publish("mounted/elsewhere", b"x"), 8)
    first, second = tape.joiner.publications
    assert not first.deliveries
    assert states(second) == {"bob": DONE}


def test_a_number_that_is_only_told_behind_the_publish(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x", 1, packet_id=1))
    tape.happened(PUBLISHED, "ana", "", 9, "t")
    tape.came(BOB, Publish("t", b"x"), 9)
    assert states(tape.only) == {"bob": DONE}


def test_without_numbers_equal_publications_go_to_a_subscriber_in_their_order(tape: Tape) -> None:
    tape.went(BOB, Subscribe(1, [("t", 0)]))
    tape.came(BOB, Suback(1, [0]))
    for _ in range(2):
        tape.went(ANA, Publish("t", b"x"))
    for _ in range(2):
        tape.came(BOB, Publish("t", b"x"))
    assert [states(flow) for flow in tape.joiner.publications] == [{"bob": DONE}, {"bob": DONE}]


def test_what_was_published_before_a_subscription_is_not_what_it_brings(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"ON"))
    tape.went(BOB, Subscribe(1, [("t", 0)]))
    tape.came(BOB, Suback(1, [0]))
    tape.went(ANA, Publish("t", b"ON"))
    tape.came(BOB, Publish("t", b"ON"))
    before, behind = tape.joiner.publications
    assert (states(before), states(behind)) == ({}, {"bob": DONE})


def test_another_payload_or_topic_or_time_is_another_publication(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x"))
    tape.came(BOB, Publish("t", b"y"))
    tape.came(BOB, Publish("u", b"x"))
    tape.now += 3600
    tape.came(BOB, Publish("t", b"x"))
    assert [len(flow.deliveries) for flow in tape.joiner.publications] == [0, 1, 1, 1]


def test_a_topic_alias_stands_for_its_topic_in_its_direction(tape: Tape) -> None:
    alias = Properties()
    alias.topic_alias = 3
    tape.went(ANA, Publish("t", b"1", properties=alias))
    tape.went(ANA, Publish("", b"2", properties=alias))
    tape.came(ANA, Publish("", b"3", properties=alias))
    assert [flow.topic for flow in tape.joiner.publications] == ["t", "t", ""]


def test_a_payload_that_was_cut_is_joined_by_what_is_left_and_its_size(tape: Tape) -> None:
    for wire, to_server, keep in ((ANA, True, 20), (BOB, False, 30)):
        data = encode(Publish("t", bytes(range(100))), 5)
        tape.feed(Packet(tape.now, wire, to_server, data[:keep], 0, len(data) - keep))
    assert states(tape.only) == {"bob": DONE}
    assert tape.only.payload_size == 100


def test_a_connection_joined_in_its_middle_has_its_version_guessed(tape: Tape) -> None:
    unknown = Wire(9, "", 0)
    tape.feed(Packet(1.0, unknown, True, encode(Publish("t", b"old", 1, packet_id=1), 4)))
    assert tape.only.topic == "t"
    assert tape.only.payload == b"old"
    assert tape.only.publisher == "connection 9"


def test_what_cannot_be_decoded_is_a_step_of_its_connection_with_the_reason(tape: Tape) -> None:
    tape.feed(Packet(1.0, ANA, True, b"\x30\x02\x00\x05"))
    (life,) = tape.joiner.flows
    assert "Topic Name" in life.steps[0].note
    assert life.steps[0].trouble


# ---- waits ----


def test_an_unfinished_flow_says_what_it_waits_for_at_each_step(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x", 2, packet_id=5))
    assert tape.waits() == [("broker", "PUBREC #5")]
    tape.came(ANA, Pubrec(5))
    assert tape.waits() == [("ana", "PUBREL #5")]
    tape.went(ANA, Pubrel(5))
    assert tape.waits() == [("broker", "PUBCOMP #5")]
    tape.came(BOB, Publish("t", b"x", 1, packet_id=4))
    tape.came(ANA, Pubcomp(5))
    assert tape.waits() == [("bob", "PUBACK #4")]
    assert not tape.only.is_finished
    tape.went(BOB, Puback(4))
    assert tape.waits() == []
    assert tape.only.is_finished


def test_an_acknowledgement_that_is_lost_is_waited_for_still(tape: Tape) -> None:
    tape.came(BOB, Publish("t", b"x", 1, packet_id=4))
    tape.went(BOB, Puback(4), lost=True)
    assert tape.waits() == [("bob", "PUBACK #4")]
    tape.came(BOB, Publish("t", b"x", 1, dup=True, packet_id=4))
    tape.went(BOB, Puback(4))
    (leg,) = tape.only.deliveries
    assert (leg.state, leg.sends) == (DONE, 2)


def test_a_resend_after_the_acknowledgement_goes_on_with_the_same_delivery(tape: Tape) -> None:
    tape.came(BOB, Publish("t", b"x", 1, packet_id=4))
    tape.went(BOB, Puback(4))
    tape.came(BOB, Publish("t", b"x", 1, dup=True, packet_id=4))
    assert tape.waits() == [("bob", "PUBACK #4")]
    assert [leg.sends for leg in tape.only.deliveries] == [2]


def test_a_refusal_ends_a_leg_with_its_reason(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x", 2, packet_id=5))
    tape.came(ANA, Pubrec(5, 0x97))
    assert tape.only.is_finished
    assert tape.only.incoming is not None
    assert tape.only.incoming.why == "0x97 (Quota exceeded)"


def test_a_client_that_is_away_with_its_session_is_waited_for(tape: Tape) -> None:
    properties = Properties()
    properties.session_expiry_interval = 60
    tape.went(BOB, Connect(5, "bob", properties=properties))
    tape.came(BOB, Connack(False, 0))
    tape.came(BOB, Publish("t", b"x", 1, packet_id=4))
    tape.feed(Closed(tape.now, BOB, "network", "reset"))
    assert tape.waits() == [("bob", "its return, then PUBACK #4")]
    again = Wire(20, "bob", 5)
    tape.went(again, Connect(5, "bob", clean_start=False, properties=properties))
    tape.came(again, Connack(True, 0))
    tape.came(again, Publish("t", b"x", 1, dup=True, packet_id=4))
    tape.went(again, Puback(4))
    assert tape.only.is_finished


@pytest.mark.parametrize("ending", ["closed", "anew", "told"])
def test_the_end_of_a_session_ends_what_was_on_its_way(tape: Tape, ending: str) -> None:
    tape.went(BOB, Connect(5, "bob"))
    tape.came(BOB, Connack(False, 0))
    tape.came(BOB, Publish("t", b"x", 1, packet_id=4))
    if ending == "closed":
        tape.feed(Closed(tape.now, BOB, "client", ""))
    elif ending == "anew":
        tape.came(Wire(20, "bob", 5), Connack(False, 0))
    else:
        tape.happened(SESSION_ENDED, "bob")
    (leg,) = tape.only.deliveries
    assert leg.state == LOST
    assert "PUBACK #4" in leg.why
    assert tape.only.is_finished


# ---- what the broker says ----


def test_who_did_not_get_it_and_why(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x"), 3)
    tape.happened(QUEUED, "bob", "away since 11:58", 3)
    tape.happened(DROPPED, "carl", "its queue is full (1000)", 3)
    tape.happened(NOT_FOR, "ana", "No Local", 3)
    tape.happened(DENIED, "dora", "rules.toml, line 7", 3)
    assert states(tape.only) == {"bob": "queued", "carl": LOST, "ana": PASSED_OVER, "dora": LOST}
    assert tape.waits() == [("bob", "away since 11:58")]
    words = "\n".join(fate_words(tape.only, utc=True))
    assert "carl: did not get it: its queue is full (1000)" in words
    assert "dora: did not get it: rules.toml, line 7" in words
    assert "ana: was not to get it: No Local" in words
    assert "bob: waits since 22:13:20.002: away since 11:58" in words


def test_what_waited_and_is_sent_then_is_one_delivery(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x", 1, packet_id=1), 3)
    tape.happened(QUEUED, "bob", "away", 3)
    tape.came(BOB, Publish("t", b"x", 1, packet_id=1), 3)
    tape.went(BOB, Puback(1), 3)
    assert states(tape.only) == {"bob": DONE}


def test_nobody_wanted_it(tape: Tape) -> None:
    tape.went(ANA, Publish("t", b"x"), 3)
    tape.happened(NOBODY, "", "", 3)
    assert fate_words(tape.only)[-1] == "nobody got it: no subscription matches its topic"


def test_a_will_has_no_packet(tape: Tape) -> None:
    tape.happened(PUBLISHED, "ana", "will", 3, "ana/gone")
    tape.came(BOB, Publish("ana/gone", b""), 3)
    assert (tape.only.publisher, tape.only.topic, states(tape.only)) == ("ana", "ana/gone", {"bob": DONE})


# ---- connections and subscriptions ----


def test_the_life_of_a_connection(tape: Tape) -> None:
    tape.feed(Opened(tape.now, Wire(4, "", 0, client_address="127.0.0.1:9")))
    tape.went(Wire(4, "", 0), Connect(4, "dora", keep_alive=30))
    tape.came(Wire(4, "dora", 4), Connack(False, 0))
    again = Wire(5, "", 0)
    tape.went(again, Connect(4, "dora"))
    tape.feed(Closed(tape.now, Wire(4, "dora", 4), "server", "taken over"))
    first, second = (flow for flow in tape.joiner.flows if isinstance(flow, ConnectionLife))
    assert (first.client_id, first.version, first.keep_alive) == ("dora", 4, 30)
    assert (first.taken_over_by, first.ended_by, first.is_open) == (5, "server", False)
    assert [wait.what for wait in second.waits()] == ["CONNACK"]


def test_a_subscription_and_the_retained_messages_it_brought() -> None:
    pair = Pair()
    ana, bob = pair.connect("ana"), pair.connect("bob")
    for topic in ("s/1", "s/2", "other"):
        ana.publish(topic, b"kept", qos=1, retain=True)
    seen = Seen(pair)
    bob.subscribe("s/+", qos=1)
    ana.publish("s/3", b"new", qos=1)
    pair.run(1)
    flows = seen.joined().flows
    (subscription,) = (flow for flow in flows if isinstance(flow, SubscriptionFlow))
    assert (subscription.retained, subscription.reason_codes) == (2, [1])
    assert [(f.topic, f.origin) for f in flows if isinstance(f, Publication)] == [
        ("s/1", "retained"),
        ("s/2", "retained"),
        ("s/3", ""),
    ]


def test_no_mqtt_is_told_in_the_life_of_the_connection(tape: Tape) -> None:
    tape.feed(Happening(1.0, NOT_MQTT, "", "GET / HTTP/1.1", wire=ANA))
    (life,) = tape.joiner.flows
    assert life.steps[0].note == "GET / HTTP/1.1"


def test_events_that_are_missing_are_counted(tape: Tape) -> None:
    tape.feed(Missed(1.0, 12))
    assert tape.joiner.missed == 12


# ---- bounds: one connection that is open for a day ----


def test_finished_exchanges_of_an_open_connection_are_let_go_of() -> None:
    tape = Tape()
    tape.joiner = Joiner(most_flows=50)
    tape.went(ANA, Publish("stays", b"", 1, packet_id=60_000))
    for number in range(1000):
        tape.went(ANA, Publish("t", b"x" * number, 1, packet_id=number % 100 + 1))
        tape.came(ANA, Puback(number % 100 + 1))
    joiner = tape.joiner
    assert len(joiner.publications) == 50
    assert joiner.dropped == 951
    assert joiner.publications[0].topic == "stays"  # unfinished ones go last
    assert len(joiner.legs["ana"]) == 50
    assert len(joiner.flows) == 51


def test_bytes_are_bounded_as_well_and_counted_rightly() -> None:
    tape = Tape()
    tape.joiner = Joiner(most_bytes=200_000)
    for number in range(300):
        tape.went(ANA, Publish("t", b"x" * 100_000, 2, packet_id=number + 1))
        tape.came(ANA, Pubrec(number + 1))
    joiner = tape.joiner
    assert joiner.bytes <= 200_000
    assert joiner.bytes == sum(flow.cost for flow in joiner.publications)
    assert all(len(flow.payload) <= 1024 for flow in joiner.publications)


def test_a_flow_without_end_keeps_its_beginning_and_its_end() -> None:
    tape = Tape()
    for number in range(3000):
        tape.came(BOB, Publish("t", b"", 1, dup=number > 0, packet_id=1))
    steps = tape.only.steps
    assert (len(steps), tape.only.left_out) == (2000, 1000)
    assert steps[-1].time == tape.now


def test_what_has_finished_is_told_once() -> None:
    tape = Tape()
    tape.went(ANA, Publish("t", b"x", 1, packet_id=1))
    assert tape.joiner.settled(tape.now + 5) == []
    tape.came(ANA, Puback(1))
    assert tape.joiner.settled() == []  # another delivery may follow
    assert tape.joiner.settled(tape.now + 5) == [tape.only]
    assert tape.joiner.finish() == []


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    tape = Tape()
    tape.went(ANA, Publish("t", b"x"))
    tape.now -= 3600
    tape.went(ANA, Publish("t", b"y"))
    assert len(tape.joiner.settled(tape.now + 5)) == 2


def test_a_leg_is_small() -> None:
    assert not hasattr(Leg("ana", True, 0.0), "__dict__")
