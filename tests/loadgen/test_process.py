"""CPU time and memory of processes."""

import os
import subprocess
import sys

import pytest

from curier.loadgen.process import PROC, Meter

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(end='x', flush=True)\ninput()"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])"

needs_proc = pytest.mark.skipif(not (PROC / "self").exists(), reason="there is no /proc here")


@needs_proc
@pytest.mark.parametrize("program", [BURN, PARENT])
def test_a_process_and_its_children(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        meter = Meter(process.pid)
        assert meter.is_known
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        usage = meter.stop()
        process.communicate(b"\n")
    assert usage is not None
    assert 0.1 < usage.cpu_seconds
    assert usage.rss_bytes > 1 << 20


@needs_proc
def test_a_process_that_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        meter = Meter(process.pid)
        process.communicate(b"\n")
    assert meter.stop() is None


def test_no_process() -> None:
    assert not Meter(None).is_known
    assert not Meter(2**22 + 1).is_known
    assert Meter(None).stop() is None


GROWS = "input(); block = b'x' * (64 << 20); print(len(block), flush=True); input()"


@needs_proc
def test_growth() -> None:
    # A process of its own: this one may have been larger before.
    with subprocess.Popen(
        [sys.executable, "-c", GROWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        meter = Meter(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) == 64 << 20
        usage = meter.stop()
        process.stdin.write("\n")
        process.stdin.close()
    assert usage is not None
    assert usage.rss_growth_bytes > 32 << 20


def test_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("curier.loadgen.process.PROC", tmp_path)
    assert not Meter(os.getpid()).is_known
