"""A broker's core that dies, a disk that does not, and clients that remember: all in memory, all by one seed.

Every step that a real broker takes (bytes in, batch out, batch on the disk, answer to the core, bytes out)
is a step of its own here, and the broker may die between any two. The clients keep their Session State as
real ones do, and each writes down, by itself, what it was promised and what it got; ``check`` compares the
two.
"""

from __future__ import annotations

from random import Random

from curier.broker.core import BrokerCore
from curier.broker.effects import Close, Commit
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.broker.restoring import Restorer
from curier.session.journal import Journal
from curier.session.records import decode, encode
from curier.verify.ledger import judge_delivery, judge_retained
from curier.verify.peer import Peer


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
        for receiver in self.receivers:
            receiver.sources = self.senders
        self.peers = [*self.senders, *self.receivers]
        self.connections: dict[Peer, BrokerConnection] = {}
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
        self.connections.clear()
        for peer in self.peers:
            peer.hang_up()
        self.boot()

    def turn(self) -> None:
        closing: list[BrokerConnection] = []
        # Records that nobody waits for may come later: how much, the dice say.
        for effect in self.core.take_effects(self.now if self.dice.random() < 0.8 else 0.0):
            if isinstance(effect, Commit):
                assert self.flight is None, "two batches on their way"
                self.flight = effect.batch.number, encode(effect.batch.records)
                self.is_written = False
            elif isinstance(effect, Close):
                closing.append(effect.connection)
        peers = {connection: peer for peer, connection in self.connections.items()}
        for connection in self.core.take_dirty():
            assert isinstance(connection, BrokerConnection)
            data = connection.take_output()
            if connection in peers:
                peers[connection].from_broker += data
            self.core.written(connection, len(data), 0, self.now)
        for fault in self.core.take_faults():
            raise fault.error
        for connection in closing:
            if connection in peers:
                peer = peers[connection]
                peer.read(b"")
                peer.hang_up()
                del self.connections[peer]

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
        if peer not in self.connections:
            self.connections[peer] = self.core.attach(peer.name, "memory", self.now)
            peer.call()
        elif peer.to_broker:
            size = len(peer.to_broker)
            cut = size if self.dice.random() < 0.7 else self.dice.randint(1, size)
            data, peer.to_broker = peer.to_broker[:cut], peer.to_broker[cut:]
            self.core.receive(self.connections[peer], data, self.now)

    def speak(self, sender: Peer) -> None:
        if sender.is_welcome and len(sender.unfinished) < 8:
            qos = self.dice.choice((1, 2))
            if self.dice.random() < 0.2:
                sender.publish(f"kept/{sender.name}", 1, True)
            else:
                sender.publish(f"t/{sender.name}/{qos}", qos, False)

    def break_off(self, peer: Peer) -> None:
        connection = self.connections.pop(peer, None)
        if connection is not None:
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
        faults = [fault for peer in self.peers for fault in peer.faults]
        for sender in self.senders:
            for receiver in self.receivers[:2]:
                qos = receiver.filters[0][1]
                faults += judge_delivery(sender, receiver.name, receiver.got, qos, in_order)
            both = [*self.receivers[2].got, *self.receivers[3].got]
            faults += judge_delivery(sender, "the group", both, 2, False)
            topic = f"kept/{sender.name}"
            message = self.core.retained.get(topic.encode())
            faults += judge_retained(sender, {topic: message.payload} if message is not None else {})
            assert {*sender.refused} <= {0x83}
        assert not faults, faults[0].text
