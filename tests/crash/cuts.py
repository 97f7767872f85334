"""Cuts between a node and its servers, in a network namespace that is ours alone.

Each node comes to the servers by an address of 127.0.0.0/8 of its own, so that a rule of iptables meets that
node and nobody else: what it says, what it hears, or both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

MARK: Final = "TESTS_OF_CURIER_NAMESPACE"
SIDES: Final = {"says": ("-d",), "hears": ("-s",), "all": ("-d", "-s")}
"""Of packets that are dropped: those to the address, those from it."""


def enter() -> None:
    """Begin this program anew in a namespace; returns in that."""
    if MARK in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    missing = [name for name in ("unshare", "ip", "iptables") if shutil.which(name) is None]
    if missing:
        sys.exit(f"cuts need {' and '.join(missing)}")
    as_root = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
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


def _rules(action: str, number: int, how: str) -> None:
    for side in SIDES[how]:
        rule = ["iptables", "-w", action, "INPUT", side, address_of(number), "-p", "tcp", "-j", "DROP"]
        subprocess.run(rule, check=True)
