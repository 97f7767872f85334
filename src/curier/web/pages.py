"""The pages: files of this package, as they are. They ask the API for all else.

An address names one of the files that were there when the broker started, and nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curier.web.libraries import missing

FOLDER: Final = Path(__file__).parent / "pages"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
NOT_BUILT: Final = """This curier was built without its pages: there was no npm to fetch four libraries with.
With one at hand, `python -m curier.web.libraries` puts them in their place, for the next start.

The API is here all the same: /api/v1/ lists it, `curier admin` uses it. /metrics is here, too.
"""


class File:
    """One file: what is sent, and how it is known again."""

    def __init__(self, path: Path) -> None:
        self.kind: Final = TYPES[path.suffix]
        self.content: Final = path.read_bytes()
        self.tag: Final = f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        """The file, unless the browser has it already."""
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.kind, headers=headers)


def routes(folder: Path = FOLDER) -> list[Route]:
    """One for each file, and one for the address of the pages."""
    if missing(folder / "lib") or not (folder / "index.html").is_file():
        return [Route("/", _not_built)]
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file()]
    found = {path.relative_to(folder).as_posix(): File(path) for path in paths}
    index = found.pop("index.html")
    return [_route("/", index), *(_route(f"/pages/{name}", file) for name, file in found.items())]


def _route(path: str, file: File) -> Route:
    async def answer(request: Request) -> Response:
        return file.answer(request)

    return Route(path, answer)


async def _not_built(request: Request) -> Response:
    return Response(NOT_BUILT, 503, media_type="text/plain; charset=utf-8")
