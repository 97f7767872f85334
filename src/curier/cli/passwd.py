"""``curier passwd``: who may connect, in a password file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curier.auth.user_file import check_user_name, delete_user, set_password


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("user")
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of standard input."
)
@click.option("--delete", is_flag=True, help="Delete the user instead.")
def passwd(file: Path, user: str, from_stdin: bool, delete: bool) -> None:
    """Add USER to the password FILE, or change the password of USER.

    Asks for the password twice and does not show it. FILE is made if it is not there, readable by its owner
    only; it holds one line for each user, with an Argon2id hash in place of the password. A running broker
    takes the change within a second, without a restart; clients that are already connected stay.

    \b
    Examples:
      curier passwd users ana
      curier broker --listen tcp://0.0.0.0:1883 --password-file users
      curier passwd users ana --delete
      pwgen 30 1 | tee ana.secret | curier passwd users ana --stdin
    """
    if delete:
        if from_stdin:
            raise click.UsageError("--stdin and --delete cannot both be: deleting needs no password")
        delete_user(file, user)
        click.echo(f"user {user} is deleted from {file}")
        return
    check_user_name(user)  # before anyone types a password
    is_new = set_password(file, user, _read_password(user, from_stdin))
    click.echo(
        f"user {user} is added to {file}" if is_new else f"the password of {user} in {file} is changed"
    )


def _read_password(user: str, from_stdin: bool) -> bytes:
    if from_stdin:
        return sys.stdin.buffer.readline().rstrip(b"\r\n")
    password = click.prompt(
        f"Password of {user}", hide_input=True, confirmation_prompt="The same again", err=True
    )
    return str(password).encode()
