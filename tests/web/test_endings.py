"""Why connections of a client ended, or were refused: the last ones, for whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

import curier
from curier.auth.base import Authenticator, Credentials, Verdict
from curier.errors import Refused
from curier.web import endings, forms, table
from curier.web.session_forms import EndingsQuery
from tests.waiting import until
from tests.web.test_clients import serving


class NotEve(Authenticator):
    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(0x87 if credentials.username == "eve" else 0)


async def test_each_ending_of_a_client_is_told_the_newest_first(tmp_path: Path) -> None:
    async with serving(tmp_path, authenticator=NotEve()) as (broker, admin, url):
        began = await admin.ask(table.ENDINGS, EndingsQuery("a"))
        assert began.endings == []
        async with curier.connect(url, client_id="a"), curier.connect(url, client_id="b"):
            pass
        with pytest.raises(Refused):
            async with curier.connect(url, client_id="a", username="eve"):
                pass
        async with curier.connect(url, client_id="a", reconnect=None):
            await admin.ask(table.DISCONNECT, forms.Disconnect("a", "for a test"))
        await until(lambda: not broker.core.connections)
        told = await admin.ask(table.ENDINGS, EndingsQuery("a"))
        assert [(one.what, one.reason_code) for one in told.endings] == [
            ("disconnected", 0x98),
            ("refused", 0x87),
            ("disconnected", 0),
        ]
        assert "for a test" in told.endings[0].why
        assert all(one.address.startswith("127.0.0.1:") for one in told.endings)
        assert told.endings[1].lasted == 0
        assert told.since == began.since <= told.endings[-1].time
        assert len((await admin.ask(table.ENDINGS, EndingsQuery("a", 1))).endings) == 1
        assert len((await admin.ask(table.ENDINGS, EndingsQuery("b"))).endings) == 1


async def test_they_are_bounded_whatever_strangers_call_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "KEPT", 2)
    monkeypatch.setattr(endings, "LONGEST", 5)
    async with serving(tmp_path) as (broker, admin, url):
        await admin.ask(table.ENDINGS, EndingsQuery("x"))
        for client_id in ("long-1", "other", "long-2"):
            async with curier.connect(url, client_id=client_id):
                pass
        await until(lambda: not broker.core.connections)
        assert len((await admin.ask(table.ENDINGS, EndingsQuery("other"))).endings) == 1
        (one,) = (await admin.ask(table.ENDINGS, EndingsQuery("long-2"))).endings  # and not that of long-1
        assert len(one.why) <= 5
