"""What a program asks of a client, checked where it asks: each error names the argument and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, cast, get_args

from curier.codec.constants import PROTOCOL_ERROR, TOPIC_FILTER_INVALID
from curier.errors import ConfigError, LocalProtocolError
from curier.topics.filters import check_topic_filter, is_shared, matches, split_shared
from curier.types import QoS, RetainHandling, Subscription

Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_newest"]
Acknowledge: TypeAlias = Literal["auto", "received", "manual"]

OWN: Final = 0x0F00_0000
"""From here to the largest, 0x0FFFFFFF, Subscription Identifiers are those that the client chooses."""

MOST_LEVELS: Final = 65536
LONGEST_EXPIRY: Final = 0xFFFFFFFF  # seconds, as the wire has it (3.3.2.3.3)


def check_qos(qos: object) -> int:
    """``qos`` as a plain number. Raises ``TypeError`` for what is none; which numbers are QoS, others say."""
    if isinstance(qos, int) and not isinstance(qos, bool):
        return int(qos)
    raise TypeError(f"qos: 0, 1 or 2, not {qos!r}")


def check_whole(name: str, value: object) -> int:
    """A whole number. Raises ``TypeError`` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"{name}: a whole number, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Yes or no. Raises ``TypeError`` for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: True or False, not {value!r}")


def check_expiry(message_expiry: object) -> float:
    """A Message Expiry Interval in seconds. Raises ``LocalProtocolError``, ``TypeError`` for no number."""
    if isinstance(message_expiry, bool) or not isinstance(message_expiry, (int, float)):
        raise TypeError(f"message_expiry: a number of seconds, not {message_expiry!r}")
    if 0 <= message_expiry <= LONGEST_EXPIRY:
        return message_expiry
    why = f"message_expiry: 0 to {LONGEST_EXPIRY} seconds, not {message_expiry!r}"
    raise LocalProtocolError(PROTOCOL_ERROR, why)


def check_pairs(name: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values. Raises ``TypeError`` where they are something else."""
    if isinstance(pairs, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    ):
        return [(key, value) for key, value in pairs]
    raise TypeError(f'{name}: a list of pairs of text, such as [("unit", "C")]')  # which may be secret


def check_texts(content_type: object, response_topic: object, correlation_data: object) -> None:
    """Properties of a message. Raises ``TypeError`` for one of another type."""
    for name, value, kind in (
        ("content_type", content_type, str),
        ("response_topic", response_topic, str),
        ("correlation_data", correlation_data, bytes),
    ):
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name}: {kind.__name__}, not {type(value).__name__}")


def check_filter(topic_filter: object) -> str:
    """A Topic Filter. Raises ``LocalProtocolError`` for one that is not valid, else ``TypeError``."""
    if isinstance(topic_filter, str):
        try:
            why = check_topic_filter(topic_filter.encode(), MOST_LEVELS)
        except UnicodeEncodeError:
            why = "it cannot be written in UTF-8"
        if why:
            raise LocalProtocolError(TOPIC_FILTER_INVALID, f"{topic_filter!r}: {why}")
        return topic_filter
    hint = "write it as text"
    if isinstance(topic_filter, int):
        hint = 'the QoS is a keyword: subscribe("a/b", qos=1)'
    elif isinstance(topic_filter, tuple) and [type(one) for one in topic_filter] == [str, int]:
        hint = 'for filters with options of their own write curier.Subscription("a/b", curier.QoS(1))'
    elif isinstance(topic_filter, (list, tuple, set, frozenset)):
        hint = 'write them one by one: subscribe("a", "b"), or subscribe(*filters)'
    raise TypeError(f"{topic_filter!r} is no Topic Filter: {hint}")


def topic_matches(topic_filter: str, topic: str) -> bool:
    """Does a Topic Filter match a Topic Name (4.7)? That of a Shared Subscription does as it would alone.

    Raises ``LocalProtocolError`` for what is no Topic Filter, ``TypeError`` for what is no text.
    """
    encoded = check_filter(topic_filter).encode()
    if not isinstance(topic, str):
        raise TypeError(f"a topic is text, not {type(topic).__name__}")
    return matches(split_shared(encoded)[1] if is_shared(encoded) else encoded, topic.encode())


def make_subscriptions(
    filters: tuple[str | Subscription, ...],
    qos: int,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: int,
) -> tuple[Subscription, ...]:
    """The subscriptions of one stream; the options are those of the filters given as text."""
    if not filters:
        raise LocalProtocolError(PROTOCOL_ERROR, "subscribe to at least one Topic Filter", "MQTT-3.8.3-2")
    made = []
    for one in filters:
        if not isinstance(one, Subscription):
            one = Subscription(
                check_filter(one),
                cast(QoS, qos),
                no_local,
                retain_as_published,
                cast(RetainHandling, retain_handling),
            )
        made.append(_checked(one))
    identifiers = {one.identifier for one in made if one.identifier is not None}
    if len(identifiers) > 1:
        why = "one SUBSCRIBE has one Subscription Identifier: make a stream for each"
        raise LocalProtocolError(PROTOCOL_ERROR, why)
    return tuple(made)


def _checked(subscription: Subscription) -> Subscription:
    qos = check_qos(subscription.qos)
    if qos not in (0, 1, 2):
        raise LocalProtocolError(PROTOCOL_ERROR, f"QoS {qos} is not 0, 1 or 2")
    handling: object = subscription.retain_handling
    if not isinstance(handling, int) or isinstance(handling, bool):
        raise TypeError(f"retain_handling: a curier.RetainHandling, not {handling!r}")
    if handling not in (0, 1, 2):
        why = f"retain_handling: a curier.RetainHandling, not {handling!r}"
        raise LocalProtocolError(PROTOCOL_ERROR, why)
    check_flag("no_local", subscription.no_local)
    check_flag("retain_as_published", subscription.retain_as_published)
    identifier = subscription.identifier
    if identifier is not None:
        check_whole("identifier", identifier)
    if identifier is not None and not 0 < identifier < OWN:
        why = f"identifier: 1 to {OWN - 1} (those above are the client's own), not {identifier!r}"
        raise LocalProtocolError(PROTOCOL_ERROR, why)
    return Subscription(
        check_filter(subscription.topic_filter),
        QoS(qos),
        subscription.no_local,
        subscription.retain_as_published,
        RetainHandling(handling),
        subscription.identifier,
    )


def check_stream(buffer: object, overflow: object, ack: object) -> None:
    """What a stream does with its messages. Raises ``ConfigError``, ``TypeError`` for another type."""
    _check_word("overflow", overflow, get_args(Overflow))
    least = 1 if overflow == "block" else 0
    if buffer is not None and check_whole("buffer", buffer) < least:
        raise ConfigError(f"buffer: a whole number of messages, {least} or more, or None, not {buffer!r}")
    _check_word("ack", ack, get_args(Acknowledge))


def _check_word(name: str, value: object, words: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}: {' or '.join(map(repr, words))}, not {value!r}")
    if value not in words:
        raise ConfigError(f"{name}: {' or '.join(map(repr, words))}, not {value!r}")


def check_window(window: object) -> int:
    """How many messages may be unfinished. Raises ``ConfigError``, ``TypeError`` for no whole number."""
    number = check_whole("window", window)
    if number >= 1:
        return number
    raise ConfigError(f"window: a whole number of messages, at least 1, not {window!r}")
