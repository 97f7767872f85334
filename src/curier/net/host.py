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
        try:
            groups = Path("/proc/self/cgroup").read_text()
        except OSError:
            groups = ""
        return min([most, *group_limits(groups, GROUPS)])


def group_limits(groups: str, mounted: Path) -> list[int]:
    """What the control groups (cgroups(7)) of a process, as /proc tells of them, allow it: its own, and all
    above it.
    """
    limits: list[int] = []
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = mounted, "memory.max"  # version 2
        elif "memory" in controllers.split(","):
            root, name = mounted / "memory", "memory.limit_in_bytes"
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
