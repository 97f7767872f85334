"""``curier admin``: asks the window of a broker that runs. One command for each operation of the API."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

import click
import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from curier.cli.running import printable
from curier.cli.window import tokens_of
from curier.config import Config, load
from curier.errors import MqttError
from curier.web import forms, table
from curier.web.client import Api, ApiError
from curier.web.local import Local, only
from curier.web.table import OPERATIONS, Operation
from curier.web.tokens import ROLES, add_token, read_tokens, remove_token

EXAMPLES = """\
\b
Examples:
  curier admin overview
  curier admin clients --sort queued --limit 10
  curier admin disconnect sensor-7 --reason "firmware update"
  curier admin subscribers home/light
  curier admin publish home/light --text on --qos 1
  curier admin token add --role viewer grafana
  curier admin login
"""

FAILED: Final = 1
_WIDEST: Final = 60
_NO_ANSWER: Final = 0


class Asking:
    """Which window is asked, and how the answer is shown."""

    def __init__(self, url: str | None, token_file: Path | None, cafile: Path | None, as_json: bool) -> None:
        self._url = url
        self._token_file = token_file
        self._cafile = cafile
        self.as_json = as_json

    def local(self) -> Local:
        """Its address and token. Raises ``ConfigError``."""
        if self._token_file is None:
            return only(self._url)
        if self._url is None:
            raise click.UsageError("--token-file is for the window at --url URL")
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise click.ClickException(f"{self._token_file}: {error.strerror}") from error
        return Local(self._url, token, str(self._cafile or ""))

    def tokens(self) -> Path | None:
        """The file of tokens of the broker that runs here; None where none does, or it has no such file."""
        if self._token_file is not None:
            return None
        try:
            api = Api(self.local())
        except MqttError:
            return None
        try:
            rows = api.ask(table.SETTINGS, forms.Nothing()).settings
        except ApiError:
            return None
        finally:
            api.close()
        value = next((row.value for row in rows if row.key == "web.tokens"), "")
        path = Path(json.loads(value)) if value.startswith('"') else Path()
        return path if path.is_absolute() else None

    def but(self, url: str | None, token_file: Path | None, cafile: Path | None, as_json: bool) -> Asking:
        """The same, with what is said behind the command."""
        return Asking(
            url or self._url, token_file or self._token_file, cafile or self._cafile, as_json or self.as_json
        )

    def ask(self, operation: Operation[Any, Any], asked: Struct) -> None:
        """Ask, and show the answer."""
        api = Api(self.local())
        try:
            answer: Struct = api.ask(operation, asked)
        except ApiError as error:
            raise click.ClickException(printable(str(error))) from error
        finally:
            api.close()
        show(answer, self.as_json)
        if isinstance(answer, forms.Lifted) and not answer.lifted:
            raise click.ClickException(
                "there is no such ban: give --place and --who as they stand in curier ban list"
            )


_OPTIONS: Final = (
    click.option("--url", help="The window; by default, the newest of this user's on this machine."),
    click.option(
        "--token-file", type=click.Path(path_type=Path), help="A file with a token, for a window elsewhere."
    ),
    click.option("--cafile", type=click.Path(path_type=Path), help="Who signs its certificate, for https."),
    click.option("--json", "as_json", is_flag=True, help="The answer as JSON."),
    click.pass_context,
)


def asking_options(group: Callable[..., None]) -> Callable[..., None]:
    """The options of a group of commands that ask a window, in the order of its help."""
    for one in reversed(_OPTIONS):
        group = one(group)
    return group


@click.group(epilog=EXAMPLES)
@asking_options
def admin(
    ctx: click.Context, url: str | None, token_file: Path | None, cafile: Path | None, as_json: bool
) -> None:
    """Look at a broker that runs, and act on it, by its window.

    On the machine of the broker, its user needs no token. It exits with 0 where all is well, with 1 where the
    broker refuses or cannot be asked, with 2 where an option is wrong.
    """
    ctx.obj = Asking(url, token_file, cafile, as_json)


@admin.command()
@click.pass_obj
def login(asking: Asking) -> None:
    """Print a link to the window that logs in, once, in the next ten minutes."""
    local = asking.local()
    api = Api(local)
    try:
        link = msgspec.json.decode(api.raw("POST", "/session/link", b"{}"))["link"]
    except ApiError as error:
        raise click.ClickException(printable(str(error))) from error
    finally:
        api.close()
    click.echo(f"{local.url.rstrip('/')}/{link}")


@admin.command()
@click.pass_obj
def health(asking: Asking) -> None:
    """Say whether the broker is well, and what is wrong. It exits with 1 where something is."""
    api = Api(asking.local())
    try:
        answer = api.ask(table.OVERVIEW, forms.Nothing())
    except ApiError as error:
        raise click.ClickException(printable(str(error))) from error
    finally:
        api.close()
    if asking.as_json:
        click.echo(msgspec.json.encode(answer.troubles))
    else:
        for one in answer.troubles:
            click.echo(f"{one.level}: {one.text}")
        if not answer.troubles:
            click.echo(f"nothing is wrong; {answer.clients} clients are connected")
    if any(one.level == "error" for one in answer.troubles):
        raise click.exceptions.Exit(FAILED)


@admin.group()
def token() -> None:
    """Make tokens for those who ask from elsewhere, list them, take them back.

    The broker reads the file again when it changes. It has hashes only: a token is shown once.
    """


def _file(asking: Asking, file: Path | None, config: Path | None) -> Path:
    """Where tokens are: as is said, else where the broker that runs here has them. Raises ``UsageError``
    where there cannot be any.
    """
    if file is None and config is None:
        file = asking.tokens()
    found = file or tokens_of(load(config) if config is not None else Config())
    if found is None:
        raise click.UsageError("this broker has no data directory: give --file, and tokens below [web]")
    return found


_AT = (
    click.option(
        "--file",
        type=click.Path(path_type=Path),
        help="The file of tokens; by default, that of the broker which runs here.",
    ),
    click.option(
        "--config", type=click.Path(path_type=Path), help="Or the configuration file of the broker."
    ),
)


def _at(command: Callable[..., None]) -> Callable[..., None]:
    for option in _AT:
        command = option(command)
    return command


@token.command()
@click.option("--role", type=click.Choice([*ROLES]), default="viewer", help="What it may do.")
@_at
@click.argument("name")
@click.pass_obj
def add(asking: Asking, name: str, role: str, file: Path | None, config: Path | None) -> None:
    """Make a token for NAME, in the place of one it has, and print it."""
    click.echo(add_token(_file(asking, file, config), name, ROLES[role]))


@token.command("list")
@_at
@click.pass_obj
def list_tokens(asking: Asking, file: Path | None, config: Path | None) -> None:
    """List who has tokens."""
    for known in read_tokens(_file(asking, file, config)).values():
        click.echo(f"{known.name}  {known.role.name.lower()}")


@token.command()
@_at
@click.argument("name")
@click.pass_obj
def remove(asking: Asking, name: str, file: Path | None, config: Path | None) -> None:
    """Take back the token of NAME."""
    if not remove_token(_file(asking, file, config), name):
        raise click.ClickException(f"there is no token of {name!r}")


# ---- commands made from the table of operations ----


def command_for(operation: Operation[Any, Any]) -> click.Command:
    """A command that asks for an operation: what it needs are arguments, what it may have are options."""
    params: list[click.Parameter] = [*_also_behind()]
    for field in msgspec.structs.fields(operation.asked):
        kind, is_many = _kind(field)
        if field.required:
            params.append(click.Argument([field.name], type=kind))
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if kind is bool:
            params.append(click.Option([f"{flag}/--no-{flag[2:]}", field.name], default=None))
        else:
            shown = field.default if field.default not in (NODEFAULT, None, "") else None
            about = f"[default: {shown}]" if shown is not None else ""
            option = click.Option([flag, field.name], type=kind, multiple=is_many, help=about)
            params.append(option)

    @click.pass_obj
    def run(asking: Asking, /, **given: Any) -> None:
        where = [given.pop(f"also_{name}") for name in ("url", "token_file", "cafile", "as_json")]
        values = {name: value for name, value in given.items() if value is not None and value != ()}
        try:
            asked = msgspec.convert(values, operation.asked)
        except msgspec.ValidationError as error:
            raise click.UsageError(str(error)) from None
        asking.but(*where).ask(operation, asked)

    role = operation.role.name.lower()
    text = f"{operation.summary}\n\nFor the role {role}: {operation.method} {table.PREFIX}{operation.path}"
    return click.Command(operation.command, callback=run, params=params, help=text)


def _also_behind() -> list[click.Option]:
    """The options of the group, which may stand behind the command as well."""
    a_path = click.Path(path_type=Path)
    return [
        click.Option(["--url", "also_url"], hidden=True),
        click.Option(["--token-file", "also_token_file"], type=a_path, hidden=True),
        click.Option(["--cafile", "also_cafile"], type=a_path, hidden=True),
        click.Option(["--json", "also_as_json"], is_flag=True, hidden=True),
    ]


class _Json(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A value that has an inside."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except json.JSONDecodeError as error:
            self.fail(f"expected JSON: {error}", param, ctx)


_JSON: Final = _Json()


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """Of which type an option is, and whether it may come more than once."""
    kind = field.type
    if get_origin(kind) in (types.UnionType, Union):
        kind = next(one for one in get_args(kind) if one is not type(None))
    while hasattr(kind, "__metadata__"):  # Annotated
        kind = kind.__origin__
    if kind == list[str]:
        return str, True
    return (kind, False) if kind in (str, int, float, bool) else (_JSON, False)


for _operation in OPERATIONS:
    admin.add_command(command_for(_operation))


# ---- showing answers ----


def show(answer: Struct, as_json: bool) -> None:
    """Print an answer: as JSON, or for people, with its one list as a table."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
        return
    plain = _flat(msgspec.to_builtins(answer))
    rows = next((value for value in plain.values() if _is_table(value)), None)
    cursor = plain.pop("next", "")
    for name, value in plain.items():
        text = "" if value is rows or value in ("", None) else _cell(name, value, None)
        if text:
            click.echo(f"{name + ':':<24} {text}")
    if rows is not None:
        _table(rows)
    if cursor:
        click.echo(f"there are more: --cursor {cursor}")


def _flat(plain: dict[str, Any]) -> dict[str, Any]:
    """What is within fields, as fields; and columns as rows."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        if name == "columns":
            found[name] = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
        elif name == "row":
            found |= value
        elif isinstance(value, dict):
            found |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if any(row.get(name) not in ("", None) for row in rows)]
    cells = [[_cell(name, row.get(name), _WIDEST) for name in names] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(names)]
    for row in [names, *cells]:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        click.echo(line[: max(shutil.get_terminal_size((1000, 24)).columns, 80)])


def is_moment(name: str) -> bool:
    """Is the number of this name in an answer a point in time?"""
    return name.endswith(("_at", "_since", "_until")) or name in (
        "began",
        "certificate_ends",
        "since",
        "time",
    )


def _cell(name: str, value: Any, widest: int | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and is_moment(name):
        return datetime.fromtimestamp(value, UTC).isoformat(" ", "seconds") if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if value == []:
        return "none"
    if isinstance(value, dict) and "shown" in value:  # a payload
        value = value["text"] if value["text"] is not None else f"{value['size']} bytes"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    text = printable(str(value))
    return text if widest is None or len(text) <= widest else f"{text[: widest - 3]}..."
