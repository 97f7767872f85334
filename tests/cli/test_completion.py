"""A shell completes what may be typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from curier.cli import COMMANDS, main
from curier.cli.completion import SHELLS


def completed(*words: str) -> set[tuple[str, ...]]:
    """What may stand for the last word."""
    typed = {"COMP_WORDS": " ".join(("curier", *words)), "COMP_CWORD": str(len(words))}
    result = CliRunner().invoke(
        main, [], prog_name="curier", env={**typed, "_CURIER_COMPLETE": "bash_complete"}
    )
    assert result.exit_code == 0, result.output
    return {tuple(line.split(",")) for line in result.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], {"store"}),
        (["config", "ch"], {"check"}),
        (["broker", "--durab"], {"--durability"}),
        (["broker", "--durability", ""], {"fsync", "os", "memory"}),
        (["pub", "-t", "a", "--encode", "m"], {"msgpack"}),
        (["limits", "--js"], {"--json"}),
        (["trace", "--diag"], {"--diagram"}),
        (["completion", ""], {*SHELLS}),
    ],
)
def test_commands_options_and_values(words: list[str], expected: set[str]) -> None:
    assert completed(*words) == {("plain", word) for word in expected}


def test_all_commands_are_offered() -> None:
    assert completed("") == {("plain", name) for name in COMMANDS}


def test_files_are_offered_where_files_are_meant() -> None:
    assert completed("limits", "--config", "br") == {("file", "br")}
    assert completed("trace", "t") == {("plain", "tour"), ("file", "t")}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_CURIER_COMPLETE={shell}_complete" in result.stdout


def test_bash_itself_completes(tmp_path: Path) -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    program = tmp_path / "curier"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\nsys.argv = ['curier']\n"
        "from curier.__main__ import run\nrun('curier')\n"
    )
    program.chmod(0o700)
    asked = (
        'COMP_WORDS=(curier broker --durability "") COMP_CWORD=3\n'
        '_curier_completion "$1"; echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}", "bash", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.split() == ["fsync", "os", "memory"]
    assert result.stderr == ""
