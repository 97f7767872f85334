"""What is served where."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from curier.server import Broker
from curier.web import metrics
from curier.web.health import why_not_ready
from curier.web.problems import Problem, problem


def application(broker: Broker, routes: Sequence[Route] = (), open_metrics: bool = True) -> Starlette:
    """The ASGI application for ``broker``, with further ``routes``."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        why = why_not_ready(broker)
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    async def exposition(request: Request) -> Response:
        if not open_metrics:
            raise Problem(401, "metrics are open on loopback only: set open_metrics below [web]")
        return Response(metrics.text(broker), media_type=metrics.CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", exposition),
            *routes,
        ],
        exception_handlers={Problem: _problem, HTTPException: _http_problem},
    )


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error.status, error.detail, error.headers)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = error.detail
    if error.status_code == 404:
        why = "there is nothing of this name; /api/v1/openapi.json says what there is"
    return problem(error.status_code, why, dict(error.headers or {}))
