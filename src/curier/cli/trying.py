"""What is wrong with the files that the settings of a broker name, seen without running one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from curier.config import Config
from curier.config_authenticators import HOOKS
from curier.errors import ConfigError
from curier.hook_files.reading import parsed
from curier.permissions.rule_file import RuleFile
from curier.server import Broker


def problems(config: Config) -> Iterator[ConfigError]:
    """Read all files, as a broker would that has them, and say what is wrong with each."""
    for look in _looks(config):
        try:
            look()
        except ConfigError as error:
            yield error


def _looks(config: Config) -> Iterator[Callable[[], object]]:
    """What raises ``ConfigError``, file by file."""
    for one in config.asked:
        if one.kind != HOOKS:  # which would run what is in the files
            yield one.make
    for path in config.hooks:
        yield partial(parsed, path)
    if config.log_file is not None:
        yield partial(_look_at_directory, "log_file", config.log_file)
    if config.audit_log is not None:
        yield partial(_look_at_directory, "audit_log", config.audit_log)
    if config.acl_file is not None:
        yield partial(RuleFile, config.acl_file, dialect=config.acl_dialect)
    if config.bridges:
        from curier.bridge.settings import look_at_files  # which most brokers have no use for

        for bridge in config.bridges:
            yield partial(look_at_files, bridge)
    for door in config.doors():
        if door.address.is_secure and not door.acme:  # else there may be no certificate yet
            yield partial(Broker, replace(door, allow_anonymous=True))


def _look_at_directory(name: str, path: str) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory or "."):
        raise ConfigError(f"{name}: there is no directory {directory}")
