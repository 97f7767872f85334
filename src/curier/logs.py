"""What a broker does, in plain language, for people who read logs.

The core does not log; this hook does. Secrets never come near it: it sees Client Identifiers, addresses,
topics and reasons, never passwords or payloads. What clients say is shortened, and so is the list of lines of
one kind, if there are too many (``loglines``).
"""

from __future__ import annotations

import logging
import time
from functools import partial

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.broker.mounting import OTHER_MOUNT
from curier.loglines import Line, logger, printable
from curier.session.message import ApplicationMessage

connect_log = logger("curier.broker.connect")
subscribe_log = logger("curier.broker.subscribe")
publish_log = logger("curier.broker.publish")

CONNECTED = Line(connect_log, logging.INFO, "%s connected%s from %s at %s, MQTT %s, %s")
DISCONNECTED = Line(connect_log, logging.INFO, "%s disconnected: %s")

NOT_AUTHORIZED = 0x87
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
DROPS_SECONDS = 60.0
"""Dropped messages come in floods; of each session they are summed up, and told this often."""

MOST_LOSERS = 1000
"""Sessions whose dropped messages are told one by one; those of further ones, together."""

MOST_TOPICS = 100
"""Of one session, that dropped messages are counted by; those on further ones, together."""

NAMED_TOPICS = 3
"""Of those, in a line."""

MOST_OF_REASON = 400
"""Characters of a reason, which may quote what a client sent."""


