"""What is served where."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from curier.server import Broker
from curier.web import metrics
from curier.web.health import why_not_ready
from curier.web.identity import Identities
from curier.web.problems import Problem, problem


def application(
    broker: Broker, more: Sequence[BaseRoute] = (), asked_for_metrics: Identities | None = None
) -> Starlette:
    """The ASGI application for ``broker``, with further routes; ``asked_for_metrics`` knows who may see
    metrics, None: everybody may.
    """

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        why = why_not_ready(broker)
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    async def exposition(request: Request) -> Response:
        if asked_for_metrics is not None:
            asked_for_metrics.of(request)
        return Response(metrics.text(broker), media_type=metrics.CONTENT_TYPE)

    made = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", exposition),
            *more,
        ],
        exception_handlers={Problem: _problem, HTTPException: _http_problem},
    )
    made.router.redirect_slashes = False  # to an address that is not the one behind a proxy
    return made


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error.status, error.detail, error.headers)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = error.detail
    if error.status_code == 404:
        why = (
            f"there is nothing at {request.url.path[:200]!r}; api/v1/ says what there is, and a proxy in "
            "front has to take away the path that it adds, or it is said (prefix below [web], --web-prefix)"
        )
    if error.status_code == 405:
        why = f"{request.method} is not what can be done there; api/v1/ says what can"
    return problem(error.status_code, why, dict(error.headers or {}))
