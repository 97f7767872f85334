"""A broker's core that dies, a disk that does not, and clients that remember: all in memory, all by one seed.

Every step that a real broker takes (bytes in, batch out, batch on the disk, answer to the core, bytes out)
is a step of its own here, and the broker may die between any two. The clients keep their Session State as
real ones do, and each writes down, by itself, what it was promised and what it got; ``check`` compares the
two.
"""

from __future__ import annotations

from random import Random

from curier.broker.connection import BrokerConnection
from curier.broker.core import BrokerCore
from curier.broker.effects import Close, Commit
from curier.broker.options import Options
from curier.broker.restoring import Restorer
from curier.codec import packets as p
from curier.codec.decode import decode as decode_packet
from curier.codec.encode import encode as encode_packet
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.session.journal import Journal
from curier.session.records import decode, encode

FOREVER = 0xFFFFFFFF


class Peer:
    """A client. What it must remember is here; what belongs to a connection goes with ``hang_up``."""

    def __init__(self, name: str, version: int, filters: list[tuple[str, int]], is_durable: bool) -> None:
        self.name = name
        self.version = version
        self.filters = filters
        self.is_durable = is_durable
        self.connection: BrokerConnection | None = None
        self.to_broker = b""
        self.from_broker = b""
        self.is_welcome = False
        self.has_session = False  # CONNACK came: the broker has promised to keep the session
        self.is_subscribed = False
        # as a sender
        self.count = 0
        self.last_id = 0
        self.unfinished: dict[int, p.Publish | None] = {}  # None: PUBREC came
        self.sent: dict[bytes, p.Publish] = {}
        self.promised: set[bytes] = set()
        self.refused = 0
        # as a receiver
        self.identifiers: set[int] = set()
        self.got: list[p.Publish] = []

    def hang_up(self) -> None:
        self.connection = None
        self.to_broker = self.from_broker = b""
        self.is_welcome = False
        if not self.is_durable:
            self.unfinished.clear()
            self.identifiers.clear()

    def send(self, packet: p.Packet) -> None:
        self.to_broker += encode_packet(packet, self.version)

    def call(self, connection: BrokerConnection) -> None:
        self.connection = connection
        made = None
        if self.version == 5:
            made = Properties()
            made.session_expiry_interval = FOREVER if self.is_durable else 0
        clean = not self.is_durable
        self.send(p.Connect(self.version, self.name, clean, 0, None, None, None, made))

    def publish(self, topic: str, qos: int, retain: bool) -> None:
        """Send the next message; its payload says where it stands in the order of its topic."""
        self.count += 1
        self.last_id = self.last_id % 65535 + 1
        payload = b"%s %d" % (self.name.encode(), self.count)
        message = p.Publish(topic, payload, qos, False, retain, self.last_id, None)
        self.sent[payload] = message
        self.unfinished[self.last_id] = message
        self.send(message)

    def read(self, data: bytes) -> None:
        self.from_broker += data
        pos = 0
        while pos < len(self.from_broker):
            end = packet_end(self.from_broker, pos)
            if not pos < end <= len(self.from_broker):
                break
            self.take(decode_packet(self.from_broker, pos, end, self.version))
            pos = end
        self.from_broker = self.from_broker[pos:]

    def take(self, packet: p.Packet) -> None:
        if isinstance(packet, p.Connack):
            self.welcome(packet)
        elif isinstance(packet, p.Suback):
            self.is_subscribed = True
        elif isinstance(packet, p.Publish):
            if packet.qos == 1:
                self.got.append(packet)
                self.send(p.Puback(packet.packet_id))
            else:
                if packet.packet_id not in self.identifiers:
                    self.got.append(packet)
                self.identifiers.add(packet.packet_id)
                self.send(p.Pubrec(packet.packet_id))
        elif isinstance(packet, p.Pubrel):
            self.identifiers.discard(packet.packet_id)
            self.send(p.Pubcomp(packet.packet_id))
        elif isinstance(packet, p.Puback):
            self.answered(packet.packet_id, packet.reason_code)
        elif isinstance(packet, p.Pubrec):
            if not self.answered(packet.packet_id, packet.reason_code):
                self.unfinished[packet.packet_id] = None
                self.send(p.Pubrel(packet.packet_id))
        elif isinstance(packet, p.Pubcomp):
            self.unfinished.pop(packet.packet_id, None)

    def answered(self, packet_id: int, reason_code: int) -> bool:
        """A promise, or a refusal; True where the flow is over."""
        message = self.unfinished.get(packet_id)
        if reason_code >= 0x80:
            assert reason_code == 0x83, hex(reason_code)
            self.refused += 1
            del self.unfinished[packet_id]
            return True
        if message is not None:
            self.promised.add(message.payload)
            if message.qos == 1:
                del self.unfinished[packet_id]
        return message is not None and message.qos == 1

    def welcome(self, packet: p.Connack) -> None:
        if packet.reason_code:
            return
        if self.has_session:
            assert packet.session_present, f"the session of {self.name} is lost"
        self.has_session = self.is_durable
        self.is_welcome = True
        for packet_id, message in self.unfinished.items():
            if message is None:
                self.send(p.Pubrel(packet_id))
            else:
                again = p.Publish(
                    message.topic, message.payload, message.qos, True, message.retain, packet_id, None
                )
                self.send(again)
        if self.filters and not self.is_subscribed:
            self.send(p.Subscribe(self.last_id + 30000, self.filters, None))


