"""The memory of a broker at rest: of its process and of its store's, in MiB, three seconds after the start.

Beside it stands what nobody can go below: Python itself, and what every program with asyncio has loaded; and
Mosquitto, where it is installed. The first column is the resident set (RSS), which counts pages of files, as
of libraries, for each process that has them; that is the figure people compare. In the second (PSS) a page
that several have counts for each of them in part; the third is what is this process's alone (USS).

    python bench/at_rest.py
    python bench/at_rest.py --seconds 10
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ANYWHERE = ("--listen", "tcp://127.0.0.1:0")
WINDOW = ("--web", "http://127.0.0.1:0")


def sizes(command: list[str], seconds: float, directory: str) -> list[tuple[float, float, float]]:
    """Resident, proportional and own memory of a command and of its children, in MiB."""
    environment = os.environ | {"XDG_RUNTIME_DIR": directory}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        time.sleep(seconds)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        found = [one.memory_full_info() for one in family]
        return [(one.rss / 2**20, one.pss / 2**20, one.uss / 2**20) for one in found]
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="when it is looked at")
    seconds = parser.parse_args().seconds
    # Without bytecode that is written down, the compiler's memory would be measured as well.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def python(text: str) -> list[str]:
        return [sys.executable, "-c", f"{text}; import time; time.sleep(3600)"]

    def broker(*words: str) -> list[str]:
        return [sys.executable, "-m", "curier", "broker", *ANYWHERE, *words]

    with tempfile.TemporaryDirectory() as directory:
        data = str(Path(directory) / "data")
        cases = {
            "Python": python("pass"),
            "with asyncio (which loads ssl)": python("import asyncio"),
            "and click": python("import asyncio, click"),
            "`curier broker --memory --no-web`": broker("--memory", "--no-web"),
            "`curier broker --memory`": broker("--memory", *WINDOW),
            "`curier broker`, its data on disk": broker("--data", data, *WINDOW),
        }
        if mosquitto := shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
            cases["Mosquitto, with nothing to do"] = [mosquitto, "-p", str(free_port())]
        sizes(cases["`curier broker`, its data on disk"], seconds, directory)  # so that all is compiled
        print(
            "| | RSS | PSS | USS | store's process: RSS | PSS | USS |\n|---|---:|---:|---:|---:|---:|---:|",
            flush=True,
        )
        for name, command in cases.items():
            cells = [f"{size:.1f}" for pair in sizes(command, seconds, directory) for size in pair]
            print(f"| {name} | {' | '.join([*cells, '', '', ''][:6])} |", flush=True)


if __name__ == "__main__":
    main()
