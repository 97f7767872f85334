"""Processes that stand still (SIGSTOP): alive, connected, and silent."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil


def stand_still(pid: int) -> None:
    """Stop a process, and return when none of its threads does anything any more; SIGCONT lets it go on.

    The signal alone returns at once, and on a busy machine threads go on for a while: one may still answer.
    """
    os.kill(pid, signal.SIGSTOP)
    while not stands(pid):
        time.sleep(0.001)


def stands(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task")  # psutil looks at the first thread alone
    if not tasks.parent.exists():
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return all(_task_stands(task) for task in tasks.iterdir())


def _task_stands(task: Path) -> bool:
    try:
        return "\nState:\tT" in (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # a thread that ended
        return True
