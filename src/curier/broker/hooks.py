"""Hooks: classes that are told what happens in a broker, and may refuse messages.

A hook overrides the events it wants. When it is added, each event's hooks are put in one tuple, None where
there are none, so that an event nobody wants costs one comparison. Hooks are called in the turn and must
not block. An exception in a hook is the hook's fault and goes to whoever drives the core.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import mypyc_attr

from curier.broker.model import BrokerConnection
from curier.protocol.connection import Connection, Tap
from curier.session.message import ApplicationMessage


@mypyc_attr(allow_interpreted_subclasses=True)
class Hook:
    """Override what you want to hear of. Client Identifiers are text, topics UTF-8 bytes."""

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        """A client is connected; CONNACK is on its way."""

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client was refused, or disconnected for breaking a rule. ``why`` names the rule."""

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client that was connected is no more."""

    def on_session_end(self, client_id: str, why: str) -> None:
        """A Session is gone: expired, discarded by Clean Start, or never meant to last."""

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        """A subscription was asked for; below 0x80 it was granted."""

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        """A subscription was removed by its client."""

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        """A client published, or its will is due (None). 0, or a Reason Code of 0x80 or more to refuse.

        ``Broker.publish`` and ``$SYS`` do not ask.
        """
        return 0

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        """A message for this client was dropped: slow, queue full, too large, expired."""

    def on_delivered(self, client_id: str, message: ApplicationMessage, reason_code: int) -> None:
        """A client acknowledged, or refused, a QoS 1 or 2 message."""

    def on_packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes, now: float) -> None:
        """One whole Control Packet, in the order of the wire."""


@final
class Hooks:
    """The hooks of a broker, by event."""

    def __init__(self) -> None:
        self.all: list[Hook] = []
        self.connect: tuple[Hook, ...] | None = None
        self.refuse: tuple[Hook, ...] | None = None
        self.disconnect: tuple[Hook, ...] | None = None
        self.session_end: tuple[Hook, ...] | None = None
        self.subscribe: tuple[Hook, ...] | None = None
        self.unsubscribe: tuple[Hook, ...] | None = None
        self.publish: tuple[Hook, ...] | None = None
        self.drop: tuple[Hook, ...] | None = None
        self.delivered: tuple[Hook, ...] | None = None
        self.packet: tuple[Hook, ...] | None = None

    def set(self, hooks: list[Hook]) -> None:
        """Replace all hooks."""
        self.all = list(hooks)
        self.connect = self._having("on_connect")
        self.refuse = self._having("on_refuse")
        self.disconnect = self._having("on_disconnect")
        self.session_end = self._having("on_session_end")
        self.subscribe = self._having("on_subscribe")
        self.unsubscribe = self._having("on_unsubscribe")
        self.publish = self._having("on_publish")
        self.drop = self._having("on_drop")
        self.delivered = self._having("on_delivered")
        self.packet = self._having("on_packet")

    def _having(self, event: str) -> tuple[Hook, ...] | None:
        own = getattr(Hook, event)
        hooks = [hook for hook in self.all if getattr(type(hook), event) is not own]
        return tuple(hooks) if hooks else None


@final
class HookTap(Tap):
    """Shows every packet to the hooks that want packets."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks: Hooks = hooks

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        hooks = self.hooks.packet
        if hooks is not None and isinstance(connection, BrokerConnection):
            for hook in hooks:
                hook.on_packet(connection, is_outgoing, data, now)
