"""A copy of a data directory's database, of one moment, while a broker goes on with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from curier.errors import StoreError
from curier.store.beginning import look

MODE: Final = 0o600


def back_up(directory: Path, file: Path, accept_loss: bool = False) -> int:
    """Copy the database in ``directory`` to ``file``, which must not exist; returns how many bytes it has.

    It is made readable by its owner only, and on the disk when this returns. It takes as long as the disk
    does, and holds up nobody who writes. Raises ``StoreError``, and leaves no file: also where something is
    missing that was acknowledged, but for ``accept_loss``.
    """
    database, missing = look(directory)
    try:
        if missing and not accept_loss:  # a copy without it must not take the place of a good one unnoticed
            raise StoreError(f"{database.path}: {missing}; --accept-loss takes what is there")
        claim(file)
        try:
            database.copy_to(file)
        except BaseException:
            file.unlink()
            raise
        return file.stat().st_size
    finally:
        database.close()


def claim(file: Path) -> None:
    """Make a new file for its owner only. Raises ``StoreError``."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE))
    except FileExistsError:
        raise StoreError(f"{file}: is there already; choose another name, or move it away") from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
