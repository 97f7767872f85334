"""``curier store``: look into a data directory, copy it, carry it elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final

import click

from curier.errors import StoreError
from curier.store.database import FILE_NAME, Database

NEVER: Final = 0xFFFFFFFF

IMPORT_NAME: Final = "curier-import.db"
"""What an import is called until it is whole."""

_ACCEPT_LOSS = click.option(
    "--accept-loss",
    is_flag=True,
    help="Take what is there, though something that was acknowledged is missing.",
)
_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


class StoreFailure(click.ClickException):
    """Something is wrong with a file or directory: one line for the user, and exit code 2."""

    exit_code = 2


class StoreCommands(click.Group):
    """Commands whose errors end with exit code 2."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except StoreError as error:
            raise StoreFailure(str(error)) from error


@click.group(cls=StoreCommands)
def store() -> None:
    """Look into the directory where a broker keeps its state, back it up, move it.

    DIR is what `curier broker` was given with --data. All commands but import may be used while the broker
    runs, and show one moment of it.

    \b
    Examples:
      curier store inspect ~/.local/state/curier
      curier store backup /var/lib/curier /backup/curier.db
      curier store export /var/lib/curier | gzip >state.jsonl.gz
      gunzip <state.jsonl.gz | curier store import /var/lib/new
    """


@store.command()
@_DIRECTORY
@click.option("--limit", default=20, show_default=True, help="How many sessions to list; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Say it as JSON, with all sessions.")
def inspect(directory: Path, limit: int, as_json: bool) -> None:
    """Say what is stored in DIR: sessions, their queues, retained messages, and how large it all is.

    The sessions with the most bytes queued come first.

    \b
    Examples:
      curier store inspect /var/lib/curier --limit 0
      curier store inspect /var/lib/curier --json | jq '.sessions[] | select(.queued > 1000)'
    """
    from curier.store.summary import summarize

    with _opened(directory) as (database, missing):
        summary = summarize(database)
    if missing:
        click.echo(f"Warning: {summary.path}: {missing}", err=True)
    if as_json:
        click.echo(json.dumps({**asdict(summary), "missing": missing}, ensure_ascii=False))
        return
    rows = summary.rows
    click.echo(f"{summary.path}: {_size(summary.file_bytes)}")
    click.echo(
        f"{rows['sessions']} sessions, {rows['subscriptions']} subscriptions, {rows['deliveries']} "
        f"deliveries of {rows['messages']} messages, {rows['retained']} retained messages "
        f"({_size(summary.retained_bytes)}), {rows['wills']} wills"
    )
    shown = summary.sessions[:limit] if limit else summary.sessions
    if not shown:
        return
    table: list[tuple[str, ...]] = [
        ("session", "MQTT", "subscriptions", "queued", "inflight", "size", "ends")
    ]
    has_mounts = any(one.mount for one in summary.sessions)
    if has_mounts:
        table[0] += ("mount",)
    for one in shown:
        version = {3: "3.1", 4: "3.1.1", 5: "5.0"}.get(one.version, str(one.version))
        numbers = (str(one.subscriptions), str(one.queued), str(one.inflight), _size(one.bytes))
        row = (_printable(one.client_id), version, *numbers, _end(one.expiry_interval, one.ends_at))
        table.append((*row, _printable(one.mount)) if has_mounts else row)
    click.echo()
    _print_table(table)
    if len(shown) < len(summary.sessions):
        click.echo(f"... and {len(summary.sessions) - len(shown)} more: --limit 0 shows all")


@store.command()
@_DIRECTORY
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@_ACCEPT_LOSS
def export(directory: Path, file: Path | None, accept_loss: bool) -> None:
    """Write what is stored in DIR as JSON, one record a line, to FILE or standard output.

    Payloads that are not UTF-8 stand as base64. FILE must not exist; it is made readable by its owner only.

    \b
    Examples:
      curier store export /var/lib/curier state.jsonl
      curier store export /var/lib/curier | jq -r 'select(.is == "session").client_id'
    """
    from curier.store.portable import to_lines

    def write(out: BinaryIO) -> None:
        for line in to_lines(database.records()):
            out.write(line.encode() + b"\n")
        out.flush()

    with _opened(directory) as (database, missing):
        _decide(database, missing, accept_loss)
        if file is None or str(file) == "-":
            write(sys.stdout.buffer)
        else:
            _write_new(file, write)


