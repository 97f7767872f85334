"""What `curier broker` asks of the system, in a process of its own: limits cannot be raised again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PROGRAM = """
import json, os, resource, sys
from pathlib import Path
from curier.cli.host import SPARE_FILES, allow_files

soft, hard, clients = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
before = len(os.listdir("/proc/self/fd"))
allow_files(clients)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "table": int(status["FDSize"]),
    "left open": len(os.listdir("/proc/self/fd")) - before,
    "spare": SPARE_FILES,
}))
"""


def allowed(soft: int, hard: int, clients: int) -> tuple[int, int, int]:
    """Soft and hard limit, and the size of the kernel's table, after ``clients`` were asked for."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([soft, hard, clients])],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["left open"] == 0
    assert found["spare"] == 1024
    return (*found["limits"], found["table"])


def test_the_soft_limit_is_raised_to_what_the_clients_take() -> None:
    soft, hard, table = allowed(256, 4096, 1000)
    assert (soft, hard) == (2024, 4096)
    assert table >= 2024


def test_the_hard_limit_is_the_end_of_it() -> None:
    soft, hard, table = allowed(256, 4096, 100_000)
    assert (soft, hard) == (4096, 4096)
    assert table >= 4096


def test_a_limit_that_is_higher_already_stays() -> None:
    soft, hard, table = allowed(4000, 4096, 10)
    assert (soft, hard) == (4000, 4096)
    assert 1034 <= table < 4000
