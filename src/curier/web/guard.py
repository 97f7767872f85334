"""What every request passes first: who is asked (Host), how often, and what every answer says of itself.

A browser can be made to ask a server on this machine by any page on the web, under a name of that page's
choice (DNS rebinding). So the name it asks for has to be one of ours. An address in its place is no name that
a stranger could bind, and passes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from ipaddress import ip_address
from typing import Final

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curier.broker.buckets import Buckets
from curier.listeners import Network
from curier.loglines import logger, printable
from curier.places import place_of
from curier.web.problems import problem
from curier.web.proxies import behind

log = logger("curier.web")

REQUESTS_PER_SECOND: Final = 100
"""From one address (a /64 of IPv6), in the long run; a request costs the loop some 0.3 ms."""

FILES_PER_SECOND: Final = 1000
"""The same for files of the pages: a view is some 60 of them, and somebody opens several at once."""

_FILES: Final = "/pages/"

_POLICY: Final = (
    b"default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors "
)
INGRESS: Final = b"x-ingress-path"
"""What Home Assistant adds to a request that it passes on. Its own pages, which come from the same place,
show ours in a frame; no page of a stranger can have a browser add it.
"""
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)  # fmt: skip
_NO_STORE: Final = (b"cache-control", b"no-store")


class Guard:
    """``app``, behind these checks. ``hosts`` are names it may be called by, besides loopback's; ``prefix``
    is a path that a proxy adds and leaves there, without a slash at its end; ``proxies`` are believed when
    they say who asks.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] = (), prefix: str = "", proxies: tuple[Network, ...] = ()
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._prefix = prefix
        self._hosts = frozenset(("localhost", *hosts))
        self._rates, self._file_rates = Buckets(), Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._proxies:
            scope = behind(scope, self._proxies)
        if self._prefix and scope["path"].startswith(f"{self._prefix}/"):
            scope = {**scope, "root_path": self._prefix}
        if scope["type"] == "websocket":
            if self._refusal(scope) is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close"})  # which is answered by 403
            return
        has_begun = False
        is_in_frame = any(name == INGRESS for name, _ in scope["headers"])

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = _with_always(message["headers"], is_in_frame)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(*refusal)(scope, receive, answer)
            return
        if self._prefix and scope["path"] == self._prefix:  # addresses of pages are below a slash
            last = self._prefix.rpartition("/")[2]
            await RedirectResponse(f"{last}/", 308)(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("an error in answering %s %s", scope["method"], printable(scope["path"]))
            if has_begun:
                raise  # ends the connection: an answer that is cut short must not look whole
            await problem(500, "the broker has met an error; its log has more")(scope, receive, answer)

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        name = name_of(host)
        if "*" not in self._hosts and name not in self._hosts and not _is_address(name):
            how = f'add "{name}" to hosts below [web] (--web-hosts)' if name else "say which host is asked"
            return 421, f"this server is not known by the name {printable(host)!r}: {how}", {}
        client = scope.get("client")
        place = place_of(f"{client[0]}:{client[1]}") if client else ""
        rates, rate = self._rates, REQUESTS_PER_SECOND
        if scope["path"].startswith((_FILES, f"{self._prefix}{_FILES}")):
            rates, rate = self._file_rates, FILES_PER_SECOND
        if not rates.lets_pass(place, rate, time.monotonic()):
            why = f"more than {rate} requests a second from {place}; come again in a second"
            return 429, why, {"retry-after": "1"}
        return None


def name_of(host: str) -> str:
    """The name in a Host header, without port, brackets and a dot at its end."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _with_always(headers: Sequence[tuple[bytes, bytes]], is_in_frame: bool) -> list[tuple[bytes, bytes]]:
    policy = _POLICY + (b"'self'" if is_in_frame else b"'none'")
    found = [*headers, *_ALWAYS, (b"content-security-policy", policy)]
    found.append((b"date", formatdate(usegmt=True).encode()))
    if not any(name == b"cache-control" for name, _ in headers):
        found.append(_NO_STORE)
    return found
