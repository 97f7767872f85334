"""Three nodes, and people who are where they are told to be: what schedules have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from curier.cluster.cutting import Thrift
from curier.cluster.orders import SESSIONS, Write
from curier.cluster.records import Frame, SessionRecord
from curier.cluster.states import WHOLE
from curier.session.records import Record, decode
from tests.cluster.bus import Codec
from tests.cluster.people import Ledger, Person
from tests.cluster.world import WASTEFUL, World

R = TypeVar("R", bound=Record)


class Stage:
    """Three nodes, and people who are where they are told to be."""

    def __init__(
        self,
        seed: int = 1,
        whole: int = WHOLE,
        codec: Codec | None = None,
        thrift: Thrift = WASTEFUL,
    ) -> None:
        self.world = World(seed, whole=whole, codec=codec, thrift=thrift)
        self.ledger = Ledger(self.world)
        self.people: list[Person] = []
        self.where: dict[str, str] = {}
        self.world.run_until(lambda: all(self.world.is_open(name) for name in "abc"))

    def person(
        self,
        name: str,
        at: str,
        filters: dict[bytes, int] | None = None,
        lasts: int = 1_000_000,
        will_delay: int | None = None,
    ) -> Person:
        self.where[name] = at
        person = Person(self.ledger, name, lambda: self.where[name], filters, lasts, will_delay)
        self.people.append(person)
        person.come()
        self.until(lambda: person.is_connected and set(person.subscribed) == set(person.filters))
        return person

    def move(self, person: Person, to: str) -> None:
        """It loses its connection, and connects to another node."""
        self.where[person.name] = to
        person.drop()

    def until(self, holds: Callable[[], object], within: float = 120.0) -> None:
        self.world.run_until(holds, within)

    def numbers(self, person: Person) -> list[int]:
        return [number for number, _, _, _ in person.got]

    def written(self, number: int) -> int:
        return self.ledger.written()[number]

    def record(self, name: str) -> SessionRecord:
        """The last record of a session."""
        _, value = self.world.bus.streams[SESSIONS].last_of(
            name, len(self.world.bus.streams[SESSIONS].entries)
        )
        assert isinstance(value, SessionRecord)
        return value

    def state(self, name: str, kind: type[R]) -> list[R]:
        """What the last record of a session says, of that kind."""
        return [one for one in decode(self.record(name).state) if isinstance(one, kind)]


def loses(node: str, topics: set[bytes]) -> Callable[[str, Write], str | None]:
    """What frames of a node with messages on these topics come to: nothing."""

    def intercept(name: str, write: Write) -> str | None:
        frame = write.value
        if name == node and isinstance(frame, Frame) and any(one.topic in topics for one in frame.messages):
            return "lose"
        return None

    return intercept
