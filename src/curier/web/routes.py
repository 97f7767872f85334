"""The routes of the API, made from the table of operations; and of logging in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from curier.web import (
    access,
    administration,
    backups,
    bans,
    clients,
    clusters,
    drawing,
    fates,
    faults,
    mqtt,
    openapi,
    pins,
    queues,
    retained,
    topics,
    touring,
)
from curier.web.administration import overview_of
from curier.web.events import TOPICS
from curier.web.handling import HANDLERS, endpoint
from curier.web.identity import Identities
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.table import OPERATIONS, PREFIX
from curier.web.wire import Wire

__all__ = [
    "HANDLERS",
    "access",
    "administration",
    "backups",
    "bans",
    "clients",
    "clusters",
    "drawing",
    "fates",
    "faults",
    "mqtt",
    "pins",
    "queues",
    "retained",
    "topics",
    "touring",
]  # each fills the table of handlers

NOT_BUFFERED: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""What a proxy has to be told that would keep events for a while, or compress them."""

Endpoint = Callable[[Request], Awaitable[Response]]

KNOWN_SECONDS: Final = 1.0
BYE: Final = b"event: bye\ndata: {}\n\n"


def routes(scene: Scene, identities: Identities, wire: Wire, more: Sequence[BaseRoute]) -> list[BaseRoute]:
    """All of them; ``more`` are below ``PREFIX``, too."""
    document = msgspec.json.encode(openapi.document())

    async def described(request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def listed(request: Request) -> Response:
        return HTMLResponse(openapi.page())

    async def events(request: Request) -> Response:
        identities.of(request)
        asked = [one for one in request.query_params.get("topics", "overview").split(",") if one]
        if not asked or not {*asked} <= {*TOPICS}:
            raise Problem(400, f"topics: expected some of {', '.join(TOPICS)}, with commas between them")
        if not scene.broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        if scene.hub.is_full():
            raise Problem(503, "too many pages read events: close some of them", {"retry-after": "10"})
        stream = scene.hub.stream(frozenset(asked), lambda: overview_of(scene))
        return _streamed(stream, request, identities)

    async def log_in(request: Request) -> Response:
        who = identities.follow(request.query_params.get("once", ""))
        if who is None:
            raise Problem(401, "this link has been used, or is too old; curier admin login makes another one")
        response = RedirectResponse("./", 303)  # relative: a proxy may have put a path in front
        identities.log_in(request, response, who)
        return response

    async def log_in_with_token(request: Request) -> Response:
        identities.log_in(request, response := Response(status_code=204), identities.of(request))
        return response

    async def make_link(request: Request) -> Response:
        link = f"login?once={identities.link(identities.of(request))}"
        return Response(msgspec.json.encode({"link": link}), media_type="application/json")

    async def log_out(request: Request) -> Response:
        identities.of(request)
        identities.log_out(request, response := Response(status_code=204))
        return response

    inner = [
        Route("/", listed),
        Route("/openapi.json", described),
        Route("/events", events),
        Route("/backup", backups.download(scene, identities)),
        Route("/flows", _flows(scene, identities, wire)),
        Route("/session", log_in_with_token, methods=["POST"]),
        Route("/session/link", make_link, methods=["POST"]),
        Route("/session/end", log_out, methods=["POST"]),
        *more,
        *_operations(scene, identities),
    ]
    return [
        Route("/login", log_in),
        WebSocketRoute(mqtt.PATH, mqtt.Mqtt(scene, identities.of).serve),
        Mount(PREFIX, routes=inner),
    ]


def _operations(scene: Scene, identities: Identities) -> list[Route]:
    """Those of the table."""
    ways: dict[str, dict[str, Endpoint]] = {}
    for one in OPERATIONS:
        ways.setdefault(one.path, {})[one.method] = endpoint(one, scene, identities)
    return [Route(path, _by_method(ways[path]), methods=[*ways[path]]) for path in ways]


def _by_method(ways: dict[str, Endpoint]) -> Endpoint:
    """What can be done at a path: one route, so that the answer to any other method names all of them."""

    async def answer(request: Request) -> Response:
        return await ways["GET" if request.method == "HEAD" else request.method](request)

    return answer


def _flows(scene: Scene, identities: Identities, wire: Wire) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        identities.of(request)
        if not scene.broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        if wire.is_full():
            raise Problem(503, "too many pages look at the wire: close some of them", {"retry-after": "10"})
        said = request.query_params
        try:
            chosen = said.get("client_id", ""), said.get("topic", "")
            trace = wire.read(*chosen) if any(chosen) else wire.read_all()
        except ValueError as error:
            raise Problem(400, str(error)) from None
        return _streamed(wire.stream(trace), request, identities)

    return answer


def _streamed(stream: AsyncGenerator[bytes], request: Request, identities: Identities) -> Response:
    """Events for whoever asks, as long as the login or the token counts."""
    told = while_known(stream, lambda: identities.of(request))
    return StreamingResponse(told, headers=NOT_BUFFERED, media_type="text/event-stream")


async def while_known(stream: AsyncGenerator[bytes], known: Callable[[], object]) -> AsyncGenerator[bytes]:
    """A stream, until ``known`` raises ``Problem``: it is called before a piece, once a second at most."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    async with aclosing(stream):
        async for piece in stream:
            if loop.time() - asked_at >= KNOWN_SECONDS:
                asked_at = loop.time()
                try:
                    known()
                except Problem:
                    yield BYE
                    return
            yield piece
