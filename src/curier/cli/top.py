"""``curier top``: a broker that runs, watched in the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curier.cli.admin import Asking
from curier.errors import missing_package

if TYPE_CHECKING:
    from textual.app import App

EPILOG = """\
\b
Keys:
  1 2 3   overview, clients, topics with a retained message
  /       look for a part of a name (Escape: for all again)
  s       another order: by what waits, what was dropped, ...
  f       freeze what is shown, or go on
  q       quit

\b
Examples:
  curier top
  curier top --url https://mqtt.example:9883 --token-file token --cafile ca.pem
"""

ANSWER_SECONDS = 5.0


@click.command(epilog=EPILOG)
@click.option("--url", help="The window; by default, the newest of this user's on this machine.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="A file with a token, for a window elsewhere."
)
@click.option("--cafile", type=click.Path(path_type=Path), help="Who signs its certificate, for https.")
def top(url: str | None, token_file: Path | None, cafile: Path | None) -> None:
    """Watch a broker that runs: how it is, its clients, its topics.

    It asks the broker's window each second, as `curier admin` does, for the role viewer. A broker that goes
    away is waited for. Should the terminal ever be left in disorder, `reset` puts it right.
    """
    try:
        from curier.top.app import Top
    except ImportError as error:
        raise click.ClickException(str(missing_package(error, "curier top"))) from error
    from curier.top.watching import Watch
    from curier.web.client import Api

    asking = Asking(url, token_file, cafile, as_json=False)
    asking.local()  # or there is nothing to watch
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise click.UsageError("this is for terminals; curier admin overview says the same in lines")
    watch = Watch(asking.local, lambda local: Api(local, ANSWER_SECONDS))
    code = asyncio.run(_run(Top(watch)))
    watch.close()
    raise click.exceptions.Exit(code)


async def _run(app: App[None]) -> int:
    """Run it, and give its exit code. Whoever ends it by SIGTERM finds the terminal as it was; SIGHUP ends it
    at once, as it does by default: that terminal is gone, and Textual would wait for it for ever.
    """
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.exit, None, 128 + signal.SIGTERM)
    await app.run_async(mouse=False)
    return app.return_code or 0
