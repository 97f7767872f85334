"""The units are what systemd takes, and as closed as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from curier.cli import main
from tests.conftest import require_peer

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
MOST_EXPOSED = 20  # in tenths; 100 is a service that may do all


def here(directory: Path) -> list[Path]:
    """The units, with a program that this machine has."""
    made = []
    for unit in UNITS.glob("curier.s[eo][rc]*"):
        path = directory / unit.name
        path.write_text(unit.read_text().replace("/usr/bin/curier", sys.executable))
        made.append(path)
    assert len(made) == 2
    return made


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    command = [require_peer("systemd-analyze"), "verify", "--man=no", *map(str, here(tmp_path))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


def test_it_may_do_little(tmp_path: Path) -> None:
    unit = next(path for path in here(tmp_path) if path.suffix == ".service")
    command = [require_peer("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}"]
    result = subprocess.run([*command, str(unit)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Overall exposure level for curier\.service: [01]\.\d OK", result.stdout)


def test_the_command_of_the_unit_is_one() -> None:
    line = re.search(
        r"^ExecStart=/usr/bin/curier (.*)$", (UNITS / "curier.service").read_text(), re.MULTILINE
    )
    assert line is not None
    name, *arguments = line[1].split()
    command = main.commands[name]
    ctx = command.make_context(name, arguments, resilient_parsing=True)
    assert ctx.params["file"] == Path("/etc/curier/broker.toml")
