"""Asks the API of a broker's window: the typed client behind ``curier admin``. Needs no server's packages.

answer = Api(local.only(None)).ask(table.CLIENTS, forms.ClientsQuery(search="dev"))
"""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from curier.errors import MqttError
from curier.web.local import Local
from curier.web.table import PREFIX, Answered, Asked, Operation

SECONDS: Final = 30.0


class ApiError(MqttError):
    """The API has refused, or cannot be asked; ``status`` is 0 for the second."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status: Final = status


class Api:
    """The API of one window, which has so many ``seconds`` for each answer. Raises ``ApiError``."""

    def __init__(self, local: Local, seconds: float = SECONDS) -> None:
        self._local = local
        parts = urlsplit(local.url)
        self._path = parts.path.rstrip("/")
        host, port = parts.hostname or "", parts.port
        self._connection: HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=local.certificate or None)
            context.check_hostname = not local.certificate  # that very one is trusted, by whatever name
            self._connection = HTTPSConnection(host, port, timeout=seconds, context=context)
        else:
            self._connection = HTTPConnection(host, port, timeout=seconds)

    def ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        """Ask for one thing."""
        body = None
        path = operation.path
        if operation.method == "GET":
            given = msgspec.to_builtins(asked)
            query = {name: _text(value) for name, value in given.items() if value is not None}
            path += f"?{urlencode(query)}" if query else ""
        else:
            body = msgspec.json.encode(asked)
        return msgspec.json.decode(self.raw(operation.method, path, body), type=operation.answered)

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of an answer."""
        headers = {"Authorization": f"Bearer {self._local.token}", "Content-Type": "application/json"}
        try:
            self._connection.request(method, f"{self._path}{PREFIX}{path}", body, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            raise ApiError(
                0, f"{self._local.url} cannot be asked: {str(error) or type(error).__name__}"
            ) from error
        if response.status >= 400:
            raise ApiError(response.status, _detail(answer, response.reason))
        return answer

    def close(self) -> None:
        """Ask nothing more."""
        self._connection.close()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _detail(answer: bytes, otherwise: str) -> str:
    try:
        return str(msgspec.json.decode(answer)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return otherwise
