"""A broker that is asked in memory, and a clock that stands still."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from curier.top.watching import Watch
from curier.web.client import ApiError
from curier.web.forms import (
    ClientRow,
    Clients,
    ClientsQuery,
    Overview,
    Payload,
    TopicRow,
    Topics,
    Trouble,
)
from curier.web.local import Local
from curier.web.table import CLIENTS, OVERVIEW, TOPICS, Answered, Asked, Operation


def overview(**fields: Any) -> Overview:
    """How a broker is of which nothing is said but that."""
    given = dict.fromkeys(Overview.__struct_fields__, 0) | {"version": "curier 1", "troubles": []}
    return msgspec.convert(given | fields, Overview)


def client(client_id: str, **fields: Any) -> ClientRow:
    given: dict[str, Any] = dict.fromkeys(ClientRow.__struct_fields__, 0)
    texts = {"client_id": client_id, "user": "", "address": "", "listener": "", "version": "5.0"}
    return msgspec.convert(given | {"connected": True} | texts | fields, ClientRow)


class FakeApi:
    """Answers what it was given; ``gone`` says why it cannot be asked."""

    def __init__(self) -> None:
        self.overview = overview(time=100.0)
        self.clients: list[ClientRow] = []
        self.topics: list[TopicRow] = []
        self.found: int | None = None
        self.gone: ApiError | None = None
        self.answers: dict[str, object] = {}  # of one client, by the path of the operation
        self.asked: list[ClientsQuery] = []
        self.tokens: list[str] = []

    def make(self, local: Local) -> FakeApi:
        self.tokens.append(local.token)
        return self

    def ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        if self.gone is not None:
            raise self.gone
        return cast(Answered, self._answer(operation, asked))

    def _answer(self, operation: Operation[Any, Any], asked: object) -> object:
        if operation is OVERVIEW:
            return self.overview
        if operation is CLIENTS:
            assert isinstance(asked, ClientsQuery)
            self.asked.append(asked)
            found = self.found if self.found is not None else len(self.clients)
            return Clients(self.clients, found, found)
        if operation.path in self.answers:
            answer = self.answers[operation.path]
            if isinstance(answer, ApiError):
                raise answer
            return answer
        assert operation is TOPICS
        return Topics(self.topics, len(self.topics))

    def close(self) -> None:
        """Nothing is open."""


class World:
    """A broker, and somebody who watches it."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.now = 1000.0
        self.starts = 0
        self.watch = Watch(self._find, self.api.make, lambda: self.now)

    def _find(self) -> Local:
        self.starts += 1
        return Local("http://127.0.0.1:9883", f"token {self.starts}")

    async def second(self, **counters: Any) -> None:
        """A second passes; some counters are other ones then."""
        self.now += 1
        self.api.overview = msgspec.structs.replace(
            self.api.overview, time=self.api.overview.time + 1, **counters
        )
        await self.watch.look()


def topic(name: str, text: str = "on") -> TopicRow:
    return TopicRow(name, Payload(len(text), len(text), text), 1, 90.0, "c1")


def trouble(text: str, level: str = "warning") -> Trouble:
    return Trouble(level, text)
