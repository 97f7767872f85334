"""Random histories of a broker's journal: clients do everything that makes records, a core writes them.

``state`` is all that a restored core must have, in plain values that can be compared.
"""

from __future__ import annotations

from random import Random

from curier.broker.core import BrokerCore
from curier.broker.effects import Close, Commit
from curier.broker.model import BrokerConnection, ServerSession
from curier.broker.options import Options
from curier.broker.restoring import Restorer
from curier.broker.retaining import writer_of
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import Reader, packet_end
from curier.codec.properties import Properties
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import Record
from curier.session.records import decode as decode_records
from curier.session.records import encode as encode_records

START = 1_700_000_000.0
CLIENTS = ("ana", "ben", "čeněk", "d" * 40)
TOPICS = ("a", "a/b", "a/b/c", "č", "$share")
FILTERS = ("a", "a/#", "+/b", "#", "$share/g/a/#", "$share/h/č", "č")
EXPIRIES = (0, 3, 60, 0xFFFFFFFF)


class History:
    """``batches`` are the encoded batches, as a store would get them."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.now = START
        self.batches: list[bytes] = []
        self.connections: dict[str, BrokerConnection] = {}
        self.answers: dict[str, list[p.Packet]] = {}
        self.core = new_core(self.now)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.turn()

    def turn(self) -> None:
        core = self.core
        for _ in range(2):
            for effect in core.take_effects():
                if isinstance(effect, Commit):
                    self.batches.append(encode_records(effect.batch.records))
                    core.committed(effect.batch.number, self.now)
                    core.take_welcomed()
                elif isinstance(effect, Close):
                    self.forget(effect.connection)
            for connection in core.take_dirty():
                assert isinstance(connection, BrokerConnection)
                self.read(connection, connection.take_output())
        assert core.take_faults() == []

    def forget(self, connection: BrokerConnection) -> None:
        for client_id, other in list(self.connections.items()):
            if other is connection:
                del self.connections[client_id]

    def read(self, connection: BrokerConnection, data: bytes) -> None:
        self.core.written(connection, len(data), 0, self.now)
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            packet = decode(data, pos, end, 5)
            pos = end
            answers = self.answers[connection.client_id]
            if isinstance(packet, p.Publish) and packet.qos:
                answers.append(p.Puback(packet.packet_id) if packet.qos == 1 else p.Pubrec(packet.packet_id))
            elif isinstance(packet, p.Pubrel):
                answers.append(p.Pubcomp(packet.packet_id))
            elif isinstance(packet, p.Pubrec) and packet.reason_code < 0x80:
                answers.append(p.Pubrel(packet.packet_id))

    def step(self) -> None:
        dice = self.dice
        client_id = dice.choice(CLIENTS)
        connection = self.connections.get(client_id)
        roll = dice.random()
        if roll < 0.05:
            self.now += dice.choice((0.5, 2.0, 30.0))
            while self.core.next_deadline() <= self.now:
                self.core.deadline_reached(self.now)
        elif roll < 0.06:
            self.restart()
        elif connection is None:
            self.connect(client_id)
        elif roll < 0.10:
            self.core.detach(connection, self.now)
            self.forget(connection)
        elif roll < 0.13:
            made = Properties()
            if (
                dice.random() < 0.3
                and connection.server_session
                and connection.server_session.expiry_interval
            ):
                made.session_expiry_interval = dice.choice(EXPIRIES)
            self.send(connection, p.Disconnect(dice.choice((0, 4)), made))
        elif roll < 0.25:
            filters = [(text, dice.choice((0, 1, 2, 9, 18))) for text in dice.sample(FILTERS, 2)]
            made = Properties()
            made.subscription_identifiers = [dice.randint(1, 300)] if dice.random() < 0.3 else []
            self.send(connection, p.Subscribe(9, filters, made))
        elif roll < 0.30:
            self.send(connection, p.Unsubscribe(9, dice.sample(FILTERS, 2)))
        elif roll < 0.65 and self.answers[client_id]:
            answers = self.answers[client_id]
            self.send(connection, answers.pop(dice.randrange(len(answers))))
        else:
            self.publish(connection)

    def connect(self, client_id: str) -> None:
        dice = self.dice
        made = Properties()
        made.session_expiry_interval = dice.choice(EXPIRIES)
        made.receive_maximum = dice.choice((1, 2, 100))
        will = None
        if dice.random() < 0.4:
            of_will = Properties()
            of_will.will_delay_interval = dice.choice((0, 1, 40))
            of_will.message_expiry_interval = dice.choice((None, 5))
            will = p.Will(
                dice.choice(TOPICS[:4]), b"will", dice.choice((0, 1, 2)), dice.random() < 0.3, of_will
            )
        connection = self.core.attach(client_id, "memory", self.now)
        self.connections[client_id] = connection
        self.answers[client_id] = []
        self.send(connection, p.Connect(5, client_id, dice.random() < 0.15, 0, None, None, will, made))

    def publish(self, connection: BrokerConnection) -> None:
        dice = self.dice
        made = Properties()
        if dice.random() < 0.2:
            made.message_expiry_interval = dice.choice((1, 50))
        if dice.random() < 0.2:
            made.user_properties = [("key", "value")]
        qos = dice.choice((0, 1, 2, 2))
        payload = dice.choice((b"", b"x", bytes(dice.randrange(256) for _ in range(20))))
        packet_id = dice.randint(1, 20) if qos else 0
        retain = dice.random() < 0.3
        self.send(
            connection, p.Publish(dice.choice(TOPICS[:4]), payload, qos, False, retain, packet_id, made)
        )

    def send(self, connection: BrokerConnection, packet: p.Packet) -> None:
        self.core.receive(connection, encode(packet, 5), self.now)

    def restart(self) -> None:
        self.connections.clear()
        self.core = restored([decode_records(data) for data in self.batches], self.now)


def new_core(now: float) -> BrokerCore:
    options = Options()
    options.sys_interval = 0.0
    options.queue_qos0 = True
    options.max_queued_messages = 6
    options.max_inflight = 4
    options.when_full = "drop-oldest"
    return BrokerCore(options, now, journal=Journal())


def restored(pieces: list[list[Record]], now: float) -> BrokerCore:
    core = new_core(now)
    restorer = Restorer(core)
    for records in pieces:
        restorer.replay(records)
    restorer.finish(now)
    return core


def state(core: BrokerCore) -> dict[str, object]:
    """Everything that is to survive."""
    sessions = {}
    for session in core.sessions.values():
        outgoing = session.outgoing
        sessions[session.client_id] = {
            "number": session.number,
            "version": session.version,
            "expiry": (session.expiry_interval, session.ends_at),
            "will": _will(session),
            "subscriptions": {
                topic_filter: (one.qos, one.no_local, one.retain_as_published, one.identifier)
                for topic_filter, one in session.subscriptions.items()
            },
            "queue": [_entry(entry) for entry in outgoing.queue],
            "queued_bytes": outgoing.queued_bytes,
            "inflight": [_entry(entry) for entry in outgoing.inflight.values()],
            "releasing": [_entry(entry) for entry in outgoing.releasing.values()],
            "last_id": outgoing.last_id,
            "incoming": session.incoming.identifiers,
        }
    walk = core.retained.walk(b"#")
    retained = {}
    while not walk.done:
        for message in walk.next(100):
            retained[message.topic] = (
                _message(message),
                message.references,
                message.written_at,
                writer_of(message),
            )
    groups = {name: {one.session.client_id for one in group.members} for name, group in core.groups.items()}
    return {"sessions": sessions, "retained": retained, "groups": groups}


def _entry(entry: Outgoing) -> tuple[object, ...]:
    return (
        _message(entry.message),
        entry.message.references,
        entry.qos,
        entry.retain,
        _identifiers(entry.identifiers),
        entry.group,
        entry.packet_id,
    )


def _identifiers(encoded: bytes) -> list[int]:
    """Subscription Identifiers; "their order is not significant" [MQTT-3.3.4-4], and a will due at the
    restart finds subscriptions in the order in which they were restored.
    """
    reader = Reader(encoded, 0, len(encoded))
    found = []
    while reader.remaining():
        reader.byte("identifier of the Property")
        found.append(reader.varint("Subscription Identifier"))
    return sorted(found)


def _will(session: ServerSession) -> tuple[object, ...]:
    if session.will is None:
        return ()
    return _message(session.will), session.will_delay, session.will_expiry, session.will_due_at


def _message(message: ApplicationMessage | None) -> tuple[object, ...]:
    if message is None:
        return ()
    return (
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.properties,
        message.expires_at,
    )
