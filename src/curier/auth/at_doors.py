"""What a listener decides by itself of who may connect, before anybody else is asked."""

from __future__ import annotations

from typing import Final

from curier.auth.base import ACCEPT, Authenticator, Credentials, Verdict
from curier.listeners import Listener
from curier.loglines import logger, printable
from curier.types import ReasonCode

_log = logger("curier.auth")

_NO_NAME: Final = Verdict(ReasonCode.NOT_AUTHORIZED, "clients without a user name may not connect here")
_NOBODY: Final = Verdict(ReasonCode.NOT_AUTHORIZED, "only clients with a certificate may connect here")
_NO_CERTIFICATE: Final = Verdict(
    ReasonCode.NOT_AUTHORIZED, "the certificate does not say who you are; the log of the broker says why"
)


def has_rules(listener: Listener) -> bool:
    """Does this listener decide anything of who may connect?"""
    return (
        listener.allow_anonymous is not None
        or listener.identity is not None
        or listener.psk_file is not None
        or listener.proxy_certificates
    )


class AtDoors(Authenticator):
    """Asks the listener that a client came by, and then, where that leaves it open, ``otherwise``.

    A certificate that has the name which the listener's ``identity`` asks for is enough: that is who the
    client is, and a user name and password that it sends besides are not looked at; so it is with the
    identity of a key in the listener's ``psk_file``. A certificate that is shown and does not have it is
    refused, and who has not shown any is treated like everybody. ``allow_anonymous`` of the listener, where
    it is not None, decides on clients without a user name; on those that send a password alone, which may be
    a token, or come by a Unix socket, when nobody knows them. ``otherwise`` None lets everybody in whom the
    listener does not refuse.
    """

    def __init__(self, otherwise: Authenticator | None) -> None:
        self.otherwise: Final = otherwise
        self._doors: Final[dict[str, Listener]] = {}

    def add(self, url: str, listener: Listener) -> None:
        """``listener`` is the one that credentials name ``url``."""
        self._doors[url] = listener

    @property
    def methods(self) -> frozenset[str]:
        """Those of ``otherwise``."""
        return self.otherwise.methods if self.otherwise is not None else frozenset()

    @property
    def look_seconds(self) -> float:
        """That of ``otherwise``."""
        return self.otherwise.look_seconds if self.otherwise is not None else 0.0

    async def look(self) -> int:
        """Look at ``otherwise``."""
        return await self.otherwise.look() if self.otherwise is not None else 0

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        listener = self._doors[credentials.listener]
        name, why = _name(listener, credentials)
        if name is not None:
            return Verdict(ACCEPT, identity=name)
        if why:
            where = credentials.listener_name or credentials.listener
            _log.warning("%s at %s is refused: %s", credentials.address, where, printable(why))
            return _NO_CERTIFICATE
        if credentials.username is None and credentials.authentication_method is None:
            if listener.allow_anonymous is not None:
                return await self._without_name(credentials, listener.allow_anonymous)
        if self.otherwise is not None:
            return await self.otherwise.authenticate(credentials)
        return _NOBODY if listener.allow_anonymous is False else Verdict(ACCEPT)

    async def _without_name(self, credentials: Credentials, is_allowed: bool) -> Verdict:
        shows_something = credentials.password is not None or credentials.local_peer is not None
        if self.otherwise is not None and shows_something:
            verdict = await self.otherwise.authenticate(credentials)
            is_nobody = verdict.accepted and verdict.identity is None  # whether those may is said here
            if verdict.is_mine and not is_nobody:
                return verdict
        if is_allowed:
            return Verdict(ACCEPT)
        return _NO_NAME if self.otherwise is not None else _NOBODY

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet: a matter of ``otherwise``."""
        if self.otherwise is None:
            return await super().exchange(credentials, state)
        return await self.otherwise.exchange(credentials, state)


def _name(listener: Listener, credentials: Credentials) -> tuple[str | None, str]:
    """Who the client's key or certificate says it is, or why that is not known; None and "": it has shown
    neither.
    """
    if credentials.psk_identity is not None:
        return credentials.psk_identity, ""
    if listener.identity is not None and credentials.certificate is not None:
        from curier.auth.identity import identity  # whose package is there wherever TLS is

        name, why = identity(credentials.certificate.der, listener.identity)
        return (name, "") if not why else (None, why)
    if listener.proxy_certificates and credentials.certificate_name is not None:
        name = credentials.certificate_name
        if not name.strip() or name != name.strip() or not name.isprintable():
            return None, "the name that the proxy read in the client's certificate is none that can be shown"
        return name, ""
    return None, ""
