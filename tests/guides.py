"""Follows a page of the documentation as a reader does: types commands, saves files, runs programs.

In the order of the page: a block of ``sh`` is typed, a file that the text before it names (`broker.toml`) is
saved, a program is saved or, where no name is given, run. A block of ``text`` is what the commands or the
program before it have printed, or else what the ``curier sub`` in another terminal has since the last one.
Ports are free ones, and everything listens on this machine only.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from curier import ReasonCode, connect_sync
from tests.ports import free_port
from tests.test_docs import PROMISES

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w.-]+\.(?:py|toml|conf|yaml))`")
TIMEOUT = 60
PROBE = "is-anybody-there"
PORTS = ("1883", "8883", "8083")
"""The ports that pages speak of."""

PLAIN = {"cat", "cp", "ls", "mkdir", "mv", "printf", "rm"}
"""Commands that are typed as they stand."""


@dataclass
class Running:
    """A program that goes on in another terminal, and the lines it has printed."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    shown: int = 0  # of the lines, by blocks of text

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            if PROBE not in line:
                self.lines.append(line.rstrip("\n"))
        self.popen.stdout.close()

    def end(self) -> None:
        """Stop it as Ctrl-C does."""
        self.popen.terminate()
        try:
            self.popen.wait(TIMEOUT)
        finally:
            self.popen.kill()
            self.reader.join(TIMEOUT)


def sections(page: str) -> Iterator[tuple[str, str, str]]:
    """The language and the text of each block, and the file that the text before it names last."""
    end = 0
    for block in BLOCK.finditer(page):
        names = NAMED.findall(page[end : block.start()].rpartition("\n\n")[0].rpartition("\n\n")[2])
        yield block[1], block[2], names[-1] if names else ""
        end = block.end()


