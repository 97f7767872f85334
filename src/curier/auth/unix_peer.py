"""Who comes by a Unix socket is the user of this machine that the kernel says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.errors import ConfigError

if sys.platform != "win32":
    import grp
    import pwd


class _Account(NamedTuple):
    name: str
    groups: frozenset[str]
    gids: frozenset[int]


class UnixPeer(Authenticator):
    """Accepts programs of this machine that came by a Unix socket, without a password: those whose user is
    one of ``users``, or in one of ``groups``; each is a name or a number.

    The client is the user's name, or ``uid-1000`` where that has none, and its groups are that user's. Who
    sends another user name, and all who come by other ways, are left to the next authenticator. Names are
    looked up at each login, in a thread. Raises ``ConfigError`` for a name that is not there, and where there
    are no such sockets.
    """

    def __init__(self, users: Iterable[str | int] = (), groups: Iterable[str | int] = ()) -> None:
        if sys.platform == "win32":
            raise ConfigError("there are no Unix sockets here that say who comes")
        self._uids: Final = frozenset(_number("user", one) for one in users)
        self._gids: Final = frozenset(_number("group", one) for one in groups)
        if not self._uids and not self._gids:
            raise ConfigError("unix-peer needs users or groups, or nobody could come in")

    @property
    def name(self) -> str:
        """What the log calls it."""
        return "unix-peer"

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Accept who may come in."""
        peer = credentials.local_peer
        if peer is None:
            return _not_mine("it does not come by a Unix socket that says who it is")
        account = await asyncio.to_thread(_account, peer.uid, peer.gid)
        if credentials.username not in (None, account.name):
            return _not_mine(f"it is user {account.name} of this machine, and says otherwise")
        if peer.uid not in self._uids and self._gids.isdisjoint(account.gids):
            return _not_mine(f"user {account.name} of this machine is none of users, nor in groups")
        return Verdict(ACCEPT, identity=account.name, groups=account.groups)


def _not_mine(why: str) -> Verdict:
    return Verdict(NOT_MINE.reason_code, NOT_MINE.reason_string, why=why, is_mine=False)


def _number(what: str, name: str | int) -> int:
    if isinstance(name, int):
        return name
    try:
        return pwd.getpwnam(name).pw_uid if what == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"unix-peer: there is no {what} {name!r} on this machine") from None


def _account(uid: int, gid: int) -> _Account:
    """Whose process it is; ``gid`` is what the process has, besides what its user may have."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name, gids = f"uid-{uid}", {gid}
    else:
        gids = {gid, *os.getgrouplist(name, gid)}
    return _Account(name, frozenset(map(_group, gids)), frozenset(gids))


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid-{gid}"
