"""What is answered when something is wrong: problem details, as JSON (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from curier.web.refusal import Problem

__all__ = ["PROBLEM_JSON", "Problem", "ProblemDetails", "problem"]

PROBLEM_JSON: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """What went wrong. ``title`` is the status in words, ``detail`` says why, and what to do."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer."""
    details = ProblemDetails(HTTPStatus(status).phrase, status, detail)
    return Response(msgspec.json.encode(details), status, headers, PROBLEM_JSON)
