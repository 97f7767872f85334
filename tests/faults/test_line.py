"""Rules at work on one connection: what goes on, when, and what is told."""

from __future__ import annotations

import pytest

from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Pubrel,
    Suback,
    Subscribe,
    Unsubscribe,
)
from curier.codec.properties import Properties
from curier.faults.line import CUT, END, SEND, Faults, Line, Order
from curier.trace.events import FAULT, Happening, Wire
from curier.trace.events import Packet as Seen

PING = encode(Pingreq(), 5)


class Driver:
    """One line of a client, and the time."""

    def __init__(self, faults: Faults, client_id: str = "me", version: int = 5) -> None:
        self.now = 100.0
        self.version = version
        faults.clock = lambda: self.now
        self.line = Line(faults, Wire(1, "", 0), self.now)
        self.send(True, Connect(version, client_id))
        self.send(False, Connack(False))
        self.line.take_orders()
        self.events = self.line.take_events()

    def send(self, to_server: bool, packet: Packet) -> list[Order]:
        return self.pass_on(to_server, encode(packet, self.version))

    def pass_on(self, to_server: bool, data: bytes) -> list[Order]:
        self.line.packet(to_server, data, self.now)
        return self.orders()

    def wait(self, seconds: float) -> list[Order]:
        until = self.now + seconds
        while (due := self.line.next_deadline()) <= until:
            self.now = due
            self.line.deadline_reached(due)
        self.now = until
        return self.orders()

    def orders(self) -> list[Order]:
        self.events = self.line.take_events()
        return self.line.take_orders()

    def told(self) -> list[str]:
        """What was said of faults, with the last call."""
        return [event.why for event in self.events if isinstance(event, Happening)]


def to_server(packet: Packet, version: int = 5) -> Order:
    return Order(SEND, True, encode(packet, version))


def to_client(packet: Packet, version: int = 5) -> Order:
    return Order(SEND, False, encode(packet, version))


def test_without_rules_every_packet_goes_on_at_once_and_is_an_event() -> None:
    driver = Driver(Faults())
    assert driver.send(True, Publish("a", b"x")) == [to_server(Publish("a", b"x"))]
    assert driver.events == [Seen(100.0, Wire(1, "me", 5), True, encode(Publish("a", b"x"), 5))]
    assert driver.line.next_deadline() == float("inf")


def test_one_packet_is_lost_which_the_recording_says() -> None:
    faults = Faults("lose 2nd PUBACK to me")
    driver = Driver(faults)
    assert driver.send(True, Puback(1)) == [to_server(Puback(1))]  # the other direction does not count
    assert driver.send(False, Puback(1)) == [to_client(Puback(1))]
    assert driver.send(False, Puback(2)) == []
    seen, happening = driver.events
    assert isinstance(seen, Seen)
    assert seen.lost
    assert isinstance(happening, Happening)
    assert (happening.kind, happening.client_id) == (FAULT, "me")
    assert happening.why == "PUBACK id 2: lost, by the rule 'lose 2nd PUBACK to me'"
    assert list(faults.fired) == [happening]
    assert driver.send(False, Puback(2)) == [to_client(Puback(2))]


def test_rules_count_over_all_connections_or_in_each() -> None:
    for rule, lost in (("lose 1st PUBACK", 1), ("lose 1st PUBACK of each connection", 2)):
        faults = Faults(rule)
        for _ in range(2):
            driver = Driver(faults)
            driver.send(False, Puback(1))
            driver.send(False, Puback(2))
            driver.line.close()
        assert len(faults.fired) == lost


