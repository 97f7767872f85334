"""Whom rules are about, as numbers: which of them are about a client takes a few look-ups, whatever their
number.

A condition names users, groups, Client Identifiers, listeners and addresses; all that it names must fit, each
by one of those that are named. ``*`` in a name stands for any characters.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from curier.broker.judging import Who
from curier.places import lies_in

EVERYBODY: Final = 0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Condition:
    """Whom a rule is about; empty: does not matter. ``anonymous`` is about clients without a user name."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    client_ids: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    addresses: tuple[Network, ...] = ()
    anonymous: bool | None = None

    def holds(self, who: Who, groups: frozenset[str]) -> bool:
        """Is the rule about this client, which is in these groups?"""
        user = who.identity or ""
        return (
            (not self.users or (bool(user) and any(fits(name, user) for name in self.users)))
            and (not self.groups or any(fits(name, group) for name in self.groups for group in groups))
            and (not self.client_ids or any(fits(name, who.client_id) for name in self.client_ids))
            and (not self.listeners or any(fits(name, who.listener) for name in self.listeners))
            and (not self.addresses or lies_in(who.address, self.addresses))
            and (self.anonymous is None or self.anonymous is not bool(user))
        )


@final
class Subjects:
    """The numbers of conditions. ``members`` are the groups that a file has, with the users in them."""

    def __init__(self, members: Mapping[str, Sequence[str]]) -> None:
        self._numbers: dict[Condition, int] = {Condition(): EVERYBODY}
        self._found: dict[tuple[str, str], list[tuple[int, Condition]]] = {}  # by a kind and a name of it
        self._others: list[tuple[int, Condition]] = []
        self._groups: dict[str, set[str]] = {}  # by user
        for group, users in members.items():
            for user in users:
                self._groups.setdefault(user, set()).add(group)

    def number(self, condition: Condition) -> int:
        """The number of a condition."""
        known = self._numbers.get(condition)
        if known is not None:
            return known
        number = self._numbers[condition] = len(self._numbers)
        for kind, names in (
            ("user", condition.users),
            ("client", condition.client_ids),
            ("group", condition.groups),
            ("listener", condition.listeners),
        ):
            if names and not any("*" in name for name in names):
                for name in names:
                    self._found.setdefault((kind, name), []).append((number, condition))
                return number
        self._others.append((number, condition))
        return number

    def groups_of(self, who: Who) -> frozenset[str]:
        """Those it brings with it, and those it has in the file."""
        of_file = self._groups.get(who.identity or "")
        return who.groups | of_file if of_file else who.groups

    def of(self, who: Who, groups: frozenset[str]) -> list[int]:
        """The numbers of all conditions that hold for a client in these groups."""
        names = [("user", who.identity or ""), ("client", who.client_id), ("listener", who.listener)]
        names += [("group", group) for group in groups]
        found = {EVERYBODY}
        for conditions in (*(self._found.get(name, ()) for name in names), self._others):
            found.update(number for number, condition in conditions if condition.holds(who, groups))
        return sorted(found)


def fits(name: str, text: str) -> bool:
    """Is ``text`` what ``name`` stands for? In the time of one look through it."""
    if "*" not in name:
        return name == text
    first, *between, last = name.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in between:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
