"""Operations on clients: lists in pages, details, disconnecting, forgetting, banning, subscriptions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import curier
from curier.auth.base import Authenticator, Credentials, Verdict
from curier.broker.keeping import new_session
from curier.broker.model import Subscription
from curier.server import Broker
from curier.web import clients, forms, table, walking
from curier.web.acting import kept
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.tokens import Known
from tests.web.asking import Person, people
from tests.web.nasty import CLIENT_IDS

ANYWHERE = ["tcp://127.0.0.1:0"]


class Everybody(Authenticator):
    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(0, identity=credentials.username)


@asynccontextmanager
async def serving(directory: Path, **how: object) -> AsyncIterator[tuple[Broker, Person, str]]:
    """A broker, somebody who may all, and the URL for clients."""
    broker = Broker(listen=ANYWHERE, **how)  # type: ignore[arg-type]  # as the tests give them
    async with broker, people(broker, directory) as by:
        yield broker, by["admin"], f"mqtt://127.0.0.1:{broker.port}"


async def ids(admin: Person, **query: object) -> list[str]:
    found = await admin.ask(table.CLIENTS, forms.ClientsQuery(**query))  # type: ignore[arg-type]
    return [one.client_id for one in found.clients]


async def test_clients_are_searched_and_filtered(tmp_path: Path) -> None:
    async with serving(tmp_path, authenticator=Everybody()) as (_, admin, url):
        async with (
            curier.connect(url, client_id="lamp-1", username="ana"),
            curier.connect(url, client_id="door-1", username="bob"),
        ):
            async with curier.connect(url, client_id="away-1", username="eve", session_expiry=60):
                pass
            assert await ids(admin) == ["away-1", "door-1", "lamp-1"]
            assert await ids(admin, search="LAMP") == ["lamp-1"]
            assert await ids(admin, search="bob") == ["door-1"]
            assert await ids(admin, search="127.0.0.1:") == ["door-1", "lamp-1"]
            assert await ids(admin, connected=False) == ["away-1"]
            assert await ids(admin, connected=True, sort="connected_at") == ["door-1", "lamp-1"]
            one = (await admin.ask(table.CLIENT, forms.ClientQuery("lamp-1"))).row
            assert (one.user, one.version, one.connected) == ("ana", "5.0", True)
        assert "sort: expected one of client_id" in await admin.refused(
            table.CLIENTS, forms.ClientsQuery(sort="colour"), 400
        )


async def test_pages_fit_together(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for number in range(25):
            session = new_session(broker.core, f"c{number:02}", False)
            session.dropped_full = number % 3
        for sort in ("client_id", "dropped"):
            seen: list[tuple[int, str]] = []
            cursor = ""
            while True:
                page = await admin.ask(table.CLIENTS, forms.ClientsQuery(sort=sort, limit=7, cursor=cursor))
                assert (page.found, page.total) == (25, 25)
                seen += [(-one.dropped if sort == "dropped" else 0, one.client_id) for one in page.clients]
                cursor = page.next
                if not cursor:
                    break
            assert seen == sorted(seen)
            assert len({*seen}) == 25
        why = await admin.refused(table.CLIENTS, forms.ClientsQuery(cursor="??"), 400)
        assert why == "cursor: take one that an answer had as its next"
        await admin.refused(table.CLIENTS, forms.ClientsQuery(limit=501), 400)


async def test_names_of_any_kind_are_told_and_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, _):
        for name in CLIENT_IDS:
            new_session(broker.core, name, False)
        assert await ids(admin, limit=500) == sorted(CLIENT_IDS)
        for name in CLIENT_IDS:
            if len(name) < 20_000:  # the head of a request has at most 64 KiB
                assert (await admin.ask(table.CLIENT, forms.ClientQuery(name))).row.client_id == name
            await admin.ask(table.FORGET, forms.Forget(name))
        assert broker.core.sessions == {}


async def test_a_walk_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "PIECE_SECONDS", 0.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    rows = [f"{number:05}" for number in range(walking.ROWS * 20)]
    pieces = walking.pieces_of(rows)
    found = await walking.page(asyncio.Semaphore(1), pieces, walking.Order(lambda some: some), "", 3)
    task.cancel()
    assert found.rows == ["00000", "00001", "00002"]
    assert turns >= 20


async def test_a_walk_waits_longer_where_others_have_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        if not seconds:
            now += 0.004  # what others took

    monkeypatch.setattr("curier.web.walking.asyncio.sleep", sleep)
    monkeypatch.setattr("curier.web.walking.time.perf_counter", lambda: now)
    await walking._let_others()
    assert pauses == [0, pytest.approx(0.012)]


async def test_a_client_is_disconnected_and_told_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "curier.web")
    async with serving(tmp_path) as (_, admin, url):
        client = curier.connect(url, client_id="c1", reconnect=None)
        async with client:
            await admin.ask(table.DISCONNECT, forms.Disconnect("c1", "new firmware"))
            with pytest.raises(curier.ConnectionLost, match="new firmware"):
                await client.publish("a", qos=1)
        assert "admin at 127.0.0.1 by the window: client.disconnect, client_id 'c1', why 'new" in caplog.text
        assert "not connected" in await admin.refused(table.DISCONNECT, forms.Disconnect("c1"), 409)
        assert "no session" in await admin.refused(table.DISCONNECT, forms.Disconnect("c2"), 404)


async def test_a_session_that_was_forgotten_stays_so_after_a_crash(tmp_path: Path) -> None:
    """The answer is a promise: it is on the disk."""
    async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, url):
        async with curier.connect(url, client_id="c1", session_expiry=3600) as client:
            async with client.subscribe("a/#", qos=1):
                pass
        await admin.ask(table.FORGET, forms.Forget("c1"))
        journal = broker.core.journal
        assert journal is not None
        assert journal.newest() == journal.number - 1  # nothing waits any more
        assert not broker.core.is_committing
        assert "c1" not in broker.core.sessions
        await admin.refused(table.FORGET, forms.Forget("c1"), 404)


async def test_what_a_failing_disk_does_not_take_is_not_promised(tmp_path: Path) -> None:
    async with serving(tmp_path, data=tmp_path / "data") as (broker, admin, url):
        async with curier.connect(url, client_id="c1", session_expiry=3600):
            pass
        await kept(broker)
        broker.core.store_trouble = "No space left on device"
        broker.core.is_committing = True  # a batch is on its way, and does not come back
        why = await admin.refused(table.FORGET, forms.Forget("c1"), 503)
        assert "a crash would undo it: No space left on device" in why
        broker.core.is_committing = False
        broker.core.store_trouble = ""


async def test_a_client_that_is_banned_has_to_go_and_stays_away(tmp_path: Path) -> None:
    async with serving(tmp_path, authenticator=Everybody()) as (_, admin, url):
        async with curier.connect(url, client_id="other", username="ana"):
            client = curier.connect(url, client_id="c1", reconnect=None)
            async with client:
                done = await admin.ask(table.BAN, forms.NewBan(client_id="c1", seconds=60, why="noisy"))
                assert done.done == "client c1 is banned; 1 disconnected"
                with pytest.raises(curier.ConnectionLost, match="noisy"):
                    await client.publish("a", qos=1)
            with pytest.raises(curier.ConnectRefused):
                async with curier.connect(url, client_id="c1", reconnect=None):
                    pass
            (ban,) = (await admin.ask(table.BANS, forms.Nothing())).bans
            assert (ban.place, ban.who, ban.why) == ("", "client c1", "noisy")
            assert 0 < ban.seconds <= 60
            assert (await admin.ask(table.LIFT, forms.Lift(ban.place, ban.who))).lifted
            assert not (await admin.ask(table.LIFT, forms.Lift(ban.place, ban.who))).lifted
            async with curier.connect(url, client_id="c1"):
                assert await ids(admin) == ["c1", "other"]


async def test_a_user_is_banned_by_name(tmp_path: Path) -> None:
    async with serving(tmp_path, authenticator=Everybody()) as (broker, admin, url):
        await admin.ask(table.BAN, forms.NewBan(user="eve"))
        assert broker.bans is not None
        broker.bans.users_changed()  # which lifts what was found out, not what somebody has said
        with pytest.raises(curier.ConnectRefused):
            await curier.connect(url, username="eve", reconnect=None).connect()
        async with curier.connect(url, username="ana"):
            pass


@pytest.mark.parametrize(
    "asked",
    [
        forms.NewBan(),
        forms.NewBan(client_id="a", user="b"),
        forms.NewBan(address="nowhere"),
        forms.NewBan(client_id="a", seconds=0),
    ],
)
async def test_bans_that_cannot_be(tmp_path: Path, asked: forms.NewBan) -> None:
    async with serving(tmp_path, authenticator=Everybody()) as (_, admin, _):
        await admin.refused(table.BAN, asked, 400)


async def test_nobody_can_be_banned_where_nobody_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, _):
        assert not (await admin.ask(table.BANS, forms.Nothing())).enforced
        assert "set up authentication" in await admin.refused(table.BAN, forms.NewBan(client_id="a"), 409)


async def test_subscriptions_of_a_client_and_who_would_get_a_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, url):
        async with (
            curier.connect(url, client_id="c1") as one,
            curier.connect(url, client_id="c2") as two,
            one.subscribe("home/#", qos=1),
            one.subscribe("home/+/light", qos=2),
            one.subscribe("other", qos=0),
            two.subscribe("$share/group/home/hall/light", qos=1),
        ):
            found = await admin.ask(table.SUBSCRIPTIONS, forms.SubscriptionsQuery("c1"))
            assert [one.topic_filter for one in found.subscriptions] == ["home/#", "home/+/light", "other"]
            found = await admin.ask(table.SUBSCRIPTIONS, forms.SubscriptionsQuery("c1", search="light"))
            assert [(one.topic_filter, one.qos) for one in found.subscriptions] == [("home/+/light", 2)]
            who = await admin.ask(table.SUBSCRIBERS, forms.SubscribersQuery("home/hall/light"))
            assert [(one.client_id, one.qos, one.filters, one.group) for one in who.subscribers] == [
                ("c1", 2, ["home/#", "home/+/light"], ""),
                ("c2", 1, ["$share/group/home/hall/light"], "$share/group/home/hall/light"),
            ]
            assert (await admin.ask(table.SUBSCRIBERS, forms.SubscribersQuery("nobody"))).found == 0
        assert "topic:" in await admin.refused(table.SUBSCRIBERS, forms.SubscribersQuery("a/#"), 400)


async def test_the_list_of_a_hundred_thousand_does_not_stop_the_loop(tmp_path: Path) -> None:
    """No assertion on the time it takes: the size of a piece is pinned above."""
    async with serving(tmp_path) as (broker, admin, _):
        for number in range(20_000):
            new_session(broker.core, f"device-{number}", False)
        began = time.perf_counter()
        page = await admin.ask(table.CLIENTS, forms.ClientsQuery(sort="queued", limit=50))
        assert len(page.clients) == 50
        assert page.found == 20_000
        assert time.perf_counter() > began


async def test_subscribers_with_many_filters_let_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walking, "PIECE_SECONDS", 0.0)
    async with Broker(listen=ANYWHERE) as broker:
        for number in range(20):
            session = new_session(broker.core, f"c{number}", False)
            session.subscriptions[b"a/#"] = Subscription(session.number, 1, False, False, b"")
            broker.core.router.add(b"a/#", session.subscriptions[b"a/#"])
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        who = Known("ana", Role.VIEWER)
        told = await clients.subscribers(Scene(broker), forms.SubscribersQuery("a/b"), who)
        counting.cancel()
        assert (told.found, len(told.subscribers)) == (20, 20)
        assert turns >= 19  # one for each that has gone through its filters
