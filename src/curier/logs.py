"""What a broker does, in plain language, for people who read logs.

The core does not log; this hook does. Secrets never come near it: it sees Client Identifiers, addresses,
topics and reasons, never passwords or payloads. What clients say is shortened, and so is the list of lines of
one kind, if there are too many (``loglines``).
"""

from __future__ import annotations

import logging
import time

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.loglines import logger, printable
from curier.session.message import ApplicationMessage

log = logger("curier.broker")

VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
QUIET_SECONDS = 10.0
"""Dropped messages come in floods; they are counted and told at most this often."""

MOST_OF_REASON = 400
"""Characters of a reason, which may quote what a client sent."""


class LogHook(Hook):
    """Logs connections (info), subscriptions (debug), refusals (warning) and dropped messages (warning,
    summed up).
    """

    def __init__(self) -> None:
        self._dropped = 0
        self._dropped_told_at = -QUIET_SECONDS

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        version = VERSIONS.get(connection.version, "?")
        how = "with its session" if session_present else "with a new session"
        client_id = printable(connection.client_id)
        log.info("%s connected from %s, MQTT %s, %s", client_id, connection.address, version, how)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        log.warning("%s refused: %s (0x%02X)", _name(connection), printable(why, MOST_OF_REASON), reason_code)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        log.info("%s disconnected: %s", _name(connection), printable(why, MOST_OF_REASON))

    def on_session_end(self, client_id: str, why: str) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        log.debug("the session of %s has ended: %s", printable(client_id), why)

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        if reason_code >= 0x80:
            log.warning(
                "%s may not subscribe to %s (0x%02X)", _name(connection), _text(topic_filter), reason_code
            )
        elif log.isEnabledFor(logging.DEBUG):
            log.debug("%s subscribed to %s with QoS %d", _name(connection), _text(topic_filter), reason_code)

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        log.debug("%s unsubscribed from %s", _name(connection), _text(topic_filter))

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        self._dropped += 1
        now = time.monotonic()
        if now - self._dropped_told_at >= QUIET_SECONDS:
            log.warning(
                "%d message(s) dropped; the last one on %s for %s: %s",
                self._dropped,
                _text(message.topic),
                printable(client_id),
                why,
            )
            self._dropped = 0
            self._dropped_told_at = now


def _name(connection: BrokerConnection) -> str:
    if connection.client_id:
        return f"{printable(connection.client_id)} ({connection.address})"
    return connection.address


def _text(topic: bytes) -> str:
    return printable(topic.decode(errors="replace"))
