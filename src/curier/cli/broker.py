"""``curier broker``: the options, and how they go together with a configuration file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import click

from curier.cli.parameters import seconds, size
from curier.config import DURABILITIES, LOG_LEVELS, Config, Durability, load
from curier.listeners import DEFAULT_LISTEN

EXAMPLES = """\
\b
Examples:
  curier broker
  curier broker --listen tcp://127.0.0.1:0 --memory --log-level debug
  curier broker --data /var/lib/curier
  curier broker --listen tcp://0.0.0.0:1883 --password-file users
  curier broker --listen tls://0.0.0.0 --certificate c.pem --key k.pem --password-file users
  curier broker --listen tcp://127.0.0.1 --listen ws://127.0.0.1:8083/mqtt
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


@click.command(epilog=EXAMPLES)
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="Settings from a TOML file; options beat it."
)
@click.option(
    "--listen",
    metavar="URL",
    multiple=True,
    help=f"Where to listen; may be given again.  [default: {' and '.join(DEFAULT_LISTEN)}]",
)
@click.option(
    "--certificate", metavar="FILE", help="The broker's certificate, for all --listen tls:// and wss://."
)
@click.option("--key", metavar="FILE", help="The key of that certificate.")
@click.option(
    "--client-ca", metavar="FILE", help="Demand certificates of clients there, signed by one of these."
)
@click.option(
    "--data",
    metavar="DIR",
    help="Keep sessions and messages in this directory.  [default: ~/.local/state/curier]",
)
@click.option("--memory", is_flag=True, help="Keep everything in memory only.")
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    help="What an acknowledgement waits for: the disk, the operating system, nothing.  [default: fsync]",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Start though something that was acknowledged is missing from the directory.",
)
@click.option("--allow-anonymous", is_flag=True, help="Let clients in that send no user name, from anywhere.")
@click.option("--password-file", metavar="FILE", help="Let in the users of this file; see curier passwd.")
@click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), help="How much to say on stderr.  [default: info]"
)
@click.option("--max-packet-size", type=size, help="The largest packet a client may send.  [default: 16 MiB]")
@click.option("--sys-interval", type=seconds, help="Time between reports on $SYS/#; 0: none.  [default: 10]")
@click.option(
    "--retry-interval",
    type=seconds,
    help="Send again what an MQTT 3 client left unanswered; 0: never.  [default: 0]",
)
def broker(
    file: Path | None,
    listen: tuple[str, ...],
    certificate: str | None,
    key: str | None,
    client_ca: str | None,
    data: str | None,
    memory: bool,
    durability: str | None,
    accept_loss: bool,
    allow_anonymous: bool,
    password_file: str | None,
    log_level: str | None,
    max_packet_size: int | None,
    sys_interval: float | None,
    retry_interval: float | None,
) -> None:
    """Run a broker until Ctrl-C.

    Without options it serves this machine only, to everyone on it, and keeps sessions, messages and retained
    state below ~/.local/state, so that nothing it has acknowledged is lost. On any other address it wants to
    know who may connect: --password-file, or --allow-anonymous.

    It says "listening on URL" on standard output when it is ready, a line for each listener; port 0 takes
    a free port. Ctrl-C, SIGTERM or the end of its terminal finish what is being written and stop it; a second
    signal stops it at once. SIGHUP has it read the password file again. It exits with 0 when stopped so, with
    2 when a setting is wrong or a port is in use, else with 1.
    """
    config = load(file) if file is not None else Config()
    config = merge_storage(config, data, memory, durability)
    if listen:  # then what the file says of listeners is not meant
        config = replace(config, listen=listen, listeners=())
    config = replace(
        config,
        certificate=certificate or config.certificate,
        key=key or config.key,
        client_ca=client_ca or config.client_ca,
        accept_loss=accept_loss,
        allow_anonymous=allow_anonymous or config.allow_anonymous,
        password_file=password_file or config.password_file,
        log_level=log_level or config.log_level,
    )
    limits = (("max_packet_size", max_packet_size), ("sys_interval", sys_interval))
    for name, value in (*limits, ("retry_interval", retry_interval)):
        if value is not None:
            setattr(config.options, name, value)
    config.check()
    from curier.cli.serve import run  # the other commands need not load the broker

    run(config)


def merge_storage(config: Config, data: str | None, memory: bool, durability: str | None) -> Config:
    """What the command line says of storage, over what the file says."""
    if data is not None and memory:
        raise click.UsageError("--data and --memory cannot both be: choose a directory, or memory only")
    if memory:  # what the file says of a directory was not meant for this run
        config = replace(config, data=None, memory=True, durability=None)
    if data is not None:
        config = replace(config, data=data, memory=False)
    if durability is not None:
        config = replace(config, durability=cast(Durability, durability))
    return config
