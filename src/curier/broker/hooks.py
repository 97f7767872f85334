"""Hooks: classes that are told what happens in a broker, and may refuse messages.

A hook overrides the events it wants. When it is added, each event's hooks are put in one tuple, None where
there are none, so that an event nobody wants costs one comparison. Hooks are called in the turn and must
not block. What a hook raises goes no further than to the call (``Hooks.tell``): it is noted in ``faults``,
and costs what ``docs/embedding.md`` says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from curier.broker.faults import Faults, name_of
from curier.broker.model import BrokerConnection
from curier.broker.witness import Witness
from curier.protocol.connection import Connection, Tap
from curier.session.message import ApplicationMessage

HOOK_FAILED: Final = -1  # in place of a Reason Code: a hook that was asked has not answered
MOST_NESTED: Final = 2  # hooks that wait for each other, because one of them published something


@mypyc_attr(allow_interpreted_subclasses=True)
class Hook:
    """Override what you want to hear of. Client Identifiers are text, topics UTF-8 bytes."""

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        """A client is connected; CONNACK is on its way."""

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client was refused, or disconnected for breaking a rule. ``why`` names the rule."""

    def on_refuse_publish(
        self, connection: BrokerConnection, topic: bytes, packet_id: int, reason_code: int, why: str
    ) -> None:
        """A client's PUBLISH was refused, on this topic, with this Packet Identifier (QoS 0: 0);
        ``on_refuse`` was told of it before.
        """

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client that was connected is no more."""

    def on_slow(self, connection: BrokerConnection, why: str) -> None:
        """A rate slows what a client sends, or is sent. ``why`` names the rate. Told once a minute of each
        connection, however often it happens.
        """

    def on_session_end(self, client_id: str, why: str) -> None:
        """A Session is gone: expired, discarded by Clean Start, or never meant to last."""

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        """A subscription was asked for; below 0x80 it was granted."""

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        """A subscription was removed by its client."""

    def on_revoke(self, client_id: str, topic_filter: bytes, why: str) -> None:
        """A subscription has ended because the rules no longer allow it. ``why`` names the rule."""

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


EVENTS: Final = {  # with what they are called with
    "on_connect": ("connection", "session_present"),
    "on_refuse": ("connection", "reason_code", "why"),
    "on_refuse_publish": ("connection", "topic", "packet_id", "reason_code", "why"),
    "on_disconnect": ("connection", "reason_code", "why"),
    "on_slow": ("connection", "why"),
    "on_session_end": ("client_id", "why"),
    "on_subscribe": ("connection", "topic_filter", "reason_code"),
    "on_unsubscribe": ("connection", "topic_filter"),
    "on_revoke": ("client_id", "topic_filter", "why"),
    "on_publish": ("connection", "message"),
    "on_drop": ("client_id", "message", "why"),
    "on_delivered": ("client_id", "message", "reason_code"),
    "on_packet": ("connection", "is_outgoing", "data", "now"),
}


@final
class Listener:
    """One event of one hook. Its result is taken as whatever it is: both forms of curier see the same."""

    __slots__ = ("call", "name")

    def __init__(self, hook: Hook, event: str) -> None:
        self.call: Callable[..., object] = getattr(hook, event)
        self.name: str = f"{type(hook).__name__}.{event}"


Listeners = tuple[Listener, ...]


def check_hook(hook: object) -> None:
    """Raise ``TypeError`` for what cannot be a hook: another class, or events that cannot be called as they
    are. So a slip is known when the hook is added, not when the first client comes.
    """
    if not isinstance(hook, Hook):
        raise TypeError(f"a hook is an object of a subclass of Hook, not {hook!r}")
    for event, parameters in EVENTS.items():
        own = getattr(Hook, event)
        if getattr(type(hook), event) is own:
            continue
        name = f"{type(hook).__name__}.{event}"
        method: object = getattr(hook, event)
        if not callable(method):
            raise TypeError(f"{name} cannot be called: it is {method!r}")
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise TypeError(f"{name} is a coroutine function: hooks cannot wait, so it has to be a plain one")
        if inspect.isgeneratorfunction(method):
            raise TypeError(f"{name} is a generator function: it would do nothing when it is called")
        try:
            signature = inspect.signature(method)
        except (TypeError, ValueError):  # of something that does not say
            continue
        try:
            signature.bind(*parameters)
        except TypeError as error:
            raise TypeError(f"{name} must take ({', '.join(parameters)}): {error}") from None


@final
class Hooks:
    """The hooks of a broker, by event."""

    def __init__(self, faults: Faults) -> None:
        self.faults: Faults = faults
        self.depth: int = 0  # calls of hooks that are going on, each within the last
        self.all: list[Hook] = []
        self.connect: Listeners | None = None
        self.refuse: Listeners | None = None
        self.refuse_publish: Listeners | None = None
        self.disconnect: Listeners | None = None
        self.slow: Listeners | None = None
        self.session_end: Listeners | None = None
        self.subscribe: Listeners | None = None
        self.unsubscribe: Listeners | None = None
        self.revoke: Listeners | None = None
        self.publish: Listeners | None = None
        self.drop: Listeners | None = None
        self.delivered: Listeners | None = None
        self.packet: Listeners | None = None
        self.witness: Witness | None = None  # who looks on, too

    def set(self, hooks: list[Hook]) -> None:
        """Replace all hooks. Raises ``TypeError`` for what cannot be one, and nothing has changed then."""
        for hook in hooks:
            check_hook(hook)
        self.all = list(hooks)
        self.connect = self._having("on_connect")
        self.refuse = self._having("on_refuse")
        self.refuse_publish = self._having("on_refuse_publish")
        self.disconnect = self._having("on_disconnect")
        self.slow = self._having("on_slow")
        self.session_end = self._having("on_session_end")
        self.subscribe = self._having("on_subscribe")
        self.unsubscribe = self._having("on_unsubscribe")
        self.revoke = self._having("on_revoke")
        self.publish = self._having("on_publish")
        self.drop = self._having("on_drop")
        self.delivered = self._having("on_delivered")
        self.packet = self._having("on_packet")

    def _having(self, event: str) -> Listeners | None:
        own = getattr(Hook, event)
        hooks = [Listener(hook, event) for hook in self.all if getattr(type(hook), event) is not own]
        return tuple(hooks) if hooks else None

    def tell(
        self, listeners: Listeners, connection: BrokerConnection | None, arguments: tuple[object, ...]
    ) -> None:
        """Tell all who want to hear of an event. One that raises costs ``connection``, if that is given."""
        for listener in listeners:
            self.depth += 1
            try:
                result = listener.call(*arguments)
                if result is not None and hasattr(result, "__await__"):
                    _close(result)
                    raise TypeError("it returned something to await, and hooks cannot wait")
            except Exception as error:
                self._failed(listener, connection, error)
            finally:
                self.depth -= 1

    def _failed(self, listener: Listener, connection: BrokerConnection | None, error: Exception) -> None:
        if connection is None or connection.is_closed():
            self.faults.note(f"the hook {listener.name} has failed; nobody pays for it", error)
        else:
            self.faults.met(f"the hook {listener.name} has failed", error, connection)

    def witnessed(
        self,
        kind: str,
        client_id: str,
        connection: BrokerConnection | None,
        message: ApplicationMessage | None,
        why: str,
    ) -> None:
        """Tell who looks on what has happened."""
        witness = self.witness
        if witness is not None:
            try:
                witness.happened(kind, client_id, connection, message, why)
            except Exception as error:
                self.no_more(error)

    def no_more(self, error: Exception) -> None:
        """Who looks on has failed."""
        self.witness = None
        self.faults.note("who looks on has failed, and sees nothing more", error)

    def ask(
        self, listeners: Listeners, connection: BrokerConnection | None, message: ApplicationMessage
    ) -> int:
        """Ask whether ``message`` may be published: 0, the first refusal, or ``HOOK_FAILED``.

        A hook that raises, or whose answer is neither 0 nor a Reason Code that refuses, has refused.
        """
        for listener in listeners:
            self.depth += 1
            try:
                result = listener.call(connection, message)
                if not isinstance(result, int) or isinstance(result, bool):
                    _close(result)
                    raise TypeError(f"it returned {result!r}, not 0 or a Reason Code from 0x80 to 0xFF")
                if result:
                    if not 0x80 <= result <= 0xFF:
                        raise ValueError(f"it returned {result!r}, not 0 or a Reason Code from 0x80 to 0xFF")
                    return int(result)
            except Exception as error:
                whose = "a will" if connection is None else f"a message of {name_of(connection)}"
                topic = message.topic[:100].decode(errors="replace")
                text = f"the hook {listener.name} has failed; {whose} on {topic!r} is refused"
                self.faults.note(text, error)
                return HOOK_FAILED
            finally:
                self.depth -= 1
        return 0


@final
class HookTap(Tap):
    """Shows every packet to the hooks that want packets, and to who looks on."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks: Hooks = hooks

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        if not isinstance(connection, BrokerConnection):
            return
        hooks = self.hooks.packet
        if hooks is not None:
            self.hooks.tell(hooks, connection, (connection, is_outgoing, data, now))
        witness = self.hooks.witness
        if witness is not None:
            try:
                witness.packet(connection, is_outgoing, data)
            except Exception as error:
                self.hooks.no_more(error)


def _close(result: object) -> None:
    """Close a coroutine that nobody will wait for, so that Python does not complain of it, too."""
    if inspect.iscoroutine(result):
        result.close()
