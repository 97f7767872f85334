"""PUBACK and PUBREC of the fast lane, as bytes."""

from __future__ import annotations

import subprocess
import sys

from curier.broker.answers import puback, pubrec


def test_each_packet_identifier_has_its_own() -> None:
    for packet_id in range(0x10000):
        there = packet_id.to_bytes(2, "big")
        assert puback(packet_id) == b"\x40\x02" + there
        assert pubrec(packet_id) == b"\x50\x02" + there


def test_none_is_made_before_it_is_asked_for() -> None:
    program = """
import sys, tracemalloc
from curier.broker import model, queueing  # noqa: F401
tracemalloc.start()
from curier.broker import answers
sys.exit(tracemalloc.get_traced_memory()[0] > 1_000_000)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=100).returncode == 0