@store.command(name="import")
@_DIRECTORY
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
def import_(directory: Path, file: Path | None) -> None:
    """Make a new DIR of what export wrote to FILE, or of standard input.

    DIR must not hold a broker's state yet. If FILE is wrong anywhere, nothing is left in DIR.

    \b
    Example:
      curier store import /var/lib/new state.jsonl
    """
    from curier.store.directory import lock, prepare

    is_new = not directory.exists()
    prepare(directory)
    try:
        held = lock(directory)
        try:
            count = _import_from(directory, file)
        finally:
            os.close(held)
    except BaseException:
        if is_new:
            with suppress(OSError):
                directory.rmdir()
        raise
    click.echo(f"{count} records are in {directory / FILE_NAME}")


def _import_from(directory: Path, file: Path | None) -> int:
    from curier.store.ahead import FILE_NAME as JOURNAL_NAME
    from curier.store.mark import FILE_NAME as MARK_NAME

    for name in (FILE_NAME, f"{FILE_NAME}-wal", JOURNAL_NAME, MARK_NAME):
        if (directory / name).exists():
            raise StoreFailure(
                f"{directory / name}: is there already; choose another directory, or move it away"
            )
    if file is None or str(file) == "-":
        return _import(directory, sys.stdin.buffer, "standard input")
    try:
        with file.open("rb") as lines:
            return _import(directory, lines, str(file))
    except OSError as error:
        raise StoreFailure(f"{file}: cannot be read: {error.strerror}") from error


def _import(directory: Path, lines: BinaryIO, name: str) -> int:
    """Import under another name first: a process that is killed leaves nothing that a broker would take."""
    import apsw

    from curier.store.frames import sync_directory
    from curier.store.portable import from_lines

    _remove_import(directory)  # of a process that was killed
    try:
        database = Database(directory, name=IMPORT_NAME)
        try:
            count = 0
            for records in from_lines(lines, name):
                database.apply(records)
                count += len(records)
            database.finish_import()
        except apsw.Error as error:
            raise database.explain(error) from None
        finally:
            database.close()
        (directory / IMPORT_NAME).rename(directory / FILE_NAME)
        sync_directory(directory)
    except BaseException:
        _remove_import(directory)
        raise
    return count


def _remove_import(directory: Path) -> None:
    for path in directory.glob(f"{IMPORT_NAME}*"):
        path.unlink()


@store.command()
@_DIRECTORY
@click.argument("file", type=click.Path(path_type=Path))
@_ACCEPT_LOSS
def backup(directory: Path, file: Path, accept_loss: bool) -> None:
    """Copy what is stored in DIR to FILE, as it is at one moment, while the broker goes on.

    FILE must not exist; it is made readable by its owner only. To go back to it: stop the broker, move
    curier.db, curier.db-wal, curier.db-shm, curier.journal and curier.mark away, and put FILE in their place
    as curier.db.

    \b
    Example:
      curier store backup /var/lib/curier /backup/curier-$(date +%F).db
    """
    from curier.store.backing_up import back_up

    click.echo(f"{file}: {_size(back_up(directory, file, accept_loss))}")


# ---- files ----


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[Database, str]]:
    """The database of a data directory, for reading only, and what is missing from it."""
    from curier.store.beginning import look

    database, missing = look(directory)
    try:
        yield database, missing
    finally:
        database.close()


def _decide(database: Database, missing: str, accept_loss: bool) -> None:
    """A copy from which something is missing must not take the place of a good one unnoticed."""
    if missing and not accept_loss:
        raise StoreFailure(f"{database.path}: {missing}; --accept-loss takes what is there")


def _write_new(file: Path, write: Callable[[BinaryIO], None]) -> None:
    from curier.store.backing_up import claim

    claim(file)
    try:
        with file.open("wb") as out:
            write(out)
            os.fsync(out.fileno())
    except OSError as error:
        file.unlink()
        raise StoreFailure(f"{file}: cannot be written: {error.strerror}") from error
    except BaseException:
        file.unlink()
        raise


# ---- for people ----


def _size(count: int) -> str:
    """Bytes in a unit that leaves few digits."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"


def _end(expiry_interval: int, ends_at: float) -> str:
    if expiry_interval == NEVER:
        return "never"
    if not ends_at:
        return f"{expiry_interval} s after it leaves" if expiry_interval else "when it leaves"
    left = ends_at - time.time()
    return f"in {left:.0f} s" if left > 0 else "now"


def _printable(text: str) -> str:
    """A Client Identifier in a terminal: no control characters, not too wide."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 1, len(row) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
