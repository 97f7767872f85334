"""A test that hangs ends, on every loop, and the others go on; a wait that is in vain says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.servers import LOOPS
from tests.waiting import stretched, until, wait_until

HERE = Path(__file__).parent

HANGING = """
import asyncio, pytest, time
from tests.client.servers import on_every_loop

async def hang():
    while True:
        await asyncio.sleep(0)

@on_every_loop
async def test_itself():
    await hang()

@on_every_loop
async def test_a_task():
    await asyncio.create_task(hang())

@on_every_loop
async def test_a_callback():
    asyncio.get_running_loop().call_soon(lambda: time.sleep(1000))
    await asyncio.sleep(1000)

async def test_on_the_loop_of_the_plugin():
    await hang()

def test_without_a_loop():
    time.sleep(1000)

@pytest.fixture
def slow_to_leave():
    yield
    time.sleep(1000)

def test_a_fixture_that_hangs(slow_to_leave):
    assert not "this fails"

def test_the_next():
    assert True
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_test_that_hangs_ends_on_every_loop(tmp_path: Path) -> None:
    not_stretched = "import tests.waiting\ntests.waiting.MOST_STRETCH = 1.0\n"
    (tmp_path / "conftest.py").write_text(f"from tests.waiting import *\n{not_stretched}")
    (tmp_path / "test_hanging.py").write_text(HANGING)
    hung = 3 * len(LOOPS) + 2
    counted = f"{hung + 1} failed, 1 passed, 1 error"
    for seconds in (1, 5, 15):  # in the first of which a busy machine may not even set up a test
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={seconds}"]
        command += ["-c", "pyproject.toml", str(tmp_path)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=HERE.parent)
        if f"{counted} in" in ran.stdout:
            break
    assert f"{counted} in" in ran.stdout, ran.stdout + ran.stderr
    assert ran.stdout.count(f"longer than {seconds} seconds\n") >= hung + 1


def test_a_process_whose_test_never_ends_is_ended() -> None:
    program = (
        "import os, time; from tests.waiting import ProcessLimit; limit = ProcessLimit(1.0, 1000.0)\n"
        "limit.put_off(); limit.put_off(); os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "while True: time.sleep(1)"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=HERE.parent)
    assert ran.returncode == 1
    assert "<string>" in ran.stderr


def test_a_limit_is_longer_where_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for load, seconds in ((0.0, 10.0), (2.0, 10.0), (6.0, 30.0), (1000.0, 50.0)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert stretched(10.0) == seconds


async def test_a_wait_in_vain() -> None:
    tries = []

    def never() -> bool:
        tries.append(1)
        return False

    with pytest.raises(AssertionError, match=r"not within 0\.02 seconds"):
        await until(never, patience=0.02)
    with pytest.raises(AssertionError, match=r"not within 0\.02 seconds"):
        wait_until(never, patience=0.02)
    assert len(tries) > 2
    await until(lambda: True)
    wait_until(lambda: True)
