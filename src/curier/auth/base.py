"""Who may connect and what they may do: the two questions a broker asks, and the shape of the answer.

An ``Authenticator`` is asked once for every CONNECT (MQTT 5.0 section 3.1) and once for every AUTH packet
of an enhanced exchange (section 4.12). An ``Authorizer`` is asked when a client first publishes to a
topic or subscribes to a filter. Both are async, so that they may ask a database or another process; only
the client in question waits. ``curier.testing.seams`` holds the tests that every implementation passes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, NoneType
from typing import Any, Final, Literal, NamedTuple

from curier.types import ReasonCode

Action = Literal["publish", "subscribe"]

ACCEPT: Final = int(ReasonCode.SUCCESS)
CONTINUE: Final = int(ReasonCode.CONTINUE_AUTHENTICATION)
NO_CLAIMS: Final[Mapping[str, str]] = MappingProxyType({})


class LocalPeer(NamedTuple):
    """Who is at the other end of a Unix socket: numbers of user, group and process, as the kernel had them
    when it connected (unix(7), SO_PEERCRED). The process may have ended since, and its number be another's.
    """

    uid: int
    gid: int
    pid: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate, which TLS has verified against the listener's ``client_ca``.

    ``der`` is all of it; ``fields`` what Python's ``ssl.SSLSocket.getpeercert`` reads out of it: ``subject``,
    ``issuer``, ``subjectAltName``, ``notAfter`` and others.
    """

    der: bytes = field(repr=False)
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says about itself, and what the broker sees of it.

    ``address`` is the peer's, as text; ``listener`` the URL it came in by, ``listener_name`` what people call
    that, the same URL where it was given no name; ``protocol_version`` 3, 4 or 5.
    ``authentication_method`` and ``authentication_data`` come from CONNECT or, in an exchange, from the
    AUTH packet being answered (5.0 sections 3.1.2.11.9 and 3.15.2.2). ``certificate`` is the one that the
    client has shown to us, ``certificate_name`` a name in one that was verified by us or by a proxy that is
    trusted to.
    ``psk_identity`` is whose key of the listener's ``psk_file`` the client has.
    ``local_peer`` is who came by a Unix socket, where the system tells it. Secrets are kept out of ``repr``.
    """

    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)
    address: str
    listener: str
    protocol_version: int
    authentication_method: str | None = None
    authentication_data: bytes | None = field(default=None, repr=False)
    certificate: Certificate | None = None
    certificate_name: str | None = None
    local_peer: LocalPeer | None = None
    listener_name: str = ""
    psk_identity: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer: ``reason_code`` 0 accepts, 0x18 asks for another AUTH step, 0x80 and above refuse.

    ``reason_string`` goes to the client, so it must not say more than a stranger may know. ``identity``
    is who the client now is, in a refusal who it claims to be; ``None`` stands for its user name, checked or
    not. ``authentication_data`` goes
    to the client with CONNACK or AUTH. ``state`` is handed back at the next step of the same exchange.

    ``why`` is for the log and never sent: it may say what a stranger must not know, but no secret.
    ``is_mine`` False is for authenticators in a ``Chain`` that know nothing of this client: the next one is
    asked; where there is none, it is a refusal like any other. ``groups`` and ``claims`` are what else is
    known of a client that is accepted; ``expires_at`` (seconds since 1970) when that is over: then its
    connection ends with 0x87, unless it has authenticated again and was given a later time.
    ``why_no_more`` is asked, when the authenticator's ``look`` has found a change, why this client would be
    accepted no more; "" where it still is. Others are disconnected with 0x87; the answer is for the log.
    """

    reason_code: int
    reason_string: str = ""
    identity: str | None = None
    authentication_data: bytes | None = field(default=None, repr=False)
    state: object = field(default=None, repr=False)
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, str] = field(default_factory=lambda: NO_CLAIMS, repr=False, hash=False)
    expires_at: float | None = None
    why: str = ""
    is_mine: bool = True
    why_no_more: Callable[[], str] | None = field(default=None, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether this is a yes; another AUTH step is neither yes nor no."""
        return self.reason_code == ACCEPT


NOT_MINE: Final = Verdict(
    ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", is_mine=False, why="nobody knows it"
)
"""Of an authenticator that knows nothing of a client."""


def check_verdict(verdict: Verdict) -> None:
    """Raise ``TypeError`` for an answer that is none; what it says instead may be a secret."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"expected a Verdict as the answer, got an object of type {type(verdict).__name__}")
    for name, kind in _KINDS:
        value = getattr(verdict, name)
        if not isinstance(value, kind):
            raise TypeError(f"{name} of the Verdict is of type {type(value).__name__}")
    if not verdict.is_mine and verdict.reason_code < 0x80:
        raise TypeError("the Verdict does not refuse, and yet says that the client is not known")
    if verdict.identity is not None and not _is_utf8(verdict.identity):
        raise TypeError("identity of the Verdict cannot be written as UTF-8")
    if not all(isinstance(group, str) for group in verdict.groups):
        raise TypeError("groups of the Verdict are not all text")
    if not all(isinstance(part, str) for item in verdict.claims.items() for part in item):
        raise TypeError("claims of the Verdict are not all text")
    if verdict.expires_at is not None and not math.isfinite(verdict.expires_at):
        raise TypeError("expires_at of the Verdict is not a point in time")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_KINDS: Final[tuple[tuple[str, Any], ...]] = (
    ("reason_code", int),
    ("reason_string", str),
    ("identity", (str, NoneType)),
    ("authentication_data", (bytes, NoneType)),
    ("groups", frozenset),
    ("claims", Mapping),
    ("expires_at", (int, float, NoneType)),
    ("why", str),
    ("is_mine", bool),
    ("why_no_more", (Callable, NoneType)),
)


class Authenticator(ABC):
    """Decides who may connect.

    The contract: ``authenticate`` and ``exchange`` return a ``Verdict`` for whatever strangers send; a
    refusal is a ``Verdict``, not an exception. Its Reason Code is one that CONNACK may carry (5.0 section
    3.2.2.2). They may be called for many clients at once and be cancelled at any await, when the client
    leaves. They never block the event loop, and never log or return a password. One authenticator may
    outlive an event loop.
    """

    hides_names = True
    """Whether it has to see to it that a refusal takes as long for clients it does not know as for others. A
    ``Chain`` of several does so itself, and sets this to False."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        return type(self).__name__

    @property
    def look_seconds(self) -> float:
        """How often a broker is to call ``look``; 0: never."""
        return 0.0

    async def look(self) -> int:
        """Look whether what it knows has changed. Returns a number that is another one whenever it might
        accept somebody no more: then a broker asks ``why_no_more`` of those who are there. Raises nothing.
        """
        return 0

    @property
    def methods(self) -> frozenset[str]:
        """The Authentication Methods it knows; a client that names another is refused before it is asked."""
        return frozenset()

    def reload(self) -> bool:
        """Read again what it knows; returns whether that comes from anywhere. Raises ``ConfigError``; what it
        knew before stays then.
        """
        return False

    @abstractmethod
    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT. With an Authentication Method, 0x18 begins an exchange of AUTH packets."""

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet of the client (5.0 section 4.12).

        ``state`` is that of the verdict before; ``None`` at the first step of a re-authentication.
        """
        return Verdict(
            ReasonCode.BAD_AUTHENTICATION_METHOD, "this broker knows no such Authentication Method"
        )


class Authorizer(ABC):
    """Decides who may publish and subscribe to what.

    The broker remembers each verdict for the connection, action and topic it was given for, with its QoS and
    retain flag, until ``changed()`` is called; so the same question must have the same answer until then. A
    refusal is a ``Verdict``, not an exception, with a Reason Code that PUBACK (5.0 section 3.4.2.1) or
    SUBACK (section 3.9.3) may carry; 0x87 Not authorized is the plain one. ``authorize`` may be called for
    many clients at once and be cancelled at any await.
    """

    _watchers: tuple[Callable[[], None], ...] = ()

    @abstractmethod
    async def authorize(
        self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
    ) -> Verdict:
        """Answer whether this client may do this.

        ``topic`` is a Topic Name when publishing, a Topic Filter when subscribing (with its ``$share/...``
        prefix, if it has one); ``qos`` and ``retain`` are those of the message, or the QoS asked for and
        ``False`` of the subscription. ``identity`` is ``None`` for an anonymous client.
        """

    def changed(self) -> None:
        """Say that the rules have changed: every remembered verdict is forgotten.

        Call it from the thread of the event loop that the broker runs in.
        """
        for watcher in self._watchers:
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have ``watcher`` called at every ``changed()``; the broker does this for itself."""
        self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Undo one ``watch``; a watcher that is not there is ignored."""
        kept = list(self._watchers)
        if watcher in kept:
            kept.remove(watcher)
        self._watchers = tuple(kept)


class AllowAnonymous(Authenticator):
    """Lets everyone in, whatever they say.

    The identity of a client is then the user name it claims, which nobody has checked: do not give rights
    to it.
    """

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Accept."""
        return Verdict(ACCEPT)
