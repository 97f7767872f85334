"""What all runs have in common: they can be watched and stopped, and watch the broker's process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from curier.errors import ConfigError
from curier.loadgen.loop import Loop
from curier.loadgen.payload import clock
from curier.loadgen.plan import Plan
from curier.loadgen.process import PROC, Meter
from curier.loadgen.result import Result

PROGRESS_NS: Final = 100_000_000
SPARE_FILES: Final = 32


@dataclass
class Progress:
    """How far a run is: ``share`` is from 0 to 1, ``phase`` is a word for people."""

    phase: str
    share: float
    published: int = 0
    delivered: int = 0


Watch = Callable[[Progress], None]


class Work:
    """A run of one ``Plan``: ``run`` blocks until it is done and is called once.

    ``stop`` may be called by a signal handler meanwhile: the run goes on to its end and gives what was
    measured so far. A plan that cannot be raises ``ConfigError``; ``run`` raises ``ConnectionLost`` where not
    all clients could connect and subscribe; what goes wrong later is in the result.
    """

    def __init__(self, plan: Plan, watch: Watch | None = None) -> None:
        plan.check()
        self.plan = plan
        self.loop = Loop()
        self.result = Result(plan)
        self.is_stopping = False
        self.meter = Meter(plan.pid)
        if plan.pid is not None and not self.meter.is_known and (PROC / "self").exists():
            raise ConfigError(f"there is no process {plan.pid} here that could be watched")
        self._watch = watch
        self._watched = 0
        self._cpu = 0.0

    def stop(self) -> None:
        """Come to an end."""
        self.is_stopping = True
        self.result.was_interrupted = True

    def run(self) -> Result:
        """Do it."""
        raise NotImplementedError

    def progress(self, phase: str, share: float, published: int = 0, delivered: int = 0) -> None:
        """Tell whoever watches, now and then."""
        now = clock()
        if self._watch is not None and now - self._watched >= PROGRESS_NS:
            self._watched = now
            self._watch(Progress(phase, min(max(share, 0.0), 1.0), published, delivered))

    def start_meters(self) -> None:
        """What is used from now on counts."""
        self.meter.start()
        self._cpu = time.process_time()

    def stop_meters(self) -> None:
        """Put into the result what was used."""
        self.result.broker = self.meter.stop()
        self.result.generator_cpu = time.process_time() - self._cpu


def allow_files(count: int) -> None:
    """Let this process have ``count`` connections open; ``ConfigError`` where it may not."""
    try:
        import resource
    except ImportError:  # no such limit here
        return
    wanted = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise ConfigError(
                f"{count} clients take as many open files, and {hard} are allowed: raise it with ulimit -Hn"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
