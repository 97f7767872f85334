"""How an operation is carried out: who may, what was asked, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from curier.web.identity import Identities
from curier.web.problems import Problem
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.table import Answered, Asked, Operation
from curier.web.tokens import Known

MOST_BODY: Final = 2 << 20  # bytes
BODY_SECONDS: Final = 10.0
JSON: Final = "application/json"

Handler = Callable[[Scene, Any, Known], Awaitable[Struct]]
HANDLERS: Final[dict[tuple[str, str], Handler]] = {}
"""What carries out each operation, by method and path."""

S = TypeVar("S", bound=Struct)


def handles(
    operation: Operation[Asked, Answered],
) -> Callable[
    [Callable[[Scene, Asked, Known], Awaitable[Answered]]],
    Callable[[Scene, Asked, Known], Awaitable[Answered]],
]:
    """Have a function carry out an operation."""

    def register(
        handler: Callable[[Scene, Asked, Known], Awaitable[Answered]],
    ) -> Callable[[Scene, Asked, Known], Awaitable[Answered]]:
        HANDLERS[operation.method, operation.path] = handler
        return handler

    return register


def endpoint(
    operation: Operation[Struct, Struct], scene: Scene, identities: Identities
) -> Callable[[Request], Awaitable[Response]]:
    """What answers requests for an operation."""
    handler = HANDLERS[operation.method, operation.path]

    async def answer(request: Request) -> Response:
        who = known_as(request, identities, operation.role)
        if not scene.broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        asked = await _asked(request, operation)
        return Response(msgspec.json.encode(await handler(scene, asked, who)), media_type=JSON)

    return answer


def known_as(request: Request, identities: Identities, role: Role) -> Known:
    """Who asks, and from where. Raises ``Problem`` where that is nobody of this role."""
    who = identities.of(request)
    if who.role < role:
        has = who.role.name.lower()
        raise Problem(403, f"this is for the role {role.name.lower()}, and {who.name} is {has}")
    return who._replace(address=request.client.host if request.client is not None else "")


async def _asked(request: Request, operation: Operation[Struct, Struct]) -> Struct:
    """What was asked, checked. Raises ``Problem``."""
    try:
        if operation.method == "GET":
            given: dict[str, str] = {}
            for name, value in request.query_params.multi_items():
                if name in given:
                    raise Problem(400, f"{name}: it is there twice")
                given[name] = value
            return msgspec.convert(given, operation.asked, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, str(error)) from None
    return await body_of(request, operation.asked)


async def body_of(request: Request, asked: type[S]) -> S:
    """What a POST asks, checked. Raises ``Problem``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Problem(415, f"the body has to be {JSON}, and say so (Content-Type)")
    try:
        return msgspec.json.decode(await _body(request) or b"{}", type=asked)
    except msgspec.ValidationError as error:
        raise Problem(400, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is no JSON: {error}") from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BODY:
                    raise Problem(413, f"a request may have {MOST_BODY} bytes")
    except TimeoutError:
        raise Problem(408, f"the request was not whole after {BODY_SECONDS:g} s") from None
    return bytes(body)
