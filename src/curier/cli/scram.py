"""``curier scram``: who may connect by SCRAM-SHA-256, in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curier.auth.scram_file import (
    ITERATIONS,
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    delete_scram_user,
    set_scram_password,
)
from curier.errors import ConfigError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("user")
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of standard input."
)
@click.option(
    "--iterations",
    type=click.IntRange(LEAST_ITERATIONS, MOST_ITERATIONS),
    default=ITERATIONS,
    help=f"How often each client has to hash its password.  [default: {ITERATIONS}]",
)
@click.option("--delete", is_flag=True, help="Delete the user instead.")
def scram(file: Path, user: str, from_stdin: bool, iterations: int, delete: bool) -> None:
    """Add USER to a FILE of users of SCRAM-SHA-256, or change the password of USER.

    With this method, of MQTT 5.0, clients prove that they know their password without sending it. The
    file has what it takes to check that. A running broker takes a change within a second.

    \b
    Examples:
      curier scram scram-users ana
      curier scram scram-users ana --delete
    """
    if delete:
        if from_stdin:
            raise click.UsageError("--stdin and --delete cannot both be: deleting needs no password")
        delete_scram_user(file, user)
        click.echo(f"user {user} is deleted from {file}")
        return
    if from_stdin:
        try:
            password = sys.stdin.buffer.readline().rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise ConfigError("the password is no UTF-8, which SCRAM-SHA-256 needs") from None
    else:
        password = click.prompt(
            f"Password of {user}", hide_input=True, confirmation_prompt="The same again", err=True
        )
    is_new = set_scram_password(file, user, str(password), iterations)
    click.echo(
        f"user {user} is added to {file}" if is_new else f"the password of {user} in {file} is changed"
    )
