"""What the start of a command costs: processor time, user and system, of the whole process.

Beside it stand what nobody can go below: Python itself, and the three modules that a command is made of. All
of them run in turn, round by round, so that a busy machine is equally busy for all. ``--other`` is the Python
of another installation, for a comparison of two versions in the same run.

    python bench/start.py
    python bench/start.py --runs 31 --other ../before/.venv/bin/python
    python bench/start.py --check           # exit code 1 where this installation is over what is promised
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

TOPIC = "bench/start"
PUB = f"curier pub -t {TOPIC} -m b"
COMMON = "import asyncio, ssl, click"
COMMON_MS = 75.0
MOST = {"import curier": 60.0, PUB: 100.0}
"""Milliseconds that are promised where ``COMMON`` takes ``COMMON_MS``; in proportion where it takes more."""


def cpu_of(command: list[str], environment: dict[str, str]) -> float:
    """Milliseconds of the processor that a command takes from its start to its end; it has to succeed."""
    with open(os.devnull, "r+b") as nowhere:
        process = subprocess.Popen(
            command, env=environment, stdin=nowhere, stdout=nowhere, cwd=tempfile.gettempdir()
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1e3


def starts(python: str, port: str) -> dict[str, list[str]]:
    """What is measured with one Python, by the name it has in the table."""

    def curier(*words: str) -> list[str]:
        return [python, "-c", "from curier.__main__ import run; run('curier')", *words]

    def code(text: str) -> list[str]:
        return [python, "-c", text]

    return {
        "python": code("pass"),
        COMMON: code(COMMON),
        "import curier": code("import curier"),
        "import curier; curier.connect": code("import curier; curier.connect"),
        "curier --help": curier("--help"),
        "curier pub --help": curier("pub", "--help"),
        PUB: curier("pub", "-p", port, "-t", TOPIC, "-m", "b"),
        f"curier pub -t {TOPIC} -m b -q 1": curier("pub", "-p", port, "-t", TOPIC, "-m", "b", "-q", "1"),
        f"curier sub -t {TOPIC}/kept -C 1": curier("sub", "-p", port, "-t", f"{TOPIC}/kept", "-C", "1"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15, help="how often each is started")
    parser.add_argument("--other", metavar="PYTHON", help="another installation's")
    parser.add_argument("--check", action="store_true", help="say what takes longer than is promised")
    options = parser.parse_args()
    # Bytecode is written, by a first start that is not counted, whatever the shell of this bench says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    broker = subprocess.Popen(
        [sys.executable, "-m", "curier", "broker", "--memory", "--listen", "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert broker.stdout is not None
        port = broker.stdout.readline().strip().rpartition(":")[2]
        keep = ["pub", "-p", port, "-t", f"{TOPIC}/kept", "-m", "x", "-r", "-q", "1"]
        subprocess.run([sys.executable, "-m", "curier", *keep], check=True)
        rows = {("this", name): command for name, command in starts(sys.executable, port).items()}
        if options.other is not None:
            rows |= {("other", name): command for name, command in starts(options.other, port).items()}
        mosquitto = shutil.which("mosquitto_pub")
        if mosquitto is not None:
            name = f"mosquitto_pub -t {TOPIC} -m b"
            rows["", name] = [mosquitto, "-p", port, "-t", TOPIC, "-m", "b"]
        for command in rows.values():
            cpu_of(command, environment)
        found: dict[tuple[str, str], list[float]] = {key: [] for key in rows}
        for _ in range(options.runs):
            for key, command in rows.items():
                found[key].append(cpu_of(command, environment))
    finally:
        broker.terminate()
        broker.wait()
    print(f"{'ms of the processor, of ' + str(options.runs) + ' starts':46} {'least':>8} {'median':>8}")
    for (which, name), times in found.items():
        label = f"{name} ({which})" if options.other is not None and which else name
        print(f"{label:46} {min(times):8.1f} {statistics.median(times):8.1f}")
    if options.check:
        slow = [is_slow(name, most, found) for name, most in MOST.items()]
        sys.exit(any(slow))


def is_slow(name: str, most: float, found: dict[tuple[str, str], list[float]]) -> bool:
    """Does a start take longer than is promised? It is said then."""
    took, common = min(found["this", name]), min(found["this", COMMON])
    if took / common <= most / COMMON_MS:
        return False
    print(f"{name} took {took / common:.2f} of `{COMMON}`: at most {most / COMMON_MS:.2f} are promised")
    return True


if __name__ == "__main__":
    main()