class Loser:
    """Messages dropped for one session, or for many, since it was told last."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.since = now
        self.count = 0
        self.why = ""
        self.topics: dict[bytes, int] = {}

    def add(self, topic: bytes, why: str) -> None:
        self.count += 1
        self.why = why
        if topic in self.topics or len(self.topics) < MOST_TOPICS:
            self.topics[topic] = self.topics.get(topic, 0) + 1

    def tell(self, now: float) -> None:
        """Log the totals, and begin anew."""
        most = sorted(self.topics.items(), key=lambda item: -item[1])[:NAMED_TOPICS]
        words = [f"{count} on {_text(topic)}" for topic, count in most]
        rest = self.count - sum(count for _, count in most)
        if rest:
            words.append(f"{rest} on others")
        span = max(1, round(now - self.since))
        publish_log.warning(
            "%d message(s) for %s dropped in %d s (%s): %s",
            self.count,
            self.name,
            span,
            ", ".join(words),
            self.why,
        )
        self.since = now
        self.count = 0
        self.topics.clear()


class Drops:
    """Who loses messages: the first one is told at once, what follows each minute, with totals."""

    def __init__(self) -> None:
        self._losers: dict[str, Loser] = {}
        self._next = 0.0  # when there is something to tell, or later

    def add(self, client_id: str, topic: bytes, why: str) -> None:
        now = time.monotonic()
        loser = self._losers.get(client_id)
        if loser is not None:
            loser.add(topic, why)
        elif len(self._losers) >= MOST_LOSERS:
            others = self._losers.get("")
            if others is None:
                others = self._losers[""] = Loser("other clients", now)
            others.add(topic, why)
        else:
            self._losers[client_id] = Loser(printable(client_id), now)
            publish_log.warning("a message on %s for %s dropped: %s", _text(topic), printable(client_id), why)
        if now >= self._next:
            self.tell(now)

    def tell(self, now: float, is_last: bool = False) -> None:
        """Log the totals of all whose minute is over, of everybody if it is the last time."""
        self._next = now + DROPS_SECONDS / 6
        for client_id, loser in list(self._losers.items()):
            if not is_last and now - loser.since < DROPS_SECONDS:
                continue
            if loser.count:
                loser.tell(now)
            else:  # it has lost nothing for a minute
                del self._losers[client_id]


class LogHook(Hook):
    """Logs connections (info), subscriptions (debug), refusals (warning) and dropped messages (warning,
    summed up).
    """

    def __init__(self) -> None:
        self._drops = Drops()

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        if not CONNECTED.is_wanted():
            return
        CONNECTED.log(
            printable(connection.client_id),
            f" as {printable(connection.identity)}" if connection.identity is not None else "",
            connection.address,
            connection.listener_name,
            VERSIONS.get(connection.version, "?"),
            "with its session" if session_present else "with a new session",
            make_fields=partial(_known, connection),
        )

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        connect_log.warning(
            "%s at %s refused: %s (0x%02X)",
            _name(connection),
            connection.listener_name,
            printable(why, MOST_OF_REASON),
            reason_code,
            extra=_fields(connection, reason_code=reason_code),
        )

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if not DISCONNECTED.is_wanted():
            return
        DISCONNECTED.log(
            _name(connection),
            printable(why, MOST_OF_REASON),
            make_fields=partial(_known, connection, reason_code=reason_code),
        )

    def on_slow(self, connection: BrokerConnection, why: str) -> None:
        reason = printable(why, MOST_OF_REASON)
        publish_log.warning("%s is slowed: %s", _name(connection), reason, extra=_fields(connection))

    def on_session_end(self, client_id: str, why: str) -> None:
        if why == OTHER_MOUNT:  # what waited in it is lost
            connect_log.warning("the session of %s has ended: %s", printable(client_id), why)
            return
        if not connect_log.isEnabledFor(logging.DEBUG):
            return
        connect_log.debug("the session of %s has ended: %s", printable(client_id), why)

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        if reason_code >= 0x80:
            session = connection.server_session
            rule = session.rights.why if session is not None and session.rights is not None else ""
            name, text = _name(connection), _text(topic_filter)
            extra = _fields(connection, filter=text, reason_code=reason_code)
            if rule and reason_code == NOT_AUTHORIZED:
                why = printable(rule, MOST_OF_REASON)
                subscribe_log.warning(
                    "%s may not subscribe to %s: %s (0x%02X)", name, text, why, reason_code, extra=extra
                )
            else:
                subscribe_log.warning(
                    "%s may not subscribe to %s (0x%02X)", name, text, reason_code, extra=extra
                )
        elif subscribe_log.isEnabledFor(logging.DEBUG):
            name, text = _name(connection), _text(topic_filter)
            extra = _fields(connection, filter=text)
            subscribe_log.debug("%s subscribed to %s with QoS %d", name, text, reason_code, extra=extra)

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        if not subscribe_log.isEnabledFor(logging.DEBUG):
            return
        name, text = _name(connection), _text(topic_filter)
        subscribe_log.debug("%s unsubscribed from %s", name, text, extra=_fields(connection, filter=text))

    def on_revoke(self, client_id: str, topic_filter: bytes, why: str) -> None:
        name, text, reason = printable(client_id), _text(topic_filter), printable(why, MOST_OF_REASON)
        subscribe_log.warning(
            "the subscription of %s to %s has ended: %s",
            name,
            text,
            reason,
            extra={"fields": {"client_id": name, "filter": text}},
        )

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        self._drops.add(client_id, message.topic, why)

    def tell(self, is_last: bool = False) -> None:
        """Log what is summed up and due; call it now and then, since no event may come that does."""
        self._drops.tell(time.monotonic(), is_last)


def _name(connection: BrokerConnection) -> str:
    if connection.client_id:
        return f"{printable(connection.client_id)} ({connection.address})"
    return connection.address


def _fields(connection: BrokerConnection, **more: object) -> dict[str, object]:
    return {"fields": _known(connection, **more)}


def _known(connection: BrokerConnection, **more: object) -> dict[str, object]:
    """What is known of a client, for logs that programs read."""
    fields = {
        "client_id": printable(connection.client_id),
        "identity": printable(connection.identity) if connection.identity is not None else None,
        "address": connection.address,
        "listener": connection.listener_name,
        "version": VERSIONS.get(connection.version),
        **more,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _text(topic: bytes) -> str:
    return printable(topic.decode(errors="replace"))
