"""What the broker's core cannot know of the process it runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, final

from curier.broker.state import Host

GROUPS: Final = Path("/sys/fs/cgroup")


@final
class Process(Host):
    """This process."""

    def memory(self) -> int:
        """Bytes of it that are in memory; 0 where the system does not tell."""
        try:
            with open("/proc/self/statm", "rb", buffering=0) as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:  # not Linux
            return 0

    def most_memory(self) -> int:
        """Bytes that this machine has, or fewer where a control group limits them; 0: not known."""
        try:
            most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError):
            return 0
        return min([most, *_group_limits()])


def _group_limits() -> list[int]:
    """What the control groups (cgroups(7)) of this process allow it, from its own up to the root's."""
    limits: list[int] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return limits
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            root, name = GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        place = root / path.lstrip("/")
        for directory in (place, *place.parents):
            try:
                limits.append(int((directory / name).read_text()))
            except (OSError, ValueError):  # none here, or "max"
                pass
            if directory == root:
                break
    return limits
