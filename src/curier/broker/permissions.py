"""What a client may do, as far as it has been asked and answered (``effects.Authorize``)."""

from __future__ import annotations

from typing import Final

from curier.broker.effects import PUBLISH_ACTION, UNDECIDED, Authorize
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState
from curier.codec.primitives import encode_two

MAX_VERDICTS: Final = 4096  # remembered from one packet to the next; more are asked again


def verdict(
    broker: BrokerState, connection: BrokerConnection, action: str, topic: bytes, qos: int, retain: bool
) -> int:
    """The remembered answer to ``Authorize``, or ``UNDECIDED`` after asking; then the connection is paused.

    All questions of one packet may be asked at once; it is worked on again with all answers.
    """
    key = _question(action, topic, qos, retain)
    known = connection.verdicts.get(key)
    if known is not None:
        return known
    if len(connection.verdicts) >= MAX_VERDICTS and not connection.questions:  # clients choose the topics
        connection.verdicts.clear()
        forget_routes(broker, connection)
    connection.verdicts[key] = UNDECIDED
    connection.questions += 1
    connection.paused = True
    broker.effects.append(Authorize(connection, action, topic, qos, retain))
    return UNDECIDED


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


def _question(action: str, topic: bytes, qos: int, retain: bool) -> bytes:
    """Names a question of permission."""
    return (b"r" if retain else b"-") + encode_two(qos) + (b"p" if action == PUBLISH_ACTION else b"s") + topic
