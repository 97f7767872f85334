"""Operations on bans."""

from __future__ import annotations

import time

from curier.auth.bans import ANYWHERE, CLIENT, USER, Ban
from curier.broker.model import ServerSession
from curier.places import place_of
from curier.web import forms, table
from curier.web.acting import expel
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.walking import Order, page, pieces_of

MOST_AT_ONCE = 500
"""Clients that a ban disconnects before others have their turn."""


@handles(table.BANS)
async def bans(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Bans:
    """Who is banned."""
    banning = scene.broker.bans
    now = time.monotonic()
    found = [] if banning is None else banning.present()
    return forms.Bans([row_of(one, now) for one in found], _is_enforced(scene))


def row_of(ban: Ban, now: float) -> forms.BanRow:
    """A ban, as the list has it."""
    return forms.BanRow(ban.place, ban.who, max(0.0, ban.until - now), ban.why, ban.number)


def _is_enforced(scene: Scene) -> bool:
    return scene.broker.bans is not None and scene.broker.core.asks_authentication


@handles(table.BAN)
async def ban(scene: Scene, asked: forms.NewBan, who: Known) -> forms.Done:
    """Ban somebody."""
    banning = scene.broker.bans
    if banning is None or not _is_enforced(scene):
        raise Problem(
            409, "nobody is asked who clients are, so nobody can be kept out: set up authentication"
        )
    if bool(asked.client_id) == bool(asked.user) and (asked.client_id or not asked.address):
        raise Problem(400, "say a client_id or a user, maybe with an address; or an address alone")
    name = USER + asked.user if asked.user else CLIENT + asked.client_id if asked.client_id else ""
    try:
        made = banning.ban(asked.address or ANYWHERE, name, asked.seconds, asked.why)
    except ValueError as error:
        raise Problem(400, f"address: {error}") from None
    scene.audit(who, "ban", address=made.place, banned=made.who, seconds=asked.seconds, why=asked.why)
    count = await _disconnect(scene, asked, made)
    return forms.Done(f"{made.whom} is banned; {count} disconnected")


async def _disconnect(scene: Scene, asked: forms.NewBan, made: Ban) -> int:
    """Disconnect those whom a ban is about; returns how many."""

    def is_meant(session: ServerSession) -> bool:
        connection = session.connection
        if connection is None or (made.place and place_of(connection.address) != made.place):
            return False
        if asked.client_id and session.client_id != asked.client_id:
            return False
        return not asked.user or connection.identity == asked.user

    count = 0
    while True:
        pieces = pieces_of(scene.broker.core.session_list.copy())
        order: Order[ServerSession] = Order(
            lambda some: [one.client_id for one in some], wanted=lambda some: [*filter(is_meant, some)]
        )
        found = await page(scene.walks, pieces, order, "", MOST_AT_ONCE)
        for session in found.rows:
            if session.connection is not None:
                expel(scene.broker, session.connection, made.why, f"banned: {made.why}")
                count += 1
        if not found.next:
            return count


@handles(table.LIFT)
async def lift(scene: Scene, asked: forms.Lift, who: Known) -> forms.Lifted:
    """End a ban."""
    banning = scene.broker.bans
    was_there = banning is not None and banning.lift(asked.place, asked.who)
    if was_there:
        scene.audit(who, "ban.lift", address=asked.place, banned=asked.who)
    return forms.Lifted(was_there)
