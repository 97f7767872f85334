"""The routes of the API, made from the table of operations; and of logging in."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from curier.web import access, administration, bans, clients, openapi, topics
from curier.web.handling import HANDLERS, endpoint
from curier.web.identity import Identities
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.table import OPERATIONS, PREFIX

__all__ = [
    "HANDLERS",
    "access",
    "administration",
    "bans",
    "clients",
    "topics",
]  # each fills the table of handlers


def routes(scene: Scene, identities: Identities) -> list[Route | Mount]:
    """All of them."""
    document = msgspec.json.encode(openapi.document())

    async def described(request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def listed(request: Request) -> Response:
        return HTMLResponse(openapi.page())

    async def log_in(request: Request) -> Response:
        who = identities.follow(request.query_params.get("once", ""))
        if who is None:
            raise Problem(401, "this link has been used, or is too old; curier admin login makes another one")
        response = RedirectResponse("./", 303)  # relative: a proxy may have put a path in front
        identities.log_in(response, who, request.url.scheme == "https")
        return response

    async def log_in_with_token(request: Request) -> Response:
        who = identities.of(request)
        response = Response(status_code=204)
        identities.log_in(response, who, request.url.scheme == "https")
        return response

    async def make_link(request: Request) -> Response:
        link = f"login?once={identities.link(identities.of(request))}"
        return Response(msgspec.json.encode({"link": link}), media_type="application/json")

    async def log_out(request: Request) -> Response:
        identities.of(request)
        response = Response(status_code=204)
        identities.log_out(request, response)
        return response

    inner = [Route(one.path, endpoint(one, scene, identities), methods=[one.method]) for one in OPERATIONS]
    return [
        Route("/login", log_in),
        Route(f"{PREFIX}/", listed),
        Route(f"{PREFIX}/openapi.json", described),
        Route(f"{PREFIX}/session", log_in_with_token, methods=["POST"]),
        Route(f"{PREFIX}/session/link", make_link, methods=["POST"]),
        Route(f"{PREFIX}/session/end", log_out, methods=["POST"]),
        Mount(PREFIX, routes=inner),
    ]
