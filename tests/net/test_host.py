"""What the process that a broker runs in may have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from curier.net.host import Process, group_limits


def put(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    put(tmp_path / "a/b/memory.max", "max\n")
    put(tmp_path / "a/memory.max", "1000\n")
    put(tmp_path / "other/memory.max", "1\n")
    assert group_limits("0::/a/b\n", tmp_path) == [1000]
    assert group_limits("0::/a/b/c\n", tmp_path) == [1000]
    assert group_limits("0::/\n", tmp_path) == []
    put(tmp_path / "memory.max", "500")  # as in a container, whose own group is the root it sees
    assert group_limits("0::/\n", tmp_path) == [500]


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    put(tmp_path / "memory/docker/x/memory.limit_in_bytes", "2000\n")
    put(tmp_path / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    lines = "9:memory:/docker/x\n8:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n0::/\n"
    assert group_limits(lines, tmp_path) == [2000, 9223372036854771712]
    assert group_limits("", tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_process() -> None:
    process = Process()
    assert 1 << 20 < process.memory() < process.most_memory()
    assert process.most_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
