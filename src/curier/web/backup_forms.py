"""What is answered about backups: see ``forms``."""

from __future__ import annotations

from msgspec import Struct


class BackupFile(Struct):
    """A copy of the broker's state, of one moment: a file of ``bytes`` on the broker's machine."""

    file: str
    bytes: int
    made_at: float


class Backups(Struct):
    """The copies in the data directory, the newest first."""

    backups: list[BackupFile]
