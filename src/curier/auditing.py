"""Who came, who was refused or banned, what was denied, and who changed what: an object in a line each.

It is for those who have to know afterwards, and apart from the log, whose levels do not concern it. Secrets
and payloads never come near it. What strangers can have it say without an end, being refused, comes at a
bounded rate; what was left out is counted and told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from curier.auth.bans import Ban
from curier.broker.buckets import Bucket
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.loglines import printable
from curier.protocol.connection import CONNECTED

STRANGERS_RATE: Final = 100
"""Lines a second, in the long run, of those that were refused, as many of what was denied, and so on."""

MOST_OF_REASON: Final = 400
"""Characters of a reason, which may quote what a client sent."""

NOT_AUTHORIZED: Final = 0x87
_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}


class Audit(Hook):
    """``write`` is given each line, without its end, and must not wait. ``clock`` gives local time with its
    zone; ``monotonic`` seconds from wherever, for the rate.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._monotonic = monotonic
        self._buckets: dict[str, Bucket] = {}
        self._left_out: dict[str, int] = {}

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        self._say("connected", _who(connection), session_present=session_present)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self._say("disconnected", _who(connection), reason_code=reason_code, why=why)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        username: str | None = None
        event = "denied" if reason_code == NOT_AUTHORIZED else "limited"
        if connection.state != CONNECTED:
            event = "refused"
            username = connection.connect.username if connection.connect is not None else None
        self._say_if_there_is_room(
            event, _who(connection), username=username, reason_code=reason_code, why=why
        )

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        if reason_code < 0x80:
            return
        session = connection.server_session
        rule = ""
        if session is not None and session.rights is not None and reason_code == NOT_AUTHORIZED:
            rule = session.rights.why
        event = "denied" if reason_code == NOT_AUTHORIZED else "limited"
        self._say_if_there_is_room(
            event,
            _who(connection),
            action="subscribe",
            filter=_text(topic_filter),
            reason_code=reason_code,
            why=rule,
        )

    def on_revoke(self, client_id: str, topic_filter: bytes, why: str) -> None:
        self._say("revoked", {"client_id": client_id}, filter=_text(topic_filter), why=why)

    def banned(self, ban: Ban, seconds: float) -> None:
        """Somebody is banned for so long."""
        self._say_if_there_is_room(
            "banned", {}, address=ban.place, who=ban.who, seconds=round(seconds), why=ban.why
        )

    def login_refused(self, username: str, address: str, listener: str, why: str) -> None:
        """Somebody may not log in by a user name and a password, in another way than by MQTT."""
        self._say_if_there_is_room(
            "refused", {}, username=username, address=address, listener=listener, why=why
        )

    def acted(self, who: str, action: str, **details: str | float | None) -> None:
        """Somebody did something in another way than by MQTT: ``who`` is "SIGHUP", or a user of the API with
        its address; ``action`` a word or two, such as "ban.lift"; ``details`` what it was done to. Nothing of
        it may be a secret.
        """
        self._say("action", {}, who=who, action=action, **details)

    # ---- lines ----

    def _say_if_there_is_room(
        self, event: str, client: dict[str, object], **fields: str | float | None
    ) -> None:
        now = self._monotonic()
        bucket = self._buckets.get(event)
        if bucket is None:
            bucket = self._buckets[event] = Bucket(STRANGERS_RATE, now)
        if bucket.missing(now):
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        bucket.take(1)
        self.tell_left_out()
        self._say(event, client, **fields)

    def tell_left_out(self) -> None:
        """Say how many lines were left out since that was said last."""
        left_out, self._left_out = self._left_out, {}
        for event, count in left_out.items():
            self._say("left-out", {}, of=event, count=count)

    def _say(self, event: str, client: dict[str, object], **fields: str | float | None) -> None:
        line: dict[str, object] = {
            "time": self._clock().isoformat(timespec="milliseconds"),
            "event": event,
            **client,
            **fields,
        }
        made = {name: _plain(value) for name, value in line.items() if value is not None and value != ""}
        self._write(json.dumps(made))


def _who(connection: BrokerConnection) -> dict[str, object]:
    return {
        "client_id": connection.client_id,
        "identity": connection.identity,
        "address": connection.address,
        "listener": connection.listener_name,
        "version": _VERSIONS.get(connection.version),
    }


def _plain(value: object) -> object:
    return printable(value, MOST_OF_REASON) if isinstance(value, str) else value


def _text(topic: bytes) -> str:
    return topic.decode(errors="replace")