def test_a_delay_keeps_the_order_and_is_that_of_each_packet() -> None:
    """On a line that is open already, with a ping each second: every one is a second late, none more."""
    driver = Driver(faults := Faults())
    faults.add("delay packet from me by 1s")
    arrived = []
    for _ in range(5):
        assert driver.send(True, Pingreq()) == []
        arrived.append([(order.data, driver.now) for order in driver.wait(1.0)])
    assert arrived == [[(PING, 101.0)], [(PING, 102.0)], [(PING, 103.0)], [(PING, 104.0)], [(PING, 105.0)]]
    other = Driver(Faults("delay 1st PUBLISH by 1s"))
    assert other.send(True, Publish("a", b"1")) == []
    assert other.send(True, Publish("a", b"2")) == []  # TCP keeps the order
    assert other.send(False, Puback(1)) == [to_client(Puback(1))]
    assert other.wait(0.5) == []
    assert other.wait(0.5) == [to_server(Publish("a", b"1")), to_server(Publish("a", b"2"))]


def test_a_cut_by_the_clock_needs_no_packet_and_traffic_does_not_put_it_off() -> None:
    driver = Driver(Faults("cut after 10s of me"))
    for _ in range(9):
        assert driver.wait(1.0) == []
        assert driver.send(True, Pingreq()) == [Order(SEND, True, PING)]
    assert driver.wait(1.0) == [Order(CUT, False)]
    assert driver.told() == ["cut after 10 s, by the rule 'cut after 10s of me'"]
    assert driver.send(True, Pingreq()) == []
    assert driver.line.next_deadline() == float("inf")


def test_a_rule_that_is_added_counts_its_time_from_then() -> None:
    faults = Faults()
    driver = Driver(faults)
    driver.wait(60.0)
    faults.add("cut after 2s")
    assert driver.wait(1.9) == []
    assert driver.wait(0.2) == [Order(CUT, False)]


def test_a_window_of_time() -> None:
    driver = Driver(Faults("lose PINGREQ after 1s until 2s"))
    assert driver.send(True, Pingreq())
    driver.wait(1.0)
    assert not driver.send(True, Pingreq())
    driver.wait(1.0)
    assert driver.send(True, Pingreq())


def test_double_is_seen_twice() -> None:
    driver = Driver(Faults("double PUBLISH id 7"))
    publish = Publish("a", b"x", 1, packet_id=7)
    assert driver.send(True, publish) == [Order(SEND, True, encode(publish, 5) * 2)]
    assert sum(isinstance(event, Seen) for event in driver.events) == 2
    assert driver.send(True, Publish("a", b"x", 1, packet_id=8)) == [
        to_server(Publish("a", b"x", 1, packet_id=8))
    ]


def test_reordered_packets_go_behind_the_next_one_or_after_a_while() -> None:
    driver = Driver(Faults("reorder PUBLISH on a"))
    a, b = Publish("a", b"1"), Publish("b", b"2")
    assert driver.send(True, a) == []
    assert driver.send(True, b) == [to_server(b), to_server(a)]
    assert driver.send(True, a) == []
    assert driver.wait(0.9) == []
    assert driver.wait(0.2) == [to_server(a)]
    driver.send(True, a)
    driver.line.end(True, driver.now)
    assert driver.orders() == [to_server(a), Order(END, True)]


def test_cut_before_and_after() -> None:
    driver = Driver(Faults("cut before PUBREL"))
    assert driver.send(True, Pubrel(3)) == [Order(CUT, False)]
    driver = Driver(Faults("cut after PUBREL"))
    assert driver.send(True, Pubrel(3)) == [to_server(Pubrel(3)), Order(CUT, False)]
    driver = Driver(Faults("delay PUBREL by 1s", "cut after PUBREL"))
    assert driver.send(True, Pubrel(3)) == []
    assert driver.wait(1.0) == [to_server(Pubrel(3)), Order(CUT, False)]


def test_who_is_not_read_from_is_read_later_and_loses_nothing() -> None:
    driver = Driver(Faults("stop reading after 1st PUBLISH from me for 5s", "lose 2nd PUBLISH"))
    a, b, c = (Publish("a", payload) for payload in (b"1", b"2", b"3"))
    assert driver.send(True, a) == [to_server(a)]
    assert driver.line.is_stalled(True, driver.now)
    assert not driver.line.is_stalled(False, driver.now)
    assert driver.send(True, b) == []
    assert driver.send(True, c) == []
    assert driver.line.waiting(True) == len(encode(b, 5) + encode(c, 5))
    driver.line.end(True, driver.now)
    assert driver.send(False, Puback(1)) == [to_client(Puback(1))]
    assert driver.wait(5.0) == [to_server(c), Order(END, True)]  # and the rules see them then


