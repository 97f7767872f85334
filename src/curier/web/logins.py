"""Logins of users of the broker, by name and password: those that the settings name, as what they say.

The broker's own authenticators are asked, so bans, and what keeps guesses from costing much, hold here too.
A failure is one answer, whatever its reason, and comes no sooner for one than for another: the log has more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from curier.auth.base import Credentials, Verdict
from curier.auth.chain import Chain
from curier.loglines import logger, printable
from curier.places import place_of
from curier.web.forms import Form
from curier.web.handling import JSON, body_of
from curier.web.identity import SESSION_SECONDS, Identities, check_header, check_site, unknown
from curier.web.people import People
from curier.web.problems import Problem
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.tokens import Known

log = logger("curier.web")

WINDOW: Final = "window"
"""What authenticators and the audit log see as the listener."""

FAILURE_SECONDS: Final = 1.0
"""After the question a failure is answered, or when that is known, if it takes longer."""

UNSURE_SECONDS: Final = 3600.0
"""How long a login lasts of a user of whom nobody says when they may connect no more."""

MOST_AT_ONCE: Final = 100
MOST_OF_PLACE: Final = 8

LONGEST: Final = 65_535
"""Bytes of a user name or a password in a CONNECT [MQTT-1.5.4, 1.5.6]: authenticators know no longer ones."""

FAILED: Final = (
    "the user name or the password is wrong, or this user may not log in here; the log of the broker has more"
)


class LogIn(Form):
    """Who somebody says they are."""

    user: str
    password: str


class Logins:
    """``people`` says who may log in as what; it is called each time, since that may change."""

    def __init__(self, scene: Scene, identities: Identities, people: Callable[[], People]) -> None:
        self._scene = scene
        self._identities = identities
        self._people = people
        self._waiting: Counter[str] = Counter()  # by place

    def routes(self) -> list[BaseRoute]:
        """What the page asks, without a login: whether there can be one, and the login itself."""
        return [Route("/session/user", self._answer, methods=["GET", "POST"])]

    def are_possible(self) -> bool:
        """Whether anybody may log in."""
        return any(self._people()) and self._scene.broker.knows_users

    async def _answer(self, request: Request) -> Response:
        check_site(request)
        if request.method != "POST":
            return Response(msgspec.json.encode({"possible": self.are_possible()}), media_type=JSON)
        check_header(request)
        if not self._scene.broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        if not self.are_possible():
            raise Problem(
                403,
                "no user of the broker may log in here: viewers, operators and admins below [web] name none, "
                "or nobody decides who may connect",
            )
        client = request.client
        who = await self.log_in(
            await body_of(request, LogIn),
            (client.host, client.port) if client is not None else ("", 0),
        )
        self._identities.log_in(request, response := Response(status_code=204), who)
        return response

    async def log_in(self, said: LogIn, peer: tuple[str, int]) -> Known:
        """Who that is. Raises ``Problem``."""
        host, port = peer
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # as that of a client
        place = place_of(address)
        if self._waiting[place] >= MOST_OF_PLACE or self._waiting.total() >= MOST_AT_ONCE:
            raise Problem(429, "too many logins at once; come again in a second", {"retry-after": "1"})
        self._waiting[place] += 1
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            who, why = await self._judged(said, address)
            if who is not None:
                who = who._replace(address=host)
                self._scene.audit(who, "login")
                return who
            self._tell(said.user, address, why)
            await asyncio.sleep(began + FAILURE_SECONDS - clock())
        finally:
            self._waiting -= Counter((place,))  # which forgets a place where nobody waits
        raise unknown(FAILED)

    async def _judged(self, said: LogIn, address: str) -> tuple[Known | None, str]:
        """Who it is, or None and why not, for the log."""
        why = _why_nobody(said)
        if why:
            return None, why
        broker = self._scene.broker
        began = asyncio.get_running_loop().time()
        verdict = await broker.who_is(
            Credentials("", said.user, said.password.encode(), address, WINDOW, 5, listener_name=WINDOW)
        )
        if not verdict.accepted:
            return None, verdict.why or verdict.reason_string or "refused"
        name = verdict.identity if verdict.identity is not None else said.user
        role = self._people().role_of(name, verdict.groups)
        if role is None:
            if isinstance(broker.authenticator, Chain):  # or the time would say that the password is right
                await broker.authenticator.take_time(Verdict(0x87), began)
            return None, f"{name} is named neither below viewers nor operators nor admins of [web]"
        return self._known(name, role, verdict), ""

    def _known(self, name: str, role: Role, verdict: Verdict) -> Known:
        why_no_more, groups = verdict.why_no_more, verdict.groups
        seconds = UNSURE_SECONDS if why_no_more is None else SESSION_SECONDS
        if verdict.expires_at is not None:
            seconds = min(seconds, verdict.expires_at - time.time())

        def still() -> Role | None:
            if why_no_more is not None and why_no_more():
                return None
            return self._people().role_of(name, groups)

        return self._identities.user(name, role, still, seconds)

    def _tell(self, user: str, address: str, why: str) -> None:
        audit = self._scene.broker.audit
        if audit is not None:
            audit.login_refused(user, address, WINDOW, why)
        log.info("%s at %s may not log in to the window: %s", printable(user[:200]), address, printable(why))


def _why_nobody(said: LogIn) -> str:
    """What no CONNECT could have, or nobody who is to be somebody."""
    if not said.user or not said.password:
        return "a user name and a password are needed"
    if "\0" in said.user:  # [MQTT-1.5.4-2]
        return "no user name has a null character"
    if max(len(said.user.encode()), len(said.password.encode())) > LONGEST:
        return f"a user name or a password has at most {LONGEST} bytes"
    return ""
