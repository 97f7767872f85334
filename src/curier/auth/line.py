"""The line of those whose password waits to be checked: who is next, and who has to go where it is full.

A check costs tens of milliseconds of a core, by design, and whoever asks for one is a stranger yet. So

- addresses take turns, and at each address the user names do: a thousand guesses from one place stand in
  each other's way, not in that of a single client elsewhere;
- an address from which only a few wait, and hardly a wrong password came of late, is in the first lane, which
  is served apart; in the others, users that were wrong have each fourth check;
- the line is bounded, for each address and in all. An address that goes on failing has ever less room. Where
  it is full, whoever has the most places gives one of them up: a user of the address, or an address.

No threads and no clock: time is an argument.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, Generic, TypeVar

MOST_WAITING: Final = 1024
MOST_OF_ADDRESS: Final = 128
FEWEST_OF_ADDRESS: Final = 4
"""Room that an address has, however often it fails."""

FEW: Final = 4
"""With more waiting from an address, they are no single client's: a flood, or a thousand behind a router."""

FORGIVEN: Final = 2
"""So many wrong passwords count for nothing: people mistype."""

FORGET_SECONDS: Final = 300.0
"""So long after its last wrong password an address is like any other."""

MOST_FAILURES: Final = 10_000
"""Addresses, and users at addresses, whose failures are remembered; the oldest go first."""

LANES: Final = 3
"""A few of an address with few failures; other addresses; users that have failed there."""

Work = TypeVar("Work")


class Full(Exception):
    """There is no room in the line."""


class Place(Generic[Work]):
    """One who waits."""

    __slots__ = ("address", "lane", "user", "work")

    def __init__(self, address: str, user: str, work: Work) -> None:
        self.address = address
        self.user = user
        self.work = work
        self.lane = -1  # it does not wait

    @property
    def is_waiting(self) -> bool:
        return self.lane >= 0


class Failures:
    """How often something has failed of late; bounded."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str | tuple[str, str], tuple[int, float]] = OrderedDict()

    def add(self, key: str | tuple[str, str], now: float) -> None:
        self._entries[key] = (self.count(key, now) + 1, now)
        self._entries.move_to_end(key)
        if len(self._entries) > MOST_FAILURES:
            self._entries.popitem(last=False)

    def count(self, key: str | tuple[str, str], now: float) -> int:
        count, last = self._entries.get(key, (0, now))
        return count if now - last < FORGET_SECONDS else 0


class Line(Generic[Work]):
    """Who waits, in the order in which it will be their turn. All dicts are rotations: the first is next."""

    def __init__(self) -> None:
        self.length = 0
        self._lanes: list[dict[str, dict[str, dict[Place[Work], None]]]] = [{} for _ in range(LANES)]
        self._of_address: dict[str, int] = {}
        self._failures = Failures()
        self._turns = 0

    def join(self, place: Place[Work], now: float) -> Place[Work] | None:
        """Wait. Returns who had to leave for it, if anyone; raises ``Full``."""
        address = place.address
        here = self._of_address.get(address, 0)
        failures = max(0, self._failures.count(address, now) - FORGIVEN)
        leaving = None
        if here >= max(FEWEST_OF_ADDRESS, MOST_OF_ADDRESS >> min(failures, 30)):
            leaving = self._find_user_to_leave(address, place.user)
            if leaving is None:
                raise Full(f"too many logins of {address} are waiting")
        lane = 0
        if failures:
            lane = 2 if self._failures.count((address, place.user), now) else 1
        elif here >= FEW:
            lane = 1
            self._move(address, 0, 1)
        if leaving is None and self.length >= MOST_WAITING:
            leaving = self._find_one_to_leave(lane, here)
            if leaving is None:
                raise Full("too many logins are waiting")
        if leaving is not None:
            self.leave(leaving)
        self._add(place, lane)
        return leaving

    def _find_user_to_leave(self, address: str, user: str) -> Place[Work] | None:
        """The last of the user with the most places at an address, if it is more than ``user`` will have."""
        waiting = Counter({user: 1})
        last: dict[str, Place[Work]] = {}
        for lane in self._lanes:
            for name, places in lane.get(address, {}).items():
                waiting[name] += len(places)
                last[name] = next(reversed(places))
        name, most = waiting.most_common(1)[0]
        return last[name] if most > waiting[user] else None

    def _find_one_to_leave(self, lane: int, here: int) -> Place[Work] | None:
        """The last of the address with the most places, in the worst lane.

        In a lane behind ``lane`` there always is one; in the same lane only if that address has more places
        than the newcomer's, which has ``here``, will have.
        """
        for number in range(LANES - 1, lane - 1, -1):
            addresses = self._lanes[number]
            if not addresses:
                continue
            most = max(addresses, key=self._of_address.__getitem__)
            if number == lane and self._of_address[most] <= here + 1:
                return None
            users = addresses[most]
            return next(reversed(users[next(reversed(users))]))
        return None

    def take_first(self) -> Place[Work] | None:
        """Whose turn is it in the first lane? None: nobody waits there."""
        return self._take(0)

    def take_other(self) -> Place[Work] | None:
        """Whose turn is it in the other lanes?"""
        self._turns += 1
        return self._take(2, 1) if self._turns % 4 == 0 else self._take(1, 2)

    def _take(self, *lanes: int) -> Place[Work] | None:
        for number in lanes:
            addresses = self._lanes[number]
            if addresses:
                address = next(iter(addresses))
                users = addresses[address]
                user = next(iter(users))
                place = next(iter(users[user]))
                self.leave(place)
                if user in users:  # others at the address are next
                    users[user] = users.pop(user)
                if address in addresses:  # and other addresses
                    addresses[address] = addresses.pop(address)
                return place
        return None

    def leave(self, place: Place[Work]) -> None:
        """Wait no longer; harmless for whoever does not."""
        if not place.is_waiting:
            return
        addresses = self._lanes[place.lane]
        users = addresses[place.address]
        places = users[place.user]
        del places[place]
        if not places:
            del users[place.user]
            if not users:
                del addresses[place.address]
        place.lane = -1
        self.length -= 1
        if self._of_address[place.address] == 1:
            del self._of_address[place.address]
        else:
            self._of_address[place.address] -= 1

    def failed(self, address: str, user: str, now: float) -> None:
        """A password was wrong: who waits there goes into a lane behind."""
        self._failures.add(address, now)
        self._failures.add((address, user), now)
        if self._failures.count(address, now) > FORGIVEN:
            self._move(address, 0, 1)
        self._move(address, 1, 2, user)

    def _move(self, address: str, lane: int, to: int, user: str | None = None) -> None:
        """Everybody of an address, or a user there, in that lane."""
        for name, places in list(self._lanes[lane].get(address, {}).items()):
            if user is None or name == user:
                for place in list(places):
                    self.leave(place)
                    self._add(place, to)

    def _add(self, place: Place[Work], lane: int) -> None:
        users = self._lanes[lane].setdefault(place.address, {})
        users.setdefault(place.user, {})[place] = None
        place.lane = lane
        self.length += 1
        self._of_address[place.address] = self._of_address.get(place.address, 0) + 1
