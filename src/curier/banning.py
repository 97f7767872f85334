"""Bans at work: what the answers about clients say is counted, and who is banned is not asked about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from curier.auditing import Audit
from curier.auth.bans import CLIENT, UNNAMED, USER, Ban, Bans, BanSettings
from curier.auth.base import Credentials, Verdict
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.loglines import logger, printable
from curier.types import ReasonCode

log = logger("curier.auth")

_WRONG: Final = (ReasonCode.BAD_USER_NAME_OR_PASSWORD, ReasonCode.NOT_AUTHORIZED)
_LOST: Final = (
    ReasonCode.UNSPECIFIED_ERROR,  # the network has closed
    ReasonCode.KEEP_ALIVE_TIMEOUT,
    ReasonCode.SESSION_TAKEN_OVER,
)
"""With which Reason Codes a connection ends that a client has lost, or that two of them fight for."""


class Banning(Hook):
    """Keeps the bans of a broker. ``clock`` gives seconds, from wherever; ``audit`` is told of bans."""

    def __init__(self, bans: Bans, clock: Callable[[], float], audit: Audit | None = None) -> None:
        self.bans: Final = bans
        self._clock = clock
        self._audit = audit

    def verdict(self, credentials: Credentials) -> Verdict | None:
        """That on somebody who is banned; None: nobody is."""
        why = self.bans.why_banned(credentials.address, _names(credentials), self._clock())
        return Verdict(ReasonCode.BANNED, why) if why else None

    def answered(self, credentials: Credentials, verdict: Verdict) -> None:
        """Count what somebody has answered about a client."""
        if credentials.username is None and credentials.password is None:
            if credentials.authentication_method is None:
                return  # it has not claimed to be anybody
        who = _names(credentials)[0]
        if credentials.username is None and verdict.identity is not None:
            who = USER + verdict.identity
        if verdict.accepted:
            self.bans.succeeded(credentials.address, who, self._clock())
        elif verdict.reason_code in _WRONG:
            for ban in self.bans.failed(credentials.address, who, self._clock()):
                self._tell(ban)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client has lost its connection, maybe; until now it was there."""
        if connection.identity is not None:
            self.bans.seen(connection.address, USER + connection.identity, self._clock())
        if reason_code in _LOST and not connection.has_left and not connection.assigned_client_id:
            ban = self.bans.flapped(connection.address, CLIENT + connection.client_id, self._clock())
            if ban is not None:
                self._tell(ban)

    def users_changed(self) -> None:
        """Who was wrong may be right now."""
        self.bans.lift_all_of_users()

    def present(self) -> list[Ban]:
        """All bans, those first that end last."""
        return self.bans.present(self._clock())

    def ban(self, place: str, who: str, seconds: float, why: str) -> Ban:
        """Ban somebody because an administrator says so; see ``Bans.ban``. Raises ``ValueError``."""
        ban = self.bans.ban(place, who, seconds, why, self._clock())
        self._tell(ban)
        return ban

    def lift(self, place: str, who: str = "") -> bool:
        """End the ban of an address or a network, or of ``who`` there; returns whether it was there."""
        return self.bans.lift(place, who)

    def change(self, settings: BanSettings) -> None:
        """Ban by other settings from now on; bans that there are last as long as they were to."""
        self.bans.change(settings)

    def _tell(self, ban: Ban) -> None:
        seconds = round(ban.until - self._clock())
        log.warning("%s is banned for %d s: %s", printable(ban.whom), seconds, ban.why)
        if self._audit is not None:
            self._audit.banned(ban, seconds)


def _names(credentials: Credentials) -> tuple[str, ...]:
    """What a client goes by; the first is who it claims to be."""
    client_id, username = credentials.client_id, credentials.username
    if username is None and credentials.authentication_data is not None:
        username = _user_of_scram(credentials.authentication_data)
    return UNNAMED + client_id if username is None else USER + username, CLIENT + client_id


_SCRAM: Final = re.compile(rb"[nyp][^,]*,[^,]*,(?:m=[^,]*,)?n=([^,]+)")


def _user_of_scram(data: bytes) -> str | None:
    """Who a client's first message of SCRAM is about (RFC 5802, section 7)."""
    found = _SCRAM.match(data)
    name = found[1].replace(b"=2C", b",").replace(b"=3D", b"=") if found is not None else None
    return name.decode(errors="replace") if name is not None else None
