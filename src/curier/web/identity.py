"""Who asks: a token in ``Authorization: Bearer``, or a session that a login has begun, in a cookie.

A browser sends a cookie along with whatever some page has it ask. So what changes something needs, with a
cookie, a header that no other site's page can send unasked, and the same Origin; a token in a header is one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from curier.web.refusal import Problem
from curier.web.roles import Role
from curier.web.tokens import Known, Tokens, new_secret

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response

HEADER: Final = "x-curier"
SESSION_SECONDS: Final = 12 * 3600.0
MOST_SESSIONS: Final = 1000
LINK_SECONDS: Final = 600.0
MOST_LINKS: Final = 100

SAFE: Final = ("GET", "HEAD")


def cookie_of(request: HTTPConnection) -> str:
    """The name of the cookie. Browsers keep those of all ports of a host together, so the port is part of it:
    two brokers on one machine would log each other's people out.
    """
    server = request.scope.get("server")
    return f"curier-{server[1]}" if server and server[1] else "curier"


def _path_of(request: Request) -> str:
    """For which addresses the cookie is: behind a proxy that keeps the path it adds, for those below that."""
    return f"{request.scope.get('root_path', '')}/"


class _Expiring:
    """Secrets that lead to somebody for a while; the oldest goes where there are too many."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Known]] = OrderedDict()

    def add(self, who: Known) -> str:
        secret = new_secret()
        self._known[secret] = min(self._clock() + self._seconds, who.until), who
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return secret

    def get(self, secret: str) -> Known | None:
        until, who = self._known.get(secret, (0.0, None))
        if self._clock() >= until:
            self._known.pop(secret, None)
            return None
        return who

    def drop(self, secret: str) -> None:
        self._known.pop(secret, None)


class Identities:
    """Knows who asks. ``tokens`` is asked anew each time, since the file may change."""

    def __init__(self, tokens: Callable[[], Tokens], clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._sessions = _Expiring(SESSION_SECONDS, MOST_SESSIONS, clock)
        self._links = _Expiring(LINK_SECONDS, MOST_LINKS, clock)

    def link(self, who: Known) -> str:
        """A secret that logs ``who`` in, once, in the next ten minutes."""
        return self._links.add(who)

    def log_in(self, request: Request, response: Response, who: Known) -> None:
        """Begin a session, in a cookie that no script and no other site gets at."""
        response.set_cookie(
            cookie_of(request),
            self._sessions.add(who),
            path=_path_of(request),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def follow(self, secret: str) -> Known | None:
        """Whom a link logs in; it does so only once."""
        who = self._links.get(secret)
        self._links.drop(secret)
        return None if who is None else self._by_now(who)

    def user(self, name: str, role: Role, still: Callable[[], Role | None], seconds: float) -> Known:
        """A user of the broker, known for so long at most, and as what ``still`` says each time."""
        return Known(name, role, still=still, until=self._clock() + seconds)

    def _by_now(self, who: Known) -> Known | None:
        """The same one as of now; None: may nothing any more."""
        if who.token and not self._tokens().has(who.token):
            return None
        role = who.still() if who.still is not None else who.role
        return who._replace(role=role) if role is not None else None

    def log_out(self, request: Request, response: Response) -> None:
        """End the session."""
        name = cookie_of(request)
        self._sessions.drop(request.cookies.get(name, ""))
        response.delete_cookie(name, _path_of(request))

    def of_token(self, token: str) -> Known:
        """Whose token this is. Raises ``Problem``."""
        who = self._tokens().who(token)
        if who is None:
            raise unknown("this token is not known, or was taken back")
        return who

    def of(self, request: HTTPConnection) -> Known:
        """Who asks something, or for a WebSocket. Raises ``Problem`` where that is nobody known, or a page of
        some other site.
        """
        check_site(request)
        authorization = request.headers.get("authorization", "")
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer":
            return self.of_token(token.strip())
        secret = request.cookies.get(cookie_of(request), "")
        known = self._sessions.get(secret)
        who = self._by_now(known) if known is not None else None
        if known is not None and who is None:
            self._sessions.drop(secret)
            if known.still is not None:
                raise unknown(f"{known.name} may not log in any more, or has to do so again")
            raise unknown("the token by which this login was made was taken back")
        if who is None:
            raise unknown(
                "say who you are: a token in the header Authorization: Bearer (curier admin token makes "
                "one), or a login (curier admin login gives a link)"
            )
        if request.scope.get("method", "GET") not in SAFE:
            check_header(request)
        return who


def unknown(why: str) -> Problem:
    """Whoever asks is nobody known."""
    return Problem(401, why, {"www-authenticate": "Bearer"})


def check_header(request: HTTPConnection) -> None:
    """What no page of another site can send unasked. Raises ``Problem`` where it is not there."""
    if HEADER not in request.headers:
        raise Problem(403, "what changes something needs the header X-Curier: 1 beside the cookie")


def check_site(request: HTTPConnection) -> None:
    """No page of another site may ask, whatever its browser sends along."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        asked = request.headers.get("host", "")[:200]
        raise Problem(
            403,
            f"a page from {origin[:200]} may not ask this server, which was asked as {asked}; a proxy in "
            "front has to pass on the name it is asked by (Host)",
        )
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Problem(403, "a page of another site may not ask this server")
