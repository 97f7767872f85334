"""What a program gives a ``Broker``, looked at before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable

from curier.auth.base import Authenticator
from curier.broker.hooks import Hook, check_hook
from curier.broker.options import Options
from curier.codec.properties import Properties
from curier.codec.publish import forwarded_properties
from curier.errors import ConfigError
from curier.listeners import A_LISTENER, Listen, Listener
from curier.net.doors import check_doors
from curier.session.message import ApplicationMessage
from curier.types import Message


def check_options(options: Options) -> None:
    """Raise ``ConfigError`` for one that cannot be."""
    try:
        options.check()
    except ValueError as error:
        raise ConfigError(str(error)) from None


def expect(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise ``TypeError`` for an argument that is neither of this kind nor None."""
    if value is None or isinstance(value, kind):
        return
    got = f"the class {value.__name__}, not an object of it" if isinstance(value, type) else f"{value!r:.100}"
    raise TypeError(f"{name}: expected {expected}; got {got}")


def listeners_of(listen: object) -> list[Listener]:
    """The listeners that a program has given; None is none. Raises ``TypeError``, ``ConfigError``."""
    if listen is None:
        return []
    given = [listen] if isinstance(listen, str | bytes | Listener) else listen
    if not isinstance(given, Iterable):
        raise TypeError(f"listen: expected a URL, or several, such as {A_LISTENER!r}; got {given!r:.100}")
    found = [one if isinstance(one, Listener) else Listener(one) for one in given]
    if not found:
        raise ConfigError(f"a broker needs at least one address to listen on, such as {A_LISTENER}")
    check_doors(found)
    return found


def check_anonymous(listener: Listener, address: Listen, authenticator: Authenticator | None) -> None:
    """Raise ``ConfigError`` where nobody decides who may connect, and somebody has to."""
    why = listener.why_closed(address) if authenticator is None else ""
    if why == "nobody":
        raise ConfigError(
            f"{address}: nobody can connect there: pass an authenticator, or allow_anonymous=True"
        )
    if why == "everybody":
        raise ConfigError(
            f"{address} can be reached from other machines: pass an authenticator, "
            "or AllowAnonymous() to let everybody in"
        )


def check_all_anonymous(listeners: Iterable[Listener], authenticator: Authenticator | None) -> None:
    """The same of all listeners, as far as it is known where they are."""
    for listener in listeners:
        if listener.address.carrier != "fd":  # that one is looked at when it is opened
            check_anonymous(listener, listener.address, authenticator)


def hooks_of(hooks: object) -> list[Hook]:
    """The hooks that a program has given. Raises ``TypeError``."""
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks: expected a list of curier.Hook objects; got {hooks!r:.100}")
    found = list(hooks)
    for hook in found:
        if hook is None:
            raise TypeError("hooks: expected curier.Hook objects; got None")
        expect("hooks", hook, Hook, "curier.Hook objects")
        check_hook(hook)
    return found


def application_message(message: Message, now: float) -> ApplicationMessage:
    """The core's form of a public ``Message``."""
    properties = Properties()
    properties.payload_format_indicator = 1 if message.payload_is_text else None
    properties.content_type = message.content_type
    properties.response_topic = message.response_topic
    properties.correlation_data = message.correlation_data
    properties.user_properties = list(message.user_properties)
    return ApplicationMessage(
        message.topic.encode(),
        message.payload,
        int(message.qos),
        message.retain,
        forwarded_properties(properties),
        now + message.message_expiry if message.message_expiry is not None else 0.0,
    )
