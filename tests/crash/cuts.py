"""Cuts between nodes and servers, and full disks, in namespaces that are ours alone.

Each node comes to the servers by an address of 127.0.0.0/8 of its own, so that a rule of iptables meets that
node and nobody else: what it says, what it hears, or both. Servers call each other by such addresses, too. A
disk is a small file system in memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

MARK: Final = "TESTS_OF_CURIER_NAMESPACE"
SIDES: Final = {"says": ("-d",), "hears": ("-s",), "all": ("-d", "-s")}
"""Of packets that are dropped: those to the address, those from it."""

DISK_BYTES: Final = 256 << 20
BALLAST: Final = "ballast"


def enter() -> None:
    """Begin this program anew in a namespace; returns in that."""
    if MARK in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    missing = [name for name in ("unshare", "ip", "iptables", "mount") if shutil.which(name) is None]
    if missing:
        sys.exit(f"cuts need {' and '.join(missing)}")
    as_root = ["-n", "-m"] if os.geteuid() == 0 else ["-r", "-n", "-m"]
    command = ["unshare", *as_root, sys.executable, "-m", "tests.crash", *sys.argv[1:]]
    os.execvpe("unshare", command, {**os.environ, MARK: "1"})


def address_of(number: int) -> str:
    """By which a node knows the servers."""
    return f"127.{number + 1}.0.1"


def cut(number: int, how: str) -> None:
    """From now on."""
    _rules("-A", number, how)


def mend(number: int, how: str) -> None:
    """As it was."""
    _rules("-D", number, how)


def part(caller: str, port: int) -> None:
    """A server from the others: what it says by ``caller``, and what they say to its ``port``."""
    _part("-A", caller, port)


def join(caller: str, port: int) -> None:
    """As it was."""
    _part("-D", caller, port)


def _part(action: str, caller: str, port: int) -> None:
    for rule in (["-d", caller], ["-s", caller], ["--dport", str(port)], ["--sport", str(port)]):
        _rule(action, [*rule[:2], "-p", "tcp"] if rule[0] in ("-d", "-s") else ["-p", "tcp", *rule])


def _rules(action: str, number: int, how: str) -> None:
    for side in SIDES[how]:
        _rule(action, [side, address_of(number), "-p", "tcp"])


def _rule(action: str, rule: list[str]) -> None:
    subprocess.run(["iptables", "-w", action, "INPUT", *rule, "-j", "DROP"], check=True)


def small_disk(folder: Path) -> None:
    """Have ``folder`` be a disk of its own; see ``no_disk``."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "curier", str(folder)], check=True)


def no_disk(folder: Path) -> None:
    """It goes, and all that is on it."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room on that disk."""
    with contextlib.suppress(OSError), (folder / BALLAST).open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def free(folder: Path) -> None:
    """Give the room back."""
    (folder / BALLAST).unlink(missing_ok=True)
