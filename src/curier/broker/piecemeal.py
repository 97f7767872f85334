"""A large SUBSCRIBE or UNSUBSCRIBE, worked off over many turns: read, asked about, done, and answered.

Its connection is paused meanwhile, so that its answers stay in order; everybody else has their turns. As with
a small one, nothing of it is done before it is read to its end and permitted. Where the connection ends
meanwhile, what is done is done, and not acknowledged.
"""

from __future__ import annotations

from typing import Final

from curier.broker import subscribing
from curier.broker.attaching import cost_of
from curier.broker.model import BrokerConnection, Work
from curier.broker.state import BrokerState
from curier.codec.constants import SUBSCRIBE
from curier.codec.decode import LargeRequest
from curier.errors import ProtocolError
from curier.protocol.connection import CLOSED

LARGE: Final = 8192  # bytes of a packet from which on it is worked off in pieces
PER_TURN: Final = 4096
"""Work of all connections in one turn, as ``attaching.cost_of`` counts a filter."""

READ_BYTES: Final = 65536  # of that, at most, in one piece
READ_FILTERS: Final = 1024


def begin(
    broker: BrokerState, connection: BrokerConnection, data: bytes, pos: int, stop: int, now: float
) -> None:
    """Take the packet that fills ``data[pos:stop]``."""
    request = LargeRequest(data, pos, stop, connection.version, connection.max_user_properties)
    identifier = subscribing.subscription_identifier(broker, request.properties)
    connection.work = Work(request, identifier)
    connection.paused = True
    broker.continue_later(connection)


def go_on(broker: BrokerState, connection: BrokerConnection, budget: int, now: float) -> int:
    """Do the next piece of a connection's work; what it cost."""
    work = connection.work
    if work is None or connection.state == CLOSED:
        connection.work = None
        return 0
    try:
        cost = _piece(broker, connection, work, budget, now)
    except ProtocolError as error:
        connection.work = None
        connection.fail(error, now)
        return 0
    if connection.work is not None and not connection.questions:
        broker.continue_later(connection)
    return cost


def _piece(broker: BrokerState, connection: BrokerConnection, work: Work, budget: int, now: float) -> int:
    request = work.request
    if not work.is_read:
        begin = len(request.filters)
        work.is_read = request.read(READ_BYTES, READ_FILTERS)
        if connection.mount is not None:
            for index in range(begin, len(request.filters)):
                request.filters[index] = connection.mount.filter(request.filters[index])
        subscribing.check_count(broker, len(request.filters))
        return PER_TURN // 4
    if request.packet_type != SUBSCRIBE:
        cost = _unsubscribe(broker, connection, work, budget)
    elif connection.has_permissions and len(work.verdicts) < len(request.filters):
        return _ask(broker, connection, work)
    else:
        cost = _subscribe(broker, connection, work, budget)
    if work.at == len(request.filters):
        _finish(broker, connection, work, now)
    return cost


def _ask(broker: BrokerState, connection: BrokerConnection, work: Work) -> int:
    """Ask about the next filters; the answers are taken when all of them are there."""
    request = work.request
    begin = len(work.verdicts)
    found: list[int] = []
    for index in range(begin, min(begin + READ_FILTERS, len(request.filters))):
        verdict = subscribing.ask(broker, connection, request.filters[index], request.options[index])
        found.append(verdict)
    connection.paused = True
    if not connection.questions:
        work.verdicts += found
    return PER_TURN // 4


def _subscribe(broker: BrokerState, connection: BrokerConnection, work: Work, budget: int) -> int:
    request = work.request
    session = connection.server_session
    assert session is not None
    before = connection.journal_length()
    cost = 0
    while work.at < len(request.filters) and cost < budget:
        topic_filter = request.filters[work.at]
        verdict = work.verdicts[work.at] if work.verdicts else 0
        code, why = subscribing.subscribe_to(
            broker, connection, session, topic_filter, request.options[work.at], work.identifier, verdict
        )
        work.codes.append(code)
        work.why = why or work.why
        work.at += 1
        cost += cost_of(topic_filter)
    _note_batch(connection, work, before)
    return cost


def _unsubscribe(broker: BrokerState, connection: BrokerConnection, work: Work, budget: int) -> int:
    request = work.request
    session = connection.server_session
    assert session is not None
    before = connection.journal_length()
    begin = work.at
    cost = 0
    while work.at < len(request.filters) and cost < budget:
        topic_filter = request.filters[work.at]
        work.codes.append(subscribing.unsubscribe_from(broker, connection, session, topic_filter))
        work.at += 1
        cost += cost_of(topic_filter)
    subscribing.forget_sends(session, request.filters[begin : work.at])
    _note_batch(connection, work, before)
    return cost


def _note_batch(connection: BrokerConnection, work: Work, before: int) -> None:
    """The answer waits for the last batch of the journal that has a record of this."""
    journal = connection.journal
    if journal is not None and connection.journal_length() != before:
        work.batch = journal.number


def _finish(broker: BrokerState, connection: BrokerConnection, work: Work, now: float) -> None:
    connection.work = None
    connection.paused = False
    connection.now = now
    request = work.request
    if request.packet_type == SUBSCRIBE:
        data = subscribing.encode_suback(connection, request.packet_id, work.codes, work.why)
    else:
        data = subscribing.encode_unsuback(connection, request.packet_id, work.codes)
    journal = connection.journal
    durable = 0 if journal is None else journal.number - (2 if broker.is_committing else 1)
    if work.batch > durable:
        connection.send_after(max(work.batch, connection.held[-1].batch if connection.held else 0), data)
    else:
        connection.answer(data, connection.journal_length())
    connection.pump(now)
    connection.proceed(now)
    broker.welcomed.append(connection)
