"""Operations that copy the broker's state while it goes on: into its data directory, or as a download.

A thread does it, which waits for the disk without Python's lock.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from curier.errors import StoreError
from curier.web import forms, table
from curier.web.backup_forms import BackupFile, Backups
from curier.web.handling import handles, known_as
from curier.web.identity import Identities
from curier.web.problems import Problem
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.tokens import Known

FOLDER: Final = "backups"
"""Below the data directory."""

DOWNLOAD: Final = ".download"
"""What the name of a copy begins with that is there only until it is read."""

MOST_FILES: Final = 100
ROOM: Final = 64 << 20
"""Bytes of the disk that a copy leaves to the broker."""

PIECE: Final = 256 * 1024
LONGEST_SECONDS: Final = 3600.0


def _folder(scene: Scene) -> Path:
    if scene.broker.directory is None:
        raise Problem(409, "this broker keeps nothing on the disk (--data), so there is nothing to be copied")
    return scene.broker.directory / FOLDER


def _files(folder: Path) -> list[BackupFile]:
    found = []
    for path in folder.glob("curier-*.db"):
        with suppress(OSError):  # somebody has moved it away
            stat = path.stat()
            found.append(BackupFile(str(path), stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda one: one.made_at, reverse=True)


def _new_name(prefix: str) -> str:
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.db"


def _copy(directory: Path, name: str) -> BackupFile:
    """Copy; in a thread. Raises ``Problem``."""
    from curier.store.backing_up import back_up  # which is there where there is a data directory

    folder = directory / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for forgotten in folder.glob(f"{DOWNLOAD}-*.db*"):
            forgotten.unlink()
        if len(_files(folder)) >= MOST_FILES:
            raise Problem(409, f"there are {MOST_FILES} backups in {folder}: move some of them away")
        needed = sum(path.stat().st_size for path in directory.glob("curier.db*"))
        left = shutil.disk_usage(folder).free - needed
        if left < ROOM:
            raise Problem(409, f"the disk of {folder} has no room for a copy of {needed} bytes")
        size = back_up(directory, folder / name)
        return BackupFile(str(folder / name), size, (folder / name).stat().st_mtime)
    except StoreError as error:
        raise Problem(409, str(error)) from None
    except OSError as error:
        raise Problem(409, f"{folder}: {error.strerror or error}") from None


async def _one_copy(scene: Scene, name: str) -> BackupFile:
    """A new copy; one is made at a time. Raises ``Problem``."""
    directory = scene.broker.directory
    assert directory is not None
    if scene.copying is not None and not scene.copying.done():
        raise Problem(409, "another backup is being made: wait for it")
    scene.copying = asyncio.create_task(asyncio.to_thread(_copy, directory, name))
    return await asyncio.shield(scene.copying)  # which goes on, though nobody may wait for it any more


@handles(table.BACKUPS)
async def backups(scene: Scene, asked: forms.Nothing, who: Known) -> Backups:
    """All copies in the data directory."""
    return Backups(await asyncio.to_thread(_files, _folder(scene)))


@handles(table.BACKUP)
async def back_up_here(scene: Scene, asked: forms.Nothing, who: Known) -> BackupFile:
    """Make a copy in the data directory."""
    _folder(scene)
    scene.audit(who, "backup")
    return await _one_copy(scene, _new_name("curier"))


def download(scene: Scene, identities: Identities) -> Callable[[Request], Awaitable[Response]]:
    """What answers with a copy that is made for it, and that nobody else finds."""

    async def answer(request: Request) -> Response:
        who = known_as(request, identities, Role.ADMIN)
        if not scene.broker.is_serving:
            raise Problem(503, "the broker starts, or stops")
        folder = _folder(scene)
        scene.audit(who, "backup.download")
        made = await _one_copy(scene, _new_name(DOWNLOAD))
        descriptor = os.open(made.file, os.O_RDONLY)
        os.unlink(made.file)  # it is there as long as it is read
        with suppress(OSError):
            folder.rmdir()  # where there is no other in it
        headers = {
            "content-disposition": f'attachment; filename="{_new_name("curier")}"',
            "content-length": str(made.bytes),
        }
        return StreamingResponse(_pieces(descriptor), headers=headers, media_type="application/vnd.sqlite3")

    return answer


async def _pieces(descriptor: int) -> AsyncGenerator[bytes]:
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            while piece := await asyncio.to_thread(os.read, descriptor, PIECE):
                yield piece
    finally:
        os.close(descriptor)
