"""A broker in a process of its own, as ``curier broker`` starts it."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LISTENING = re.compile(r"listening on \w+://127\.0\.0\.1:(\d+)\S*\n")


def table(settings: Mapping[str, object]) -> str:
    """A listener, as the configuration file has it: JSON's texts, numbers and lists are TOML's as well."""
    return "[[listener]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


class BrokerProcess:
    """A broker on ``port`` of this machine, or on a free one.

    In ``folder`` are its log and, unless it keeps everything in memory, its data; so one that is started in
    the folder of another goes on where that stopped. ``listeners`` are the tables of a configuration file,
    which it has then in place of that port; ``ports`` are theirs, in their order.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        memory: bool = False,
        port: int = 0,
        listeners: Sequence[Mapping[str, object]] = (),
    ) -> None:
        folder.mkdir(exist_ok=True)
        log = folder / "log"
        command = [sys.executable, "-W", "default", "-m", "curier", "broker"]
        command += ["--log-level", "debug", *arguments]
        if listeners:
            (folder / "curier.toml").write_text("".join(map(table, listeners)))
            command += ["--config", str(folder / "curier.toml")]
        else:
            command += ["--listen", f"tcp://127.0.0.1:{port}"]
        command += ["--memory"] if memory else ["--data", str(folder / "data")]
        self.log = log
        with log.open("w") as stderr:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert self.popen.stdout is not None
        self.ports: list[int] = []
        for _ in range(len(listeners) or 1):
            found = LISTENING.fullmatch(line := self.popen.stdout.readline())
            if found is None:
                self.close()
                raise AssertionError(f"the broker said {line!r}, and logged:\n{log.read_text()}")
            self.ports.append(int(found[1]))
        self.port = self.ports[0]

    def stop(self) -> None:
        """Stop as Ctrl-C does; everything must have gone well."""
        self.popen.terminate()
        try:
            code = self.popen.wait(100)
        finally:
            self.close()
        said = self.log.read_text()
        assert code == 0, said
        assert not re.search(r"Traceback|Warning:| error: ", said), said

    def close(self) -> None:
        """End it, whatever it does."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(100)
        if self.popen.stdout is not None:
            self.popen.stdout.close()
