"""Options for all settings of a broker, and how they go together with the environment and a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from curier.cli.options import option, write_sections
from curier.config import Config, load, with_settings
from curier.settings.cluster import CLUSTER
from curier.settings.environment import CONFIG, settings_of
from curier.settings.kinds import FILES, FLAG, URLS, Kind
from curier.settings.setting import Setting, plain
from curier.settings.table import ALL
from curier.settings.web import OFF

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class InSections(click.Command):
    """The command, with its help in sections. It takes options alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options. What else there is may well be a file of settings: that is told its option."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            extra = ctx.args[0]
            way_out = f"; a file of settings is given as --config {extra}" if Path(extra).is_file() else ""
            ctx.fail(f"there is nothing to do with {extra!r} here: this command takes options alone{way_out}")
        return ctx.args

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        write_sections(self, ctx, formatter)


def read(kind: Kind) -> Callable[[str], object]:
    """What reads a value of this kind, for click."""

    def parse(text: str) -> object:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return parse


def setting_options(command: Decorated) -> Decorated:
    """``command`` with --config, and an option for each setting; it is given all, by name."""
    command = options_of(ALL, command)
    command = option("--no-web", is_flag=True, help="No window.", section="The window")(command)
    return _config(command)


def cluster_options(command: Decorated) -> Decorated:
    """``command`` with --config, and an option for each setting below ``[cluster]``."""
    return _config(options_of(CLUSTER, command))


def options_of(settings: Mapping[str, Setting], command: Decorated) -> Decorated:
    """``command`` with an option for each of these."""
    for setting in reversed([*settings.values()]):
        kind, help_text = setting.kind, setting.help
        if setting.default[0] in "`0123456789":
            default = plain(setting.default).strip('"')
            help_text += f"  [default: {default}]"
        how: dict[str, Any] = {"default": None, "help": help_text, "section": setting.section}
        names = setting.option
        if kind is FLAG:
            names = f"{names}/--no-{setting.option[2:]}"
        elif kind is URLS or kind is FILES:
            how.update(multiple=True, metavar=kind.metavar)
        elif kind.choices:
            how["type"] = click.Choice(kind.choices)
        else:
            how.update(type=read(kind), metavar=kind.metavar)
        command = option(names, setting.name, **how)(command)
    return command


def _config(command: Decorated) -> Decorated:
    config = option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        envvar=CONFIG,
        help="Settings from a TOML file; variables and options beat it.",
    )
    return config(command)


def settings_from(file: Path | None, options: Mapping[str, object]) -> Config:
    """The file, the environment over it, and over both the options of the command, as click has them."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    if given.pop("no_web", False):
        if "web" in given:
            raise click.UsageError("--web and --no-web cannot both be")
        given["web"] = OFF
    if given.get("memory") and "data" in given:
        raise click.UsageError("--data and --memory cannot both be: choose a directory, or memory only")
    config = load(file) if file is not None else Config()
    config = with_settings(config, settings_of(os.environ), lambda setting: setting.variable)
    return with_settings(config, given, lambda setting: setting.option)
