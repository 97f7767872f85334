"""``curier top``: why it does not begin."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from curier.cli import main
from curier.cli.top import _run
from curier.top.app import Top
from curier.web.local import Local, write
from tests.top.asked import World


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_without_its_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    for name in [name for name in sys.modules if name.startswith(("curier.top.app", "curier.top.listing"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("textual.")]:
        monkeypatch.setitem(sys.modules, name, None)
    result = CliRunner().invoke(main, ["top"])
    assert result.exit_code == 1
    assert result.stderr == "Error: curier top needs the package textual: pip install 'curier[top]'\n"


def test_without_a_broker_it_says_how_to_have_one() -> None:
    result = CliRunner().invoke(main, ["top"])
    assert result.exit_code == 2
    assert "there is no window of a broker of yours on this machine: start curier broker" in result.stderr


def test_without_a_terminal_it_names_what_needs_none(nowhere: Path) -> None:
    write(Local("http://127.0.0.1:1", "t"), 1, nowhere)
    result = CliRunner().invoke(main, ["top"])
    assert result.exit_code == 2
    assert "curier admin overview says the same" in result.stderr


def test_its_help_needs_nothing_and_has_the_keys() -> None:
    result = CliRunner().invoke(main, ["top", "--help"])
    assert result.exit_code == 0
    assert "f       freeze what is shown" in result.stdout


async def test_a_signal_ends_it_with_its_exit_code() -> None:
    """The terminal is as it was then: Textual sees to that whenever it ends by itself."""
    app = Top(World().watch, look_seconds=None)
    run = app.run_async

    async def run_without_a_terminal(mouse: bool) -> None:
        assert not mouse
        await run(headless=True, auto_pilot=lambda pilot: _kill(), mouse=mouse)

    before = signal.getsignal(signal.SIGHUP)

    async def _kill() -> None:
        assert signal.getsignal(signal.SIGHUP) == before
        os.kill(os.getpid(), signal.SIGTERM)

    app.run_async = run_without_a_terminal  # type: ignore[assignment,method-assign]
    assert await _run(app) == 143
