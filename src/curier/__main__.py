"""``python -m curier``, and ``curier``: the command line."""

import signal


def run(name: str | None = None) -> None:
    """Run the command line of this process, and exit. Ctrl-C while it is imported needs no traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from curier.cli import main, streams

    streams.prepare()
    main(prog_name=name)


if __name__ == "__main__":
    run("python -m curier")
