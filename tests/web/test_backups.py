"""Backups by the API: into the data directory, and as a download, from which a broker goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curier.server import Broker
from curier.store.database import FILE_NAME
from curier.types import Message
from curier.web import backups, forms, table
from curier.web.table import PREFIX
from tests.web.asking import Person, people
from tests.web.test_clients import serving

NOTHING = forms.Nothing()


async def get(person: Person) -> Any:
    return await person._client.get(f"{PREFIX}/backup", headers=person._headers)


async def restored(directory: Path, tmp_path: Path) -> str | None:
    """What is retained on a, where a broker goes on from a backup."""
    async with serving(tmp_path, data=directory) as (_, admin, _):
        return (await admin.ask(table.RETAINED, forms.RetainedQuery("a"))).payload.text


async def test_a_broker_goes_on_from_each_kind_of_backup(tmp_path: Path) -> None:
    data = tmp_path / "data"
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    async with serving(tmp_path, data=data) as (broker, admin, _):
        broker.publish(Message("a", b"before", retain=True))
        await admin.ask(
            table.PUBLISH, forms.Publish("b", text="x", retain=True)
        )  # is on the disk, and so is a
        made = await admin.ask(table.BACKUP, NOTHING)
        (path,) = (data / backups.FOLDER).iterdir()
        assert made.file == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
        (listed,) = (await admin.ask(table.BACKUPS, NOTHING)).backups
        assert listed == made
        await admin.ask(table.PUBLISH, forms.Publish("a", text="after", retain=True))
        answer = await get(admin)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert 'filename="curier-' in answer.headers["content-disposition"]
        assert [*(data / backups.FOLDER).iterdir()] == [path]
    path.rename(one / FILE_NAME)
    (other / FILE_NAME).write_bytes(answer.content)
    assert await restored(one, tmp_path) == "before"
    assert await restored(other, tmp_path) == "after"


async def test_nothing_is_made_where_there_is_nothing_to_keep(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, _):
        assert "--data" in await admin.refused(table.BACKUP, NOTHING, 409)
        await admin.refused(table.BACKUPS, NOTHING, 409)
        assert (await get(admin)).status_code == 409


async def test_a_copy_leaves_room_on_the_disk_and_there_is_an_end_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    async with serving(tmp_path, data=data) as (_, admin, _):
        with monkeypatch.context() as patched:
            patched.setattr(backups, "ROOM", 1 << 62)
            assert "has no room" in await admin.refused(table.BACKUP, NOTHING, 409)
        monkeypatch.setattr(backups, "MOST_FILES", 1)
        (data / backups.FOLDER / ".download-x.db").write_bytes(b"of a broker that was killed")
        made = await admin.ask(table.BACKUP, NOTHING)
        assert "move some" in await admin.refused(table.BACKUP, NOTHING, 409)
        assert [str(path) for path in (data / backups.FOLDER).iterdir()] == [made.file]


async def test_only_an_admin_gets_a_download(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as by:
        answer = await get(by["operator"])
        assert (answer.status_code, "role admin" in answer.json()["detail"]) == (403, True)
        assert (await by["admin"]._client.get(f"{PREFIX}/backup")).status_code == 401
