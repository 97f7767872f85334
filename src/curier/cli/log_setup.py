"""Where the log goes, how its lines look, and how many there are, as the settings say."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from curier.cli.log_formats import JournalFormatter, JsonFormatter, PlainFormatter
from curier.cli.log_writer import AuditFile, FileWriter, LogWriter
from curier.config import Config
from curier.errors import ConfigError
from curier.settings.log_levels import TOPICS


def start_logging(config: Config) -> FileWriter | None:
    """Log as the settings say: from curier what the levels say, from everything else warnings and errors.

    Returns what writes the file, if it is one. Raises ``ConfigError`` for one that cannot be written.
    """
    handler: logging.Handler
    file: FileWriter | None = None
    in_journal = False
    if config.log_file is not None:
        try:
            handler = file = FileWriter(config.log_file)
        except OSError as error:
            raise ConfigError(f"log_file: {config.log_file} cannot be written: {error.strerror}") from error
    else:
        try:
            handler = LogWriter(sys.stderr.fileno())
            in_journal = goes_to_journal(sys.stderr)
        except OSError:  # somebody has put something of their own in its place
            handler = logging.StreamHandler(sys.stderr)
    if config.log_format == "json":
        handler.setFormatter(JsonFormatter(config.worker_name))
    else:
        made = JournalFormatter if in_journal else PlainFormatter
        handler.setFormatter(made(config.worker_name))
    # Nobody asks which line of which thread it was; not to find out makes a line half as expensive.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger().addHandler(handler)
    set_levels(config)
    return file


def open_audit(config: Config) -> AuditFile | None:
    """Where the audit log goes; None: there is none. Raises ``ConfigError`` where it cannot be written."""
    if config.audit_log is None:
        return None
    try:
        return AuditFile(config.audit_log)
    except OSError as error:
        raise ConfigError(f"audit_log: {config.audit_log} cannot be written: {error.strerror}") from error


def set_levels(config: Config) -> None:
    """Have each topic say as much as it should."""
    level = config.log_level.upper()
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.getLogger("curier").setLevel(level)
    own = dict(config.log_levels)
    for topic, name in TOPICS.items():
        logging.getLogger(name).setLevel(own[topic].upper() if topic in own else logging.NOTSET)


def goes_to_journal(stream: TextIO) -> bool:
    """Whether what is written there goes to journald: its variable names the file (systemd.exec(5))."""
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is closed, or no file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
