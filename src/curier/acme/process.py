"""The process that gets certificates, as the broker sees it: started, heard, started again, ended."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from curier.acme.certificate import placeholder
from curier.acme.plan import Plan, check_together, plan_of
from curier.errors import ConfigError
from curier.listeners import Listener
from curier.loglines import logger

log = logger("curier.acme")

AGAIN_SECONDS: Final = 60.0
"""After the process ended, which it does not by itself."""


def with_acme(listeners: Sequence[Listener], data: Path | None) -> tuple[list[Listener], AcmeProcess | None]:
    """The listeners, those with ``acme`` with the file that their certificate is in; and what renews it.

    A self-signed certificate is put there if there is none. Raises ``ConfigError``, and ``ImportError``
    where packages of ``curier[acme]`` are missing.
    """
    for package in ("acme", "josepy"):  # which only the process loads
        if find_spec(package) is None:
            raise ImportError(f"no {package}", name=package)
    found: list[Listener] = []
    plans: dict[Plan, None] = {}
    for listener in listeners:
        if listener.acme:
            plan = plan_of(listener, data)
            plans[plan] = None
            listener = replace(listener, certificate=str(plan.certificate))
        found.append(listener)
    check_together([*plans])
    for plan in plans:
        try:
            waits = placeholder(plan)
        except OSError as error:
            raise ConfigError(
                f"acme: {plan.files}: {error.strerror or error} ({error.filename}); it has to be a directory "
                "that this user may write to"
            ) from None
        if waits:
            log.warning(
                "there is no certificate for %s yet: until %s gives one, there is a self-signed one, "
                "which clients refuse",
                ", ".join(plan.names),
                plan.directory,
            )
    return found, AcmeProcess([*plans]) if plans else None


class AcmeProcess:
    """Starts the process, puts what it says into the log, and starts it again if it ends."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = json.dumps([plan.as_json() for plan in plans]).encode() + b"\n"
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it; returns at once."""
        self._thread = threading.Thread(target=self._run, name="curier acme", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, at once: all files are whole at any moment, and an order that was begun is gone on with."""
        self._stopped.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                why = f"ended with code {self._live()}"
            except OSError as error:
                why = f"cannot be started: {error}"
            if not self._stopped.is_set():
                log.error("the process that gets certificates %s; trying again in a minute", why)
            self._stopped.wait(AGAIN_SECONDS)

    def _live(self) -> int:
        """One life of the process; its exit code. Raises ``OSError``."""
        with self._lock:
            if self._stopped.is_set():
                return 0
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "curier.acme"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout:
            with suppress(OSError), process.stdin:  # its end is ours: the pipe has to stay open
                process.stdin.write(self._plans)
                process.stdin.flush()
                for line in process.stdout:
                    level, _, words = line.decode(errors="replace").rstrip().partition(" ")
                    log.log(logging.ERROR if level == "ERROR" else logging.INFO, "%s", words)
            with self._lock:
                self._process = None
                process.kill()
                return process.wait()