class World:
    """Everything, and the dice."""

    def __init__(self, seed: int, disk: list[bytes] | None = None) -> None:
        self.dice = Random(seed)
        self.now = 1_700_000_000.0
        self.disk: list[bytes] = disk if disk is not None else []
        self.flight: tuple[int, bytes] | None = None  # the batch that the store has
        self.is_written = False
        self.deaths = 0
        self.may_fail = seed % 4 == 3  # does the disk have trouble at times?
        version = self.dice.choice
        self.senders = [
            Peer("durable", version((4, 5)), [], True),
            Peer("fleeting", version((4, 5)), [], False),
        ]
        self.receivers = [
            Peer("two", version((4, 5)), [("t/#", 2)], True),
            Peer("one", version((4, 5)), [("t/#", 1)], True),
            Peer("shared1", 5, [("$share/g/t/#", 2)], True),
            Peer("shared2", 5, [("$share/g/t/#", 2)], True),
        ]
        self.peers = [*self.senders, *self.receivers]
        self.boot()

    # ---- the broker ----

    def boot(self) -> None:
        options = Options()
        options.sys_interval = 0.0
        options.max_inflight = 3
        self.core = BrokerCore(options, self.now, journal=Journal())
        restorer = Restorer(self.core)
        for data in self.disk:
            restorer.replay(decode(data))
        restorer.finish(self.now)

    def die(self) -> None:
        self.deaths += 1
        self.flight = None
        self.is_written = False
        for peer in self.peers:
            peer.hang_up()
        self.boot()

    def turn(self) -> None:
        closing: list[BrokerConnection] = []
        for effect in self.core.take_effects():
            if isinstance(effect, Commit):
                assert self.flight is None, "two batches on their way"
                self.flight = effect.batch.number, encode(effect.batch.records)
                self.is_written = False
            elif isinstance(effect, Close):
                closing.append(effect.connection)
        peers = {peer.connection: peer for peer in self.peers}
        for connection in self.core.take_dirty():
            assert isinstance(connection, BrokerConnection)
            data = connection.take_output()
            if connection in peers:
                peers[connection].from_broker += data
            self.core.written(connection, len(data), 0, self.now)
        for connection in closing:
            if connection in peers:
                peers[connection].read(b"")
                peers[connection].hang_up()

    def write(self) -> None:
        """The batch reaches the disk; nobody knows yet."""
        if self.flight is not None and not self.is_written:
            self.disk.append(self.flight[1])
            self.is_written = True

    def told(self) -> None:
        """The core hears of it."""
        if self.flight is not None and self.is_written:
            number, self.flight = self.flight[0], None
            self.core.committed(number, self.now)
            self.core.take_welcomed()

    # ---- steps ----

    def step(self) -> None:
        dice = self.dice
        roll = dice.random()
        peer = dice.choice(self.peers)
        self.now += 0.001
        if roll < 0.40:
            self.talk(peer)
        elif roll < 0.55:
            peer.read(b"")
        elif roll < 0.70:
            self.turn()
        elif roll < 0.78:
            if self.may_fail and self.flight is not None and not self.is_written and dice.random() < 0.5:
                self.core.store_failed("the disk is full")
            else:
                self.write()
        elif roll < 0.86:
            self.told()
        elif roll < 0.97:
            self.speak(dice.choice(self.senders))
        elif roll < 0.98:
            self.break_off(peer)
        elif roll > 0.99:
            self.die()

    def talk(self, peer: Peer) -> None:
        """Some of what a client has said reaches the broker, or it calls."""
        if peer.connection is None:
            peer.call(self.core.attach(peer.name, "memory", self.now))
        elif peer.to_broker:
            size = len(peer.to_broker)
            cut = size if self.dice.random() < 0.7 else self.dice.randint(1, size)
            data, peer.to_broker = peer.to_broker[:cut], peer.to_broker[cut:]
            self.core.receive(peer.connection, data, self.now)

    def speak(self, sender: Peer) -> None:
        if sender.is_welcome and len(sender.unfinished) < 8:
            qos = self.dice.choice((1, 2))
            if self.dice.random() < 0.2:
                sender.publish(f"kept/{sender.name}", 1, True)
            else:
                sender.publish(f"t/{sender.name}/{qos}", qos, False)

    def break_off(self, peer: Peer) -> None:
        if peer.connection is not None:
            connection = peer.connection
            peer.hang_up()
            self.core.detach(connection, self.now)

    def settle(self) -> None:
        """No more accidents: until everybody has said and heard everything."""
        quiet = 0
        while quiet < 3:
            before = (sum(len(peer.got) for peer in self.peers), len(self.disk), self.busy())
            for peer in self.peers:
                self.talk(peer)
            self.turn()
            self.write()
            self.told()
            self.turn()
            for peer in self.peers:
                peer.read(b"")
            after = (sum(len(peer.got) for peer in self.peers), len(self.disk), self.busy())
            quiet = quiet + 1 if before == after and not self.busy() else 0

    def busy(self) -> int:
        return sum(
            len(peer.to_broker) + len(peer.unfinished) + (not peer.is_welcome) for peer in self.peers
        ) + (self.flight is not None)

    def start(self) -> None:
        """Everybody has a session and its subscriptions: from now on the ledger counts."""
        self.settle()
        assert all(peer.is_subscribed for peer in self.receivers)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    # ---- the ledger ----

    def check(self) -> None:
        # A message that was refused, with the refusal lost, is sent again behind those accepted meanwhile.
        in_order = not self.may_fail
        for sender in self.senders:
            for receiver in self.receivers[:2]:
                self.check_pair(sender, receiver.got, receiver.filters[0][1], in_order)
            both = [*self.receivers[2].got, *self.receivers[3].got]
            self.check_pair(sender, both, 2, False)
            self.check_retained(sender)

    def check_pair(self, sender: Peer, got: list[p.Publish], qos: int, in_order: bool) -> None:
        for sent_qos in (1, 2):
            topic = f"t/{sender.name}/{sent_qos}"
            sent = [payload for payload, message in sender.sent.items() if message.topic == topic]
            came = [message.payload for message in got if message.topic == topic]
            assert set(came) <= set(sent)
            lost = [payload for payload in sent if payload in sender.promised and payload not in came]
            assert not lost, f"{sender.name} was promised {lost}, which did not come"
            if min(sent_qos, qos) == 2:
                assert len(set(came)) == len(came), f"doubled: {sorted(came)}"
            if in_order:
                firsts = list(dict.fromkeys(came))
                assert firsts == [payload for payload in sent if payload in set(came)], "out of order"

    def check_retained(self, sender: Peer) -> None:
        topic = f"kept/{sender.name}"
        sent = [payload for payload, message in sender.sent.items() if message.topic == topic]
        promised = [payload for payload in sent if payload in sender.promised]
        if promised:
            message = self.core.retained.get(topic.encode())
            assert message is not None, "a retained message is lost"
            assert sent.index(message.payload) >= sent.index(promised[-1]), "an old retained message is back"
