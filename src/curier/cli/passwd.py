"""``curier passwd``: who may connect, in a password file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curier.auth.hashes import numbers_of
from curier.auth.text_file import check_user_name
from curier.auth.user_file import delete_user, set_password, set_token
from curier.auth.user_import import import_users


class PasswdCommand(click.Command):
    """The command, which takes ``token FILE USER`` for ``--token FILE USER`` where no file has that name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        if args and args[0] == "token" and not Path("token").exists():
            args = ["--token", *args[1:]]
        return super().parse_args(ctx, args)


def _take_cost(ctx: click.Context, parameter: click.Parameter, cost: str) -> str:
    try:
        numbers_of(cost)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return cost


@click.command(cls=PasswdCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("user", required=False)
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of standard input."
)
@click.option(
    "--token", is_flag=True, help="Make a token for USER, in the place of a password, and print it."
)
@click.option("--delete", is_flag=True, help="Delete the user instead.")
@click.option(
    "--import",
    "source",
    type=click.Path(path_type=Path),
    help="Add all users of another file: of mosquitto_passwd, or lines of user:password.",
)
@click.option(
    "--cost",
    default="normal",
    callback=_take_cost,
    help="What a guess costs whoever steals the file, and each first login: low, normal, high, or numbers "
    "such as m=65536,t=3,p=1 (KiB, passes, lanes).  [default: normal]",
)
def passwd(
    file: Path, user: str | None, from_stdin: bool, token: bool, delete: bool, source: Path | None, cost: str
) -> None:
    """Add USER to the password FILE, or change the password of USER.

    Asks for the password twice and does not show it. FILE is made if it is not there, readable by its owner
    only (where root makes it in a directory that is for one group alone, as /etc/curier is, by that group
    too); it holds one line for each user, with an Argon2id hash in place of the password. A running broker
    takes the change within a second, without a restart.

    A token is a password of 256 random bits, for devices: it is printed once and cannot be guessed, so
    checking it costs the broker nothing.

    \b
    Examples:
      curier passwd users ana
      curier broker --listen tcp://0.0.0.0:1883 --password-file users
      curier passwd users ana --delete
      curier passwd token users dev1 > dev1.token
      curier passwd users --import /etc/mosquitto/passwd
      pwgen 30 1 | tee ana.secret | curier passwd users ana --stdin --cost low
    """
    _check_together(user, from_stdin, token, delete, source)
    if source is not None:
        new, changed = import_users(file, source, cost)
        click.echo(f"{new} users of {source} are added to {file}, and {changed} have changed")
        return
    assert user is not None
    if delete:
        delete_user(file, user)
        click.echo(f"user {user} is deleted from {file}")
        return
    if token:
        text, is_new = set_token(file, user)
        click.echo(text)
        done = f"user {user} is added to {file}" if is_new else f"user {user} in {file} has a new token"
        click.echo(f"{done}; the token is the password, and is shown this once", err=True)
        return
    check_user_name(user)  # before anyone types a password
    is_new = set_password(file, user, _read_password(user, from_stdin), cost)
    click.echo(
        f"user {user} is added to {file}" if is_new else f"the password of {user} in {file} is changed"
    )


def _check_together(
    user: str | None, from_stdin: bool, token: bool, delete: bool, source: Path | None
) -> None:
    """Raise ``UsageError`` for what cannot be asked for at once."""
    if delete and from_stdin:
        raise click.UsageError("--stdin and --delete cannot both be: deleting needs no password")
    if token and from_stdin:
        raise click.UsageError("--stdin and --token cannot both be: a token is made")
    if token and delete:
        raise click.UsageError("--token and --delete cannot both be")
    if token and user is None and source is None:
        raise click.UsageError("curier passwd token FILE USER makes a token; a file called token is ./token")
    if source is None and user is None:
        raise click.UsageError("Missing argument 'USER'.")
    if source is not None and (user is not None or from_stdin or token or delete):
        raise click.UsageError(
            "--import takes all users of a file: give no USER, and no other option but --cost"
        )


def _read_password(user: str, from_stdin: bool) -> bytes:
    if from_stdin:
        return sys.stdin.buffer.readline().rstrip(b"\r\n")
    password = click.prompt(
        f"Password of {user}", hide_input=True, confirmation_prompt="The same again", err=True
    )
    return str(password).encode()
