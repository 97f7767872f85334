"""A message that has more receivers than a turn has time for is given to them over many turns.

What the turn has time for is counted in ``BrokerState.spent``. A message for which there is none left waits
with its connection, as the rest of a chunk does. One that is too much for any turn, and the rest of a run of
the fast lane, is a ``Spread``: the next receivers in each turn, its connection paused meanwhile and its
acknowledgement sent at the end. What clients publish on the same topic waits for it, so that all receivers
get both in one order [MQTT-4.6.0-6]. Where its connection ends meanwhile, all receivers get it nevertheless.
Wills, and what the broker itself and hooks publish, have no connection that could wait: they are in a row.

As after a crash nothing may be half done, the batch of the journal with the first of its records is the one
with the last, and with that of its Packet Identifier, or of the end of a will: the batch is not taken
meanwhile, and a second message that may have records is not begun before it was.
"""

from __future__ import annotations

from typing import Final

from curier.broker.delivery import choose_for, deliver, deliver_member, deliver_receiver, nobody_takes
from curier.broker.model import ANOTHER, BrokerConnection, Route, ServerSession, Spread
from curier.broker.state import WORK_OF_QOS_1, BrokerState
from curier.codec.constants import MQTT_50
from curier.protocol.connection import CLOSED
from curier.session.message import ApplicationMessage

FOR_SPREADS: Final = 2  # half of what is done in a turn; the other half is for what comes new
PIECE: Final = 8  # an eighth for one of them, before the next has its turn
WORK_OF_RECEIVER: Final = 1  # bits: to find two receivers is 1
MOST_WAITING: Final = 1000  # of those that no client waits for
NO_BOUND: Final = 1 << 60


def work_of(route: Route, qos: int) -> int:
    """What a message takes at most."""
    count = len(route.receivers) + len(route.groups)
    return count * WORK_OF_QOS_1 if qos else count


def count_routes(broker: BrokerState) -> None:
    """Count as work what was done to find the receivers of messages."""
    made = broker.router.made
    if made:
        broker.router.made = 0
        broker.spent += made >> WORK_OF_RECEIVER


def may_begin(broker: BrokerState, connection: BrokerConnection, topic: bytes, qos: int) -> bool:
    """Is there time for a message now? If not, its connection rests."""
    if not broker.router.held or topic not in broker.router.held:
        work = work_of(broker.router.route(topic), qos)
        count_routes(broker)
        if broker.spent + work <= broker.work_per_turn or not work:
            return True
        if (
            work > broker.work_per_turn // FOR_SPREADS
            and broker.spent < broker.work_per_turn
            and may_split(broker)
        ):
            return True
    return not connection.rests()


def may_split(broker: BrokerState) -> bool:
    """May a message that may have records be given over many turns?"""
    return broker.may_split and not broker.has_giant


def begin(
    broker: BrokerState,
    connection: BrokerConnection,
    route: Route,
    message: ApplicationMessage,
    records_before: int,
    packet_id: int,
    now: float,
) -> Spread:
    """Give a message to its receivers, to some of them now."""
    spread = Spread(route, connection.server_session, connection, message.qos, route.receivers)
    spread.message = message
    spread.takes_id = packet_id
    go_on(broker, spread, broker.work_per_turn - broker.spent, now)
    if not spread.is_done:
        connection.records_before = records_before
        broker.has_giant = True
        hold(broker, spread, connection)
    return spread


def hold(broker: BrokerState, spread: Spread, connection: BrokerConnection) -> None:
    """The ``connection`` of ``spread``, and what else is published on its topic, wait until it is done."""
    connection.spread = spread
    connection.paused = True
    broker.spreads.append(spread)
    broker.router.hold(spread.route)


def go_on(broker: BrokerState, spread: Spread, budget: int, now: float) -> None:
    """Give it to the next receivers."""
    _look_again(broker, spread)
    until = broker.spent + budget
    groups = spread.route.groups
    count = len(spread.receivers)
    all_count = count + len(groups)
    while spread.index < spread.count:
        message = spread.message
        if message is None:
            start = spread.index * spread.size
            payload = spread.block[start + spread.payload_at : start + spread.size]
            message = spread.message = ApplicationMessage(spread.route.topic, payload, spread.qos, False)
            if spread.sender is not None and not spread.sender.number:  # nobody's session (``inbound``)
                message.owner = ANOTHER
        while spread.at < all_count:
            if broker.spent >= until:
                return
            place = spread.at
            spread.at += 1
            if place < count:
                if _give(broker, spread, message, place, now):
                    spread.is_kept = True
            else:
                group = groups[place - count]
                broker.spent += 1
                member = choose_for(broker, group, message) if group.members else None
                if member is not None:
                    if deliver_member(broker, member, group.topic_filter, message, now):
                        spread.is_kept = True
                elif group.members:
                    spread.is_kept = nobody_takes(broker, group, message) or spread.is_kept
        if not spread.is_kept and spread.index >= spread.most_done and not spread.route.is_empty:
            if spread.lost is None:
                spread.lost = set()
            spread.lost.add(spread.index)
        spread.index += 1
        spread.at = 0
        if spread.size:
            spread.message = None
            spread.is_kept = False
    spread.is_done = True


