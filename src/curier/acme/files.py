"""Files that are there whole, or as they were: account, keys, certificates, what was tried."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def make_folder(path: Path) -> None:
    """Make a directory, and those above it that are missing, readable by their owner only.

    Raises ``OSError``.
    """
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def write(path: Path, data: bytes) -> None:
    """Replace a file, readable by its owner only, in one moment and for good. Raises ``OSError``."""
    make_folder(path.parent)
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> bytes | None:
    """What is in a file, or None where there is none. Raises ``OSError``."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Replace a file by a JSON object. Raises ``OSError``."""
    write(path, json.dumps(found, indent=1).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is no file, or one that somebody has damaged.

    Raises ``OSError``.
    """
    try:
        found = json.loads(read(path) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
