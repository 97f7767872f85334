"""Who is banned for a while: whoever guesses passwords, and clients that come and go without an end.

Wrong logins are counted by user and address, so that nobody can shut others out who come from elsewhere. An
address as a whole is banned for wrong logins of many users, if hardly a right one comes from there; who has
logged in from there before may come in all the same. Of one user wrong logins are counted over all addresses,
too, but for those of regions where it has logged in before: of those who guess from thousands of addresses it
is shut out everywhere else. A client flaps that loses its connection over and over.

All tables are bounded: a network of IPv6 (/64) is one address, and what was longest ago is forgotten first.
No threads and no clock: time is an argument, in seconds from wherever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from curier.errors import ConfigError
from curier.places import lies_in, place_of, region_of

MOST_COUNTED: Final = 10_000
"""Users at addresses, addresses, and clients whose failures are counted, each."""

MOST_BANS: Final = 10_000
"""The ban that ends first has to go where there is one more."""

MOST_GOOD: Final = 20_000
"""Users at addresses that have logged in there."""

MOST_KNOWN: Final = 100_000
"""Users in regions where they have logged in."""

GOOD_SECONDS: Final = 7 * 24 * 3600.0
"""How long one who has logged in is known at an address, and in a region."""

RIGHT_FOR_WRONG: Final = 10
"""An address is not banned as long as one login there is right for so many wrong ones; of one user, one right
login in a while counts."""

LONGEST_NAME: Final = 64
"""Characters of a name that are remembered: strangers choose them."""

ANYWHERE: Final = ""
"""The place of somebody who is banned wherever it comes from."""

BY_HAND: Final = 0
"""The number of a ban that has no other reason than that somebody says so."""

NEW_PLACES: Final = "new places"
"""That of a user who is banned wherever it has not logged in of late."""

USER: Final = "user "
UNNAMED: Final = "unnamed client "
CLIENT: Final = "client "
"""What stands before the name of whoever is banned at an address."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class BanSettings:
    """What somebody is banned for: so many wrong logins of one user at one address (``failures``), or of all
    there (``address_failures``), or of one user wherever it is not known (``user_failures``), so many lost
    connections of one client (``flaps``), in ``window`` seconds; 0 is never. A ban lasts ``seconds``, the
    next one of the same twice as long, and so on up to ``longest``. Who comes from a network of ``never`` is
    not banned, nor is who comes by a Unix socket. Raises ``ConfigError``.
    """

    failures: int = 10
    address_failures: int = 100
    flaps: int = 60
    window: float = 300.0
    seconds: float = 300.0
    longest: float = 3600.0
    never: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1"))
    user_failures: int = 50

    def __post_init__(self) -> None:
        if not self.window > 0 or not self.seconds > 0:
            raise ConfigError("window and seconds of a ban must be more than 0")
        if self.longest < self.seconds:
            raise ConfigError("the longest ban cannot be shorter than the first (seconds)")


@dataclass(frozen=True, slots=True)
class Ban:
    """``place`` is an address or a network, ``who`` one who comes from there, in words; "": everybody does.
    ``ANYWHERE`` in the place of the first, it is whoever goes by that name; ``NEW_PLACES``, a user who comes
    from where it is not known. ``until`` is when it ends.
    """

    place: str
    who: str
    until: float
    why: str
    number: int
    """1 for the first of the same in a while; ``BY_HAND``: somebody says so."""

    @property
    def whom(self) -> str:
        """In words."""
        return f"{self.who} at {self.place}" if self.who and self.place else self.who or self.place


_Key = tuple[str, str]


class _Count:
    """How often something has happened since ``since``."""

    __slots__ = ("right", "since", "wrong")

    def __init__(self, since: float) -> None:
        self.since = since
        self.wrong = 0
        self.right = 0


