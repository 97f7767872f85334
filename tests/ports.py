"""Ports for programs that have to be told one.

A port that the kernel gives and takes back is next given to anybody who asks for any port, which on a machine
that runs many tests is soon. So these lie below those that kernels give (from 32768 on Linux, from 49152
elsewhere), and each process of the tests has a place of its own to begin at.
"""

from __future__ import annotations

import os
import socket
from itertools import count
from typing import Final

FIRST: Final = 15_000
END: Final = 32_000
STRIDE: Final = 61
"""Between the places of processes whose numbers are next to each other."""

_numbers = count(os.getpid() * STRIDE)


def free_port() -> int:
    """One of 127.0.0.1 on which nobody listens, and which this process is not given again soon."""
    for _ in range(FIRST, END):
        port = FIRST + next(_numbers) % (END - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # taken, or still in the memory of the kernel
                continue
        return port
    raise AssertionError(f"no port from {FIRST} to {END} is free")
