"""``python -m curier``, and ``curier``: the command line."""

import gc
import signal
from typing import Final

from curier import unloaded

YOUNG: Final = 100_000
"""Objects more than before, until it is time to look for garbage among them: more than a command begins with,
which is none.
"""


def run(name: str | None = None) -> None:
    """Run the command line of this process, and exit. Ctrl-C while it is imported needs no traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(YOUNG)
    unloaded.put_off(*unloaded.TLS)
    from curier.cli import main, streams

    streams.prepare()
    try:
        main(prog_name=name)
    finally:
        gc.freeze()  # the system takes everything at once: what is garbage need not be told from what is not


if __name__ == "__main__":
    run("python -m curier")