class Guide:
    """Whoever follows a page, in a folder of their own; ``port``: of the broker for pages that start none.

    ``failed`` are commands that have failed, until the page shows what they said.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.ports = {"1883": str(port)}
        self.fresh = {name: str(free_port()) for name in PORTS}
        path = os.pathsep.join(
            map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(":")))
        )
        self.environment = os.environ | {
            "PYTHONPATH": path,
            "XDG_STATE_HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
        }
        self.printed: list[str] = []
        self.failed: list[str] = []
        self.running: list[Running] = []

    def follow(self, page: str) -> None:
        """All of it. Raises ``AssertionError`` where something is not as the page says."""
        if re.search(r"^(?:(?:\.venv/bin/)?curier broker|make run)", page, re.MULTILINE):
            self.ports = dict(self.fresh)
        for language, text, name in sections(page):
            if language == "text":
                self.compare(text.splitlines())
            elif language == "sh":
                self.printed = self.printed if self.failed else []
                for line in text.replace("\\\n", " ").splitlines():
                    self.type(line)
            elif name:
                (self.folder / name).write_text(self.ported(text))
            elif language == "python":
                self.run_program("page.py", text)

    def ported(self, text: str) -> str:
        """With the ports of this test in the place of those of the page."""
        for name, port in self.ports.items():
            text = re.sub(rf"(?<=:){name}\b|(?<=-p ){name}\b|\b{name}(?=[,)])", port, text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"mqtt://localhost(?![:\w.])", f"mqtt://127.0.0.1:{self.ports['1883']}", text)

    def type(self, line: str) -> None:
        """A line in a shell."""
        words = shlex.split(self.ported(line), comments=True)
        if not words:
            return
        if words == ["make", "run"]:
            words = [".venv/bin/curier", "broker"]
        program = words[0].removeprefix(".venv/bin/")
        if program == "curier" and words[1] == "broker":
            self.start_broker(words[2:])
        elif program == "curier":
            self.curier(words[1:])
        elif program in ("python", "pytest"):
            command = [sys.executable, *(["-m", "pytest", "-q"] if program == "pytest" else []), *words[1:]]
            text = (self.folder / words[-1]).read_text() if words[-1].endswith(".py") else ""
            self.run(command, PROMISES.findall(text) if program == "python" else None)
        else:
            assert program in PLAIN, f"a command that nobody types here: {line}"
            self.run(["sh", "-c", self.ported(line)])

    def curier(self, words: list[str]) -> None:
        """A command of ours: one that subscribes without an end goes on beside the others."""
        command = [sys.executable, "-W", "error", "-m", "curier", *words]
        if words[0] in ("pub", "sub", "rr") and not {"-p", "-L", "--url"} & {*words}:
            command += ["-p", self.ports["1883"]]
        if words[0] == "passwd" and words[1] != "token":
            command += ["--stdin", "--cost", "low"]  # there is no terminal on which it could ask
        if words[0] == "trace":
            self.running.append(Running(self.start(command)))
            return
        if words[0] != "sub" or "-C" in words:
            self.run(command)
            return
        self.running.append(Running(self.start(command)))
        self.wait_for_subscriber(words[words.index("-t") + 1])

    def wait_for_subscriber(self, topic_filter: str) -> None:
        """Until the broker says that somebody gets what matches the filter."""
        until = time.monotonic() + TIMEOUT
        topic = topic_filter.replace("#", PROBE).replace("+", PROBE)
        with connect_sync(f"mqtt://127.0.0.1:{self.ports['1883']}") as client:
            while client.publish(topic, PROBE, qos=1).reason_code == ReasonCode.NO_MATCHING_SUBSCRIBERS:
                assert time.monotonic() < until, topic_filter
                time.sleep(0.05)

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )

    def start_broker(self, words: list[str]) -> None:
        """Until it listens. Its data are in the folder, unless the page says where."""
        command = [sys.executable, "-W", "error", "-m", "curier", "broker", *words, "--no-web"]
        told = " ".join(words) + "".join(path.read_text() for path in self.folder.glob("broker.toml"))
        if "--listen" not in told and "listen" not in told:
            command += ["--listen", f"tcp://127.0.0.1:{self.ports['1883']}"]
        broker = Running(self.start(command))
        self.running.insert(0, broker)
        until = time.monotonic() + TIMEOUT
        while not any(line.startswith("listening on ") for line in broker.lines):
            assert broker.popen.poll() is None, broker.lines
            assert time.monotonic() < until, broker.lines
            time.sleep(0.02)
        broker.shown = len(broker.lines)

    def run_program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.ported(text))
        self.run([sys.executable, "-W", "error", name], PROMISES.findall(text))

    def run(self, command: list[str], promised: list[str] | None = None) -> None:
        """To its end. What it promises to print is compared, anything else is kept for the next text."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=TIMEOUT,
            input="secret\n",
        )
        assert "Traceback" not in done.stderr, done.stderr
        if promised:
            assert (done.stdout.splitlines(), done.returncode) == (promised, 0), done.stderr
        else:
            self.printed += (done.stdout + done.stderr).splitlines()
            self.failed += [shlex.join(command)] * bool(done.returncode)

    def compare(self, expected: list[str]) -> None:
        """What was printed since the last time is this; `...` stands for anything."""
        source = next((one for one in reversed(self.running) if "sub" in one.popen.args), None)  # type: ignore[operator]
        if self.printed or self.failed or source is None:
            found, self.printed, self.failed = self.printed, [], []
        else:
            until = time.monotonic() + TIMEOUT
            while len(source.lines) - source.shown < len(expected) and time.monotonic() < until:
                time.sleep(0.02)
            found, source.shown = source.lines[source.shown :], len(source.lines)
        pattern = "\n".join(re.escape(line).replace(re.escape("..."), ".*") for line in expected)
        assert re.fullmatch(pattern, "\n".join(found)), "\n".join(found)

    def end(self) -> None:
        for one in reversed(self.running):
            one.end()


__all__ = ["Guide", "sections"]
