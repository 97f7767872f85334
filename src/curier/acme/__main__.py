"""The process: ``python -m curier.acme``. Plans come in as a line of JSON, lines for the log go out.

It ends when the other end of its standard input does: with the broker, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from curier.acme.keeper import Keeper
from curier.acme.plan import Plan


def main() -> None:
    """Keep the certificates of the plans until the broker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the broker, which ends us
    plans = [Plan.from_json(one) for one in json.loads(sys.stdin.readline())]
    threading.Thread(target=_end_with_broker, daemon=True).start()
    Keeper(plans, _tell).run()


def _end_with_broker() -> None:
    sys.stdin.read()
    os._exit(0)  # whatever is under way; all files are whole at any moment


def _tell(level: str, words: str) -> None:
    try:
        sys.stdout.write(f"{level} {' '.join(words.splitlines())}\n")
        sys.stdout.flush()
    except OSError:  # nobody is there to hear it
        os._exit(0)


if __name__ == "__main__":
    main()
