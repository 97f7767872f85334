"""``curier broker``: the options, and how they go together with a configuration file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from curier.cli.options import option
from curier.cli.settings import InSections, setting_options, settings_from
from curier.config import Config
from curier.settings.environment import WORKER

EXAMPLES = """\
\b
Examples:
  curier broker
  curier broker --listen tcp://127.0.0.1:0 --memory --log-level debug
  curier broker --data /var/lib/curier
  curier broker --listen tcp://0.0.0.0:1883 --password-file users
  curier broker --listen tls://0.0.0.0 --certificate c.pem --key k.pem --password-file users
  curier broker --listen tcp://127.0.0.1 --listen ws://127.0.0.1:8083/mqtt
  curier broker --hook refuse_humidity.py
  curier broker --workers 2 --memory --listen tcp://127.0.0.1
  curier broker --config broker.toml --max-packet-size "1 MiB"

\b
A configuration file, every key optional:
  listen = ["tcp://0.0.0.0:1883"]
  password_file = "users"          # beside this file
  [[listener]]                     # one with settings of its own
  url = "tls://0.0.0.0:8883"
  certificate = "server.pem"
  key = "server.key"
  [limits]
  max_connections = 10_000
  max_queued_bytes = "16 MiB"
"""


ADDRESS = "where to listen is a URL: --listen tcp://HOST:PORT"
ELSEWHERE = {
    "--port": ADDRESS,
    "-p": ADDRESS,
    "--host": ADDRESS,
    "--bind": ADDRESS,
    "-c": "a configuration file is --config FILE; Mosquitto's is translated by curier config from-mosquitto",
    "--config-file": "a configuration file is --config FILE",
    "-v": "all that happens is in the log with --log-level debug",
    "--verbose": "all that happens is in the log with --log-level debug",
    "-d": "it stays in the foreground: have systemd start it, or a shell in the background",
    "--daemon": "it stays in the foreground: have systemd start it, or a shell in the background",
}
"""What the options of other brokers are here."""


class BrokerCommand(InSections):
    """The command, which knows what others call its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options. What there is not is told with what there is in its place."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in ELSEWHERE:
                raise
            way_out = f"there is no option {error.option_name}: {ELSEWHERE[error.option_name]}"
            raise click.UsageError(way_out, ctx) from None


@click.command(cls=BrokerCommand, epilog=EXAMPLES)
@setting_options
@option(
    "--accept-loss",
    is_flag=True,
    help="Start though something that was acknowledged is missing from the directory.",
)
@option(
    "--lab",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Laboratory: break connections on purpose, by the rules of FILE; for tests alone.",
)
def broker(file: Path | None, accept_loss: bool, lab: Path | None, **options: object) -> None:
    """Run a broker until Ctrl-C.

    Every option is a key of the configuration file and an environment variable, too: --max-packet-size is
    max_packet_size and CURIER_MAX_PACKET_SIZE. Options beat variables, variables beat the file.

    Without options it serves this machine only, to everyone on it, and keeps sessions, messages and retained
    state below ~/.local/state, so that nothing it has acknowledged is lost. On any other address it wants to
    know who may connect: --password-file, or --allow-anonymous.

    It says "listening on URL" on standard output when it is ready, a line for each listener; port 0 takes
    a free port. Ctrl-C, SIGTERM or the end of its terminal finish what is being written and stop it; a second
    signal stops it at once. SIGHUP has it read its settings and their files again. It exits with 0 when
    stopped so, with 2 when a setting is wrong, a port is in use or its cluster needs another version of
    curier, else with 1.
    """

    def reread() -> Config:
        return replace(settings_from(file, options), accept_loss=accept_loss, lab=lab)

    config = reread()
    config.check()
    number = os.environ.get(WORKER, "")
    if config.workers > 1 and not number:
        from curier.cli.workers import run_workers  # which hardly anybody has

        run_workers(config)
        return
    from curier.cli.serve import run  # the other commands need not load the broker

    if number and config.workers > 1:
        from curier.cli.workers import end_with_parent, which

        end_with_parent()
        worker, engine = which(number)
        run(config.of_worker(worker, engine), lambda: reread().of_worker(worker, engine))
    else:
        run(config, reread)