def _give(broker: BrokerState, spread: Spread, message: ApplicationMessage, place: int, now: float) -> bool:
    receiver = spread.receivers[place]
    if receiver is None:
        return True
    skips = spread.skips
    if skips is not None and spread.index < skips[place]:
        return False
    return deliver_receiver(broker, spread.route, message, spread.sender, now, receiver)


def _look_again(broker: BrokerState, spread: Spread) -> None:
    """Subscriptions may have changed: who has none any more gets nothing more [MQTT-3.10.4-2], and who has a
    new one has come too late.
    """
    topic = spread.route.topic
    if broker.router.cache.table.get(topic) is spread.seen:
        return
    spread.seen = broker.router.route(topic)
    present = {receiver.session.number: receiver for receiver in spread.seen.receivers}
    spread.receivers = [
        present.get(receiver.session.number) if receiver is not None else None
        for receiver in spread.receivers
    ]


def give(
    broker: BrokerState, route: Route, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> None:
    """Give a will, or a message of the broker itself or of a hook, to its receivers: now, where there is
    time, or when it is its turn among all of these.

    What a hook publishes because of something is given at once if it is no more than any turn has time for:
    then it is there before what it was called for.
    """
    work = work_of(route, message.qos)
    count_routes(broker)
    router = broker.router
    if not work:
        return
    if not router.held or route.topic not in router.held:
        if broker.hooks.depth:
            has_time = work <= broker.work_per_turn
        else:
            has_time = broker.spent + work <= broker.work_per_turn and not broker.own
        if has_time:
            deliver(broker, route, message, sender, now)
            return
    spread = Spread(route, sender, None, message.qos, route.receivers)
    spread.message = message
    spread.has_records = route.is_durable and (message.qos > 0 or broker.options.queue_qos0)
    broker.own.append(spread)
    broker.own_records += spread.has_records
    router.hold(route)


def continue_all(broker: BrokerState, now: float) -> list[Spread]:
    """Go on with all of them in turns, as long as there is time; those of clients that are done now."""
    done: list[Spread] = []
    share = broker.work_per_turn // FOR_SPREADS
    until = broker.spent + share
    if broker.own:
        _continue_own(broker, broker.spent + (share // 2 if broker.spreads else share), now)
    while broker.spreads and broker.spent < until:
        spread = broker.spreads.pop(0)
        _step(broker, spread, max(1, broker.work_per_turn // PIECE), now)
        if spread.is_done:
            _let_go(broker, spread)
            done.append(spread)
        else:
            broker.spreads.append(spread)
    return done


def _continue_own(broker: BrokerState, until: int, now: float) -> None:
    """Go on with the first of those that no client waits for, and then with the next.

    Nobody slows down who makes them: where very many wait, the first are given out without regard to time.
    """
    own = broker.own
    while own and (broker.spent < until or len(own) > MOST_WAITING):
        spread = own[0]
        budget = until - broker.spent if len(own) <= MOST_WAITING else NO_BOUND
        for other in broker.spreads:
            if other.route.topic == spread.route.topic and not other.is_done:  # has begun before
                if budget != NO_BOUND:
                    return
                _step(broker, other, NO_BOUND, now)
        _step(broker, spread, budget, now)
        if spread.is_done:
            own.popleft()
            broker.own_records -= spread.has_records
            broker.router.let_go(spread.route.topic)


def _step(broker: BrokerState, spread: Spread, budget: int, now: float) -> None:
    """Go on with one of them; an error is its end."""
    try:
        go_on(broker, spread, budget, now)
    except Exception as error:
        spread.is_done = True
        where = "giving a message to its receivers"
        if spread.connection is not None:
            broker.faults.met(where, error, spread.connection)
        else:
            broker.faults.note(where, error)


def _let_go(broker: BrokerState, spread: Spread) -> None:
    broker.router.let_go(spread.route.topic)
    connection = spread.connection
    if not spread.size:
        broker.has_giant = False
        broker.may_split = False  # before the batch with this one had the chance to be taken
    if connection is None or spread.sender is None:
        return
    if connection.state == CLOSED and spread.takes_id:
        # Its client will send it again, and everybody has it.
        refuses = spread.lost is not None and connection.version == MQTT_50
        if not refuses and broker.sessions_by_number.get(spread.sender.number) is spread.sender:
            spread.sender.incoming.take(spread.takes_id)
