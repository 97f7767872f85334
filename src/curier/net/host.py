"""What the broker's core cannot know of the process it runs in."""

from __future__ import annotations

import os
from typing import final

from curier.broker.state import Host


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