class _Counts:
    """Counts by key, each of a window; bounded."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, key: _Key, now: float) -> _Count:
        """That of this window, which is remembered from now on."""
        count = self._counts.get(key)
        if count is None or not 0 <= now - count.since < self.window:
            count = self._counts[key] = _Count(now)
        self._counts.move_to_end(key)
        if len(self._counts) > MOST_COUNTED:
            self._counts.popitem(last=False)
        return count

    def forget(self, key: _Key) -> None:
        self._counts.pop(key, None)


class Bans:
    """Counts, and bans. ``address`` is a peer's, with its port; ``who`` is "user ana", or "client c1"."""

    def __init__(self, settings: BanSettings) -> None:
        self.settings = settings
        self._bans: OrderedDict[_Key, Ban] = OrderedDict()  # also those that have ended a moment ago
        self._pairs = _Counts(settings.window)
        self._places = _Counts(settings.window)
        self._users = _Counts(settings.window)
        self._flaps = _Counts(settings.window)
        self._good: OrderedDict[_Key, float] = OrderedDict()  # when they have logged in last
        self._known: OrderedDict[_Key, float] = OrderedDict()  # the same, by region

    def change(self, settings: BanSettings) -> None:
        """Go by other settings from now on: what was counted still counts, and a ban ends when it was to, but
        for those of who is never banned any more.
        """
        self.settings = settings
        for counts in (self._pairs, self._places, self._flaps):
            counts.window = settings.window

    def why_banned(self, address: str, who: tuple[str, ...], now: float) -> str:
        """Plain words where somebody may not try now, or ""; ``who`` are all names that they go by."""
        if not self._bans:
            return ""
        for name in who:
            ban = self._bans.get((ANYWHERE, _short(name)))
            if ban is not None and now < ban.until:
                return _words(ban, now)
        if not self._may_ban(address):
            return ""
        place = place_of(address)
        for name in who:
            ban = self._bans.get((place, _short(name)))
            if ban is not None and now < ban.until:
                return _words(ban, now)
            ban = self._bans.get((NEW_PLACES, _alike(name))) if name.startswith(USER) else None
            if ban is not None and now < ban.until and not self._is_known(place, name, now):
                return _words(ban, now)
        ban = self._bans.get((place, ""))
        if ban is None or now >= ban.until:
            return ""
        if any(_is_fresh(self._good.get((place, _short(one))), now) for one in who):
            return ""
        return _words(ban, now)

    def failed(self, address: str, who: str, now: float) -> Iterator[Ban]:
        """A login was wrong. Gives the bans that this is the last reason for."""
        if not self._may_ban(address):
            return
        settings = self.settings
        key = (place_of(address), _short(who))
        pair = self._pairs.get(key, now)
        pair.wrong += 1
        if settings.failures and pair.wrong >= settings.failures:
            self._pairs.forget(key)
            yield self._ban(key, f"{pair.wrong} wrong logins", now)
        place = self._places.get((key[0], ""), now)
        place.wrong += 1
        if settings.address_failures and place.wrong >= settings.address_failures:
            if place.wrong > RIGHT_FOR_WRONG * place.right:
                self._places.forget((key[0], ""))
                yield self._ban((key[0], ""), f"{place.wrong} wrong logins, {place.right} right ones", now)
        if settings.user_failures and who.startswith(USER) and not self._is_known(key[0], who, now):
            anywhere = (NEW_PLACES, _alike(who))
            user = self._users.get(anywhere, now)
            user.wrong += 1
            if user.wrong >= settings.user_failures:
                self._users.forget(anywhere)
                yield self._ban(anywhere, f"{user.wrong} wrong logins", now)

    def succeeded(self, address: str, who: str, now: float) -> None:
        """A login was right."""
        if not self._may_ban(address):
            return
        key = (place_of(address), _short(who))
        self._pairs.forget(key)
        last = self._good.get(key)
        if last is None or now - last >= self.settings.window:
            self._places.get((key[0], ""), now).right += 1
            _note(self._good, key, now, MOST_GOOD)
        self.seen(address, who, now)

    def seen(self, address: str, who: str, now: float) -> None:
        """One who has logged in is there."""
        if self._may_ban(address):
            _note(self._known, (region_of(place_of(address)), _alike(who)), now, MOST_KNOWN)

    def flapped(self, address: str, who: str, now: float) -> Ban | None:
        """A client has lost its connection. Gives the ban that this is the last reason for."""
        if not self.settings.flaps or not self._may_ban(address):
            return None
        key = (place_of(address), _short(who))
        count = self._flaps.get(key, now)
        count.wrong += 1
        if count.wrong < self.settings.flaps:
            return None
        self._flaps.forget(key)
        return self._ban(key, f"its connection was lost {count.wrong} times", now)

    def ban(self, place: str, who: str, seconds: float, why: str, now: float) -> Ban:
        """Ban ``who`` at ``place`` because somebody says so: everybody there for "", anywhere for
        ``ANYWHERE``. Such a ban holds for those, too, who are never banned by themselves, if it is of
        somebody anywhere. Raises ``ValueError`` for everybody anywhere, and for a place that is none.
        """
        if place != ANYWHERE:
            place = place_of(f"[{ip_address(place)}]:0")
        elif not who:
            raise ValueError("a ban of everybody anywhere would leave nobody")
        return self._put((place, _short(who)), seconds, why, BY_HAND, now)

    def present(self, now: float) -> list[Ban]:
        """All bans, those first that end last."""
        return sorted((ban for ban in self._bans.values() if now < ban.until), key=lambda ban: -ban.until)

    def lift(self, place: str, who: str = "") -> bool:
        """End a ban, and forget that it was; returns whether it was there."""
        return self._bans.pop((place, _alike(who) if place == NEW_PLACES else _short(who)), None) is not None

    def lift_all_of_users(self) -> None:
        """End the bans of users at addresses: who they are, or with which password, has changed."""
        for key, ban in [*self._bans.items()]:
            if key[1].startswith((USER, UNNAMED)) and ban.number != BY_HAND:
                del self._bans[key]

    def _may_ban(self, address: str) -> bool:
        try:
            ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0])
        except ValueError:
            return False  # a Unix socket, or no network at all
        return not lies_in(address, self.settings.never)

    def _is_known(self, place: str, who: str, now: float) -> bool:
        return _is_fresh(self._known.get((region_of(place), _alike(who))), now)

    def _ban(self, key: _Key, why: str, now: float) -> Ban:
        settings = self.settings
        before = self._bans.pop(key, None)
        number = 1
        if before is not None and now < before.until + settings.longest:
            number = before.number + 1
        seconds = min(settings.seconds * 2.0 ** min(number - 1, 30), settings.longest)
        return self._put(key, seconds, f"{why} in {settings.window:g} s", number, now)

    def _put(self, key: _Key, seconds: float, why: str, number: int, now: float) -> Ban:
        self._bans.pop(key, None)
        if len(self._bans) >= MOST_BANS:
            del self._bans[min(self._bans, key=lambda one: self._bans[one].until)]
        ban = self._bans[key] = Ban(*key, now + seconds, why, number)
        return ban


def _short(who: str) -> str:
    return who[:LONGEST_NAME]


def _alike(who: str) -> str:
    """The same for all names that may be one to a database: case, accents and blanks do not count."""
    if who.isascii():
        return who[:LONGEST_NAME].lower().strip()
    import unicodedata

    parts = unicodedata.normalize("NFKD", who[:LONGEST_NAME])
    return "".join(one for one in parts if not unicodedata.combining(one)).casefold().strip()[:LONGEST_NAME]


def _note(table: OrderedDict[_Key, float], key: _Key, now: float, most: int) -> None:
    table[key] = now
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)


def _is_fresh(last: float | None, now: float) -> bool:
    return last is not None and now - last < GOOD_SECONDS


def _words(ban: Ban, now: float) -> str:
    return f"{ban.whom} is banned for {max(1, round(ban.until - now))} s more: {ban.why}"
