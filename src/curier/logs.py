"""What a broker does, in plain language, for people who read logs.

The core does not log; this hook does. Secrets never come near it: it sees Client Identifiers, addresses,
topics and reasons, never passwords or payloads.
"""

from __future__ import annotations

import logging
import time

from curier.broker.connection import BrokerConnection
from curier.broker.hooks import Hook
from curier.session.message import ApplicationMessage

log = logging.getLogger("curier.broker")

VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
QUIET_SECONDS = 10.0
"""Dropped messages come in floods; they are counted and told at most this often."""

REFUSALS_SHOWN = 20
"""So do refusals, where a client insists: so many are told in ``QUIET_SECONDS``, the rest is counted."""


class LogHook(Hook):
    """Logs connections (info), subscriptions (debug), refusals (warning) and dropped messages (warning,
    summed up).
    """

    def __init__(self) -> None:
        self._dropped = 0
        self._dropped_told_at = -QUIET_SECONDS
        self._refusals = 0
        self._refusals_since = -QUIET_SECONDS

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        version = VERSIONS.get(connection.version, "?")
        how = "with its session" if session_present else "with a new session"
        client_id = printable(connection.client_id)
        log.info("%s connected from %s, MQTT %s, %s", client_id, connection.address, version, how)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if self._may_tell_refusal():
            log.warning("%s refused: %s (0x%02X)", _name(connection), why, reason_code)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        log.info("%s disconnected: %s", _name(connection), why)

    def on_session_end(self, client_id: str, why: str) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        log.debug("the session of %s has ended: %s", printable(client_id), why)

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        if reason_code >= 0x80:
            if self._may_tell_refusal():
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

    def _may_tell_refusal(self) -> bool:
        """Is there room for one more line about a refusal? Also tells how many there was none for."""
        now = time.monotonic()
        if now - self._refusals_since >= QUIET_SECONDS:
            if self._refusals > REFUSALS_SHOWN:
                log.warning("%d more refusals were not shown", self._refusals - REFUSALS_SHOWN)
            self._refusals = 0
            self._refusals_since = now
        self._refusals += 1
        return self._refusals <= REFUSALS_SHOWN


def _name(connection: BrokerConnection) -> str:
    if connection.client_id:
        return f"{printable(connection.client_id)} ({connection.address})"
    return connection.address


def _text(topic: bytes) -> str:
    return printable(topic.decode(errors="replace"))


def printable(text: str) -> str:
    """``text`` for one line of a log, whatever a stranger has put into it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