def test_stop_reading_for_good_until_the_rules_are_cleared() -> None:
    faults = Faults("stop reading from me")
    driver = Driver(faults)
    driver.wait(0.0)
    assert driver.line.is_stalled(True, driver.now)
    assert not driver.line.is_stalled(False, driver.now)
    driver.wait(1e6)
    assert driver.send(True, Pingreq()) == []
    faults.clear()
    assert driver.orders() == [Order(SEND, True, PING)]


def test_one_rule_is_removed_and_reading_goes_on() -> None:
    faults = Faults("stop reading from me", "lose 1st PINGRESP")
    driver = Driver(faults)
    driver.wait(0.0)
    assert driver.send(True, Pingreq()) == []
    faults.remove(faults.kept[0])
    assert driver.orders() == [Order(SEND, True, PING)]
    assert driver.send(False, Pingresp()) == []  # by the other rule, which is still there
    faults.add("lose 2nd PINGRESP")
    assert [kept.number for kept in faults.kept] == [2, 3]


def test_a_bit_is_flipped_that_the_rule_or_the_seed_names() -> None:
    publish = Publish("a", b"x")
    data = bytearray(encode(publish, 5))
    data[1] ^= 0x01
    driver = Driver(Faults("flip bit 15 of PUBLISH"))
    assert driver.send(True, publish) == [Order(SEND, True, bytes(data))]
    assert driver.told() == ["PUBLISH: bit 15 flipped, in byte 1, by the rule 'flip bit 15 of PUBLISH'"]
    drawn = [Driver(Faults("flip a bit of PUBLISH", seed=3)).send(True, publish) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != [to_server(publish)]
    assert driver.pass_on(True, PING) == [Order(SEND, True, PING)]
    short = Driver(Faults("flip bit 100 of PINGREQ"))
    assert short.send(True, Pingreq()) == [Order(SEND, True, PING)]
    assert "there are 16 bits, and none has the number 100" in short.told()[0]


ANSWERS: list[tuple[str, Packet, bytes]] = [
    ("answer PUBLISH with 0x97", Publish("a", b"", 1, packet_id=7), b"\x40\x03\x00\x07\x97"),
    ("answer PUBLISH with 0x97", Publish("a", b"", 2, packet_id=7), b"\x50\x03\x00\x07\x97"),
    ("answer PUBREL with 0x92", Pubrel(7), b"\x70\x03\x00\x07\x92"),
    ("answer SUBSCRIBE with 0x87", Subscribe(7, [("a", 0), ("b", 0)]), encode(Suback(7, [0x87, 0x87]), 5)),
    ("answer UNSUBSCRIBE with 0x87", Unsubscribe(7, ["a"]), b"\xb0\x04\x00\x07\x00\x87"),
]


@pytest.mark.parametrize(("rule", "packet", "reply"), ANSWERS)
def test_an_answer_comes_from_the_line_and_the_packet_goes_nowhere(
    rule: str, packet: Packet, reply: bytes
) -> None:
    driver = Driver(Faults(rule))
    assert driver.send(True, packet) == [Order(SEND, False, reply)]
    first, told, second = driver.events
    assert isinstance(first, Seen)
    assert isinstance(told, Happening)
    assert isinstance(second, Seen)
    assert first.lost
    assert "in the receiver's place" in told.why
    assert (second.to_server, second.data) == (False, reply)


def test_a_refused_connection_ends_both_ways() -> None:
    faults = Faults("answer CONNECT with 0x88")
    line = Line(faults, Wire(1, "", 0), 0.0)
    line.packet(True, encode(Connect(5, "me"), 5), 0.0)
    assert line.take_orders() == [
        to_client(Connack(False, 0x88)),
        Order(END, False),
        Order(END, True),
    ]


def test_what_has_no_such_answer_goes_on_and_it_is_said_why() -> None:
    for packet, version, why in (
        (Publish("a", b""), 5, "nothing answers a PUBLISH of QoS 0"),
        (Publish("a", b"", 1, packet_id=7), 4, "before MQTT 5.0 this answer has no Reason Code"),
    ):
        driver = Driver(Faults("answer PUBLISH with 0x97"), version=version)
        assert driver.send(True, packet) == [to_server(packet, version)]
        assert f"could not act: {why}" in driver.told()[0]


def test_the_first_rule_that_wants_a_packet_has_it_and_all_count_it() -> None:
    faults = Faults("lose 1st PUBACK", "double 2nd PUBACK", "cut after 3rd PUBACK")
    driver = Driver(faults)
    assert driver.send(False, Puback(1)) == []
    assert driver.send(False, Puback(2)) == [Order(SEND, False, encode(Puback(2), 5) * 2)]
    assert driver.send(False, Puback(3)) == [to_client(Puback(3)), Order(CUT, False)]


def test_chance_is_drawn_from_the_seed() -> None:
    def run(seed: int) -> list[bool]:
        driver = Driver(Faults("lose PINGREQ at 50%", seed=seed))
        return [bool(driver.send(True, Pingreq())) for _ in range(64)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 10 < sum(run(1)) < 54


def test_every_and_times() -> None:
    driver = Driver(Faults("lose every 2nd PINGREQ 2 times"))
    assert [bool(driver.send(True, Pingreq())) for _ in range(8)] == [
        True,
        False,
        True,
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_topic_is_known_behind_its_alias() -> None:
    driver = Driver(Faults("lose 2nd PUBLISH on a/+"))
    properties = Properties()
    properties.topic_alias = 3
    assert driver.send(True, Publish("a/b", b"1", properties=properties))
    assert driver.send(True, Publish("c", b"1"))
    assert not driver.send(True, Publish("", b"2", properties=properties))


def test_a_client_without_an_identifier_has_the_one_it_was_given() -> None:
    faults = Faults("lose PINGREQ from auto-7")
    line = Line(faults, Wire(1, "", 0), 0.0)
    line.packet(True, encode(Connect(5, ""), 5), 0.0)
    properties = Properties()
    properties.assigned_client_identifier = "auto-7"
    line.packet(False, encode(Connack(False, 0, properties), 5), 0.0)
    line.take_orders()
    line.packet(True, PING, 0.0)
    assert line.take_orders() == []
    assert line.wire.client_id == "auto-7"


def test_a_long_packet_is_lost_with_all_its_pieces_and_what_is_none_goes_on() -> None:
    driver = Driver(Faults("lose 1st PUBLISH", "double 2nd PUBLISH"))
    data = encode(Publish("a", b"x" * 100), 5)
    line = driver.line
    for _ in range(2):
        line.packet(True, data[:50], driver.now, len(data) - 50)
        line.more(True, data[50:], driver.now)
        orders = driver.orders()
    assert b"".join(order.data for order in orders) == data
    assert "the packet is too long for that" in driver.told()[0]
    line.raw(True, b"\0junk", driver.now)
    assert driver.orders() == [Order(SEND, True, b"\0junk")]


def test_passwords_are_not_in_what_is_recorded_but_arrive() -> None:
    line = Line(Faults(), Wire(1, "", 0), 0.0)
    data = encode(Connect(5, "me", username="ann", password=b"correct horse"), 5)
    line.packet(True, data, 0.0)
    assert line.take_orders() == [Order(SEND, True, data)]
    (event,) = line.take_events()
    assert isinstance(event, Seen)
    assert b"horse" not in event.data
    assert event.wire.user == "ann"


def test_malformed_packets_go_on_under_the_rules_that_do_not_ask_about_them() -> None:
    driver = Driver(Faults("lose PUBLISH on a", "lose PUBACK id 7"))
    for junk in (b"\x30\x01\xff", b"\x40\x00", b"\xf0\x00", b"\x10\x02\x00\x00", b"\x00\x00"):
        assert driver.pass_on(True, junk) == [Order(SEND, True, junk)]
