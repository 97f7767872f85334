"""A stream in order, from some place on: JetStream's push consumer, watched for holes and for silence.

It is kept in the memory of one server, so it ends with that; whoever uses it begins another. Nothing that the
server remembers of it counts.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any, Final

from nats.aio.msg import Msg

from curier.jetstream.line import Line, log

BEAT_SECONDS: Final = 1.0  # the server says so often at least that it lives
SILENT_SECONDS: Final = 4.0
CREATE_SECONDS: Final = 5.0


class Consumer:
    """``heard`` gets each message with its sequence and how many more there are; ``broken`` is called once.

    ``is_empty`` is called where there is nothing yet when it begins.
    """

    def __init__(
        self,
        line: Line,
        stream: str,
        where: dict[str, Any],
        heard: Callable[[int, int, Msg], None],
        broken: Callable[[str], None],
        is_empty: Callable[[], None] = lambda: None,
    ) -> None:
        self._line = line
        self._stream = stream
        self._heard = heard
        self._broken = broken
        self._is_empty = is_empty
        self._loop = asyncio.get_running_loop()
        self._name = secrets.token_hex(8)
        self._number = 0
        self._is_over = False
        self._last_heard = self._loop.time()
        self._inbox = line.subscription(self._came)
        config = {
            "name": self._name,
            "deliver_subject": self._inbox,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(BEAT_SECONDS * 1e9),
            "inactive_threshold": int(30e9),
            "mem_storage": True,
            "num_replicas": 1,
            **where,
        }
        request = json.dumps({"stream_name": stream, "config": config}).encode()
        line.ask(f"$JS.API.CONSUMER.CREATE.{stream}.{self._name}", request, self._created, CREATE_SECONDS)
        self._timer = self._loop.call_later(BEAT_SECONDS, self._watch)

    def end(self) -> None:
        """Nothing is heard any more."""
        if not self._is_over:
            self._is_over = True
            self._timer.cancel()
            self._line.forget(self._inbox)
            self._line.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"")

    def _break(self, why: str) -> None:
        if not self._is_over:
            self.end()
            log.debug("%s is followed anew: %s", self._stream, why)
            self._broken(why)

    def _created(self, message: Msg | None) -> bool:
        if self._is_over:
            return True
        answer = json.loads(message.data) if message is not None and message.data else {}
        if "config" not in answer:
            self._break(answer.get("error", {}).get("description", "no answer"))
        elif (
            answer.get("num_pending", 1) == 0
            and answer["delivered"]["consumer_seq"] == 0
            and not self._number
        ):
            self._is_empty()
        return True

    def _watch(self) -> None:
        if self._loop.time() - self._last_heard > SILENT_SECONDS:
            self._break("the server was silent")
        elif not self._is_over:
            self._timer = self._loop.call_later(BEAT_SECONDS, self._watch)

    def _came(self, message: Msg | None) -> bool:
        if self._is_over:
            return True
        if message is None:
            self._break("the connection has ended")
            return True
        self._last_heard = self._loop.time()
        if message.reply.startswith("$JS.ACK."):
            sequence, number, pending = _numbers(message.reply)
            if number != self._number + 1:
                self._break(f"message {number} came behind {self._number}")
            else:
                self._number = number
                self._heard(sequence, pending, message)
        else:
            self._told(message)
        return self._is_over

    def _told(self, message: Msg) -> None:
        """What the server says of itself."""
        headers = message.headers or {}
        if headers.get("Status") != "100":
            self._break(headers.get("Description", "the server has ended it"))
        elif message.reply:  # it would know whether we keep up
            self._line.send(message.reply, b"")
        else:
            if "Nats-Consumer-Stalled" in headers:
                self._line.send(headers["Nats-Consumer-Stalled"], b"")
            if int(headers.get("Nats-Last-Consumer", "0")) > self._number:
                self._break("what came last is missing")


def _numbers(reply: str) -> tuple[int, int, int]:
    """The sequence in the stream, the number for this consumer, and how many are left.

    $JS.ACK.stream.consumer.delivered.sequence.number.time.pending; some servers put a domain and an account
    before the stream, and a word behind.
    """
    parts = reply.split(".")
    first = 5 if len(parts) == 9 else 7
    return int(parts[first]), int(parts[first + 1]), int(parts[first + 3])
