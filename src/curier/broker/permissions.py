"""What a client may do: what rules say (``judging``), and what has been asked and answered
(``effects.Authorize``). Where there are both, both must say yes.
"""

from __future__ import annotations

from typing import Final

from curier.broker.effects import PUBLISH_ACTION, UNDECIDED, Authorize
from curier.broker.judging import Rights, Who
from curier.broker.model import NOTHING, RETAINED, BrokerConnection, Route, ServerSession
from curier.broker.state import BrokerState
from curier.codec.constants import NOT_AUTHORIZED
from curier.codec.primitives import encode_two
from curier.topics.filters import is_shared, split_shared

MAX_VERDICTS: Final = 4096  # remembered from one packet to the next; more are asked again
FEW_SUBSCRIPTIONS: Final = 100  # of which it is worth it to look for the routes


def verdict(
    broker: BrokerState, connection: BrokerConnection, action: str, topic: bytes, qos: int, retain: bool
) -> int:
    """The Reason Code that rules and remembered answers give, or ``UNDECIDED`` after asking (``Authorize``);
    then the connection is paused.

    All questions of one packet may be asked at once; it is worked on again with all answers.
    """
    key = _question(action, topic, qos, retain)
    rights = rights_of(broker, connection)  # first: where rules have changed, verdicts are forgotten
    known = connection.verdicts.get(key)
    if rights is not None and (known is None or broker.asks_authorization):
        if not _may(rights, action, topic, qos, retain):
            return NOT_AUTHORIZED
    if known is not None:
        return known
    if len(connection.verdicts) >= MAX_VERDICTS and not connection.questions:  # clients choose the topics
        connection.verdicts.clear()
        forget_routes(broker, connection)
    if not broker.asks_authorization:
        connection.verdicts[key] = 0
        return 0
    connection.verdicts[key] = UNDECIDED
    connection.questions += 1
    connection.paused = True
    broker.effects.append(Authorize(connection, action, topic, qos, retain))
    return UNDECIDED


def why_not(
    broker: BrokerState, connection: BrokerConnection, action: str, topic: bytes, qos: int, retain: bool
) -> str:
    """Plain words for a verdict that was no. They name the rule, so they are not for the client."""
    rights = rights_of(broker, connection)
    rule = "" if rights is None or _may(rights, action, topic, qos, retain) else f": {rights.why}"
    doing = "publish" if action == PUBLISH_ACTION else "subscribe"
    how = f" with QoS {qos}{' and RETAIN' if retain else ''}"
    return f"may not {doing} to {topic.decode(errors='replace')}{how}{rule}"


def _may(rights: Rights, action: str, topic: bytes, qos: int, retain: bool) -> bool:
    if action == PUBLISH_ACTION:
        return rights.may_publish(topic, qos, retain)
    return rights.may_subscribe(topic, qos)


def rights_of(broker: BrokerState, connection: BrokerConnection) -> Rights | None:
    """What a client may, by the rules that hold now; None: no rules decide that."""
    judge = broker.router.judge
    if judge is None:
        return None
    session = connection.server_session
    rights = session.rights_by(judge) if session is not None else None
    return rights if rights is not None else judge.rights(who_is(connection))


def who_is(connection: BrokerConnection) -> Who:
    """A client as rules see it."""
    return Who(
        connection.identity,
        connection.client_id,
        connection.certificate_name,
        connection.known.groups,
        connection.known.claims,
        listener=connection.listener_name,
        address=connection.address,
    )


def came(broker: BrokerState, session: ServerSession, connection: BrokerConnection) -> bool:
    """It is known who the client of a session is: has it subscriptions that another one has made?"""
    judge = broker.router.judge
    if judge is None:
        return False
    before = session.rights
    rights = session.rights = judge.rights(who_is(connection))
    if not session.subscriptions or (before is not None and before.who.is_like(rights.who)):
        return False
    if len(session.subscriptions) > FEW_SUBSCRIPTIONS:  # somebody else's, or as old as the broker
        broker.router.forget_all()
        return True
    for topic_filter in session.subscriptions:
        broker.router.changed(split_shared(topic_filter)[1] if is_shared(topic_filter) else topic_filter)
    return True


def remember(connection: BrokerConnection, question: Authorize, reason_code: int) -> None:
    """Keep the answer to ``question``; with the last one open the connection goes on."""
    key = _question(question.action, question.topic, question.qos, question.retain)
    connection.verdicts[key] = reason_code
    connection.questions -= 1
    connection.paused = connection.questions > 0 or connection.work is not None


def forget(broker: BrokerState, connection: BrokerConnection) -> None:
    """Permissions have changed: ask again."""
    connection.verdicts.clear()
    if connection.has_permissions:
        forget_routes(broker, connection)


def forget_routes(broker: BrokerState, connection: BrokerConnection) -> None:
    """Forget the routes of a connection with permissions of its own, which are out of date; these are not."""
    for table in connection.routes:
        table.clear()
    connection.generation = broker.router.cache.generation


def remember_route(connection: BrokerConnection, qos: int, retain: bool, route: Route) -> None:
    """Let what its client publishes there, at this QoS and with this RETAIN flag, pass without a question."""
    index = qos + RETAINED if retain else qos
    if connection.routes[index] is NOTHING:
        connection.routes[index] = {}
    connection.routes[index][route.topic] = route


def _question(action: str, topic: bytes, qos: int, retain: bool) -> bytes:
    """Names a question of permission."""
    return (b"r" if retain else b"-") + encode_two(qos) + (b"p" if action == PUBLISH_ACTION else b"s") + topic
