"""On which file system and device a directory lies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from curier.frozen import dataclass

MOUNTS: Final = Path("/proc/self/mountinfo")
IN_MEMORY: Final = {"tmpfs", "ramfs", "devtmpfs"}


@dataclass(frozen=True, slots=True)
class Place:
    """``filesystem`` and ``device`` are "" where the system does not say."""

    directory: str
    filesystem: str = ""
    device: str = ""

    @property
    def is_memory(self) -> bool:
        """Is there no disk below it?"""
        return self.filesystem in IN_MEMORY

    def __str__(self) -> str:
        if not self.filesystem:
            return self.directory
        return f"{self.directory} ({self.filesystem} on {self.device})"


def place_of(directory: Path, mounts: str | None = None) -> Place:
    """Where ``directory`` lies. ``mounts``: what stands in Linux's ``mountinfo``, proc(5)."""
    path = os.path.realpath(directory)
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(errors="replace")
        except OSError:
            return Place(path)
    found = Place(path)
    longest = -1
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kinds) < 2:
            continue
        point = _plain(fields[4])
        if path == point or path.startswith(point.rstrip("/") + "/"):
            if len(point) >= longest:  # of two at one point the later hides the other
                longest = len(point)
                found = Place(path, kinds[0], _plain(kinds[1]))
    return found


def _plain(text: str) -> str:
    """Blanks and the like stand as octal numbers there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
