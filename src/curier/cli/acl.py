"""``curier acl``: what the rules of a file let a client do, without running a broker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from curier.broker.judging import Who
from curier.config import Config, load, with_settings
from curier.permissions.base import Decision, RuleRights, Rules
from curier.permissions.dialects import DIALECTS
from curier.permissions.reading import read_rules
from curier.permissions.tree import RECEIVE, SUBSCRIBE
from curier.settings.environment import CONFIG, settings_of
from curier.topics.filters import check_topic_filter, check_topic_name

EXAMPLES = """\
\b
Examples:
  curier acl test --acl-file acl --user ana publish home/light
  curier acl test --config broker.toml --client-id dev-1 --qos 2 subscribe 'devices/#'
  curier acl explain --acl-file acl ana
"""

NO = 1
"""Exit code where the answer is no."""

MOST_LEVELS = 65_536

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _claims(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected NAME=VALUE, got {text!r}")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def about_client(command: Decorated) -> Decorated:
    """``command`` with options for the rules, and for what they may know of a client."""
    for option in (
        click.option("--acl-file", type=click.Path(path_type=Path), help="The rules."),
        click.option(
            "--acl-dialect", type=click.Choice(DIALECTS), help="Which Mosquitto's, if they are its."
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            envvar=CONFIG,
            help="Or the configuration file of curier broker that names them.",
        ),
        click.option("--client-id", default="", help="Its Client Identifier."),
        click.option("--group", "groups", multiple=True, help="A group it brings along; may be given again."),
        click.option("--claim", "claims", multiple=True, callback=_claims, help="A claim, as NAME=VALUE."),
        click.option("--cn", help="The name in its certificate."),
        click.option("--listener", default="", help="The name or URL of the listener it comes in by."),
        click.option("--address", default="", help="Where it comes from."),
    ):
        command = option(command)
    return command


@click.group(epilog=EXAMPLES)
def acl() -> None:
    """Ask the rules of an acl_file what a client may do."""


@acl.command()
@click.option("--user", help="Who it is; left out: a client without a user name.")
@click.option(
    "--qos", type=click.IntRange(0, 2), default=0, help="Of the message, or asked for.  [default: 0]"
)
@click.option("--retain", is_flag=True, help="The message has RETAIN.")
@about_client
@click.argument("action", type=click.Choice(("publish", "subscribe", "receive")))
@click.argument("topic")
def test(user: str | None, qos: int, retain: bool, action: str, topic: str, **options: Any) -> None:
    """Say whether a client may publish to TOPIC, subscribe to it, or receive what is published there.

    It says yes or no, and by which rule, with file and line. It exits with 0 for yes, with 1 for no.
    """
    if retain and action != "publish":
        raise click.UsageError("--retain is about a message that is published")
    name = topic.encode()
    check = check_topic_filter if action == "subscribe" else check_topic_name
    why = check(name, MOST_LEVELS)
    if why:
        raise click.BadParameter(why, param_hint="TOPIC")
    rights = _rules(options).rights(_who(user, options))
    decision = _decide(rights, action, name, qos, retain)
    click.echo(f"{'yes' if decision.allows else 'no'}: {decision.why}")
    if not decision.allows:
        raise click.exceptions.Exit(NO)


@acl.command()
@about_client
@click.argument("user", required=False)
def explain(user: str | None, **options: Any) -> None:
    """List the rules that are about USER, in the order in which they count; without USER, about clients that
    have no user name.
    """
    for line in _rules(options).explain(_who(user, options)):
        click.echo(line)
    click.echo("what none of these allows is denied", err=True)


def _decide(rights: RuleRights, action: str, topic: bytes, qos: int, retain: bool) -> Decision:
    if action == "publish":
        return rights.publishing(topic, qos, retain)
    return rights.decide(SUBSCRIBE if action == "subscribe" else RECEIVE, topic, qos)


def _who(user: str | None, options: dict[str, Any]) -> Who:
    address = options["address"]
    return Who(
        user,
        options["client_id"],
        options["cn"],
        frozenset(options["groups"]),
        options["claims"],
        options["listener"],
        f"[{address}]:0" if ":" in address else f"{address}:0",  # as the broker has it, with a port
    )


def _rules(options: dict[str, Any]) -> Rules:
    """The rules that are asked about. Raises ``ConfigError`` where they are wrong."""
    path, dialect = options["acl_file"], options["acl_dialect"]
    if path is None:
        config = load(options["config"]) if options["config"] is not None else Config()
        config = with_settings(config, settings_of(os.environ), lambda setting: setting.variable)
        if config.acl_file is None:
            raise click.UsageError("which rules? Give --acl-file FILE, or --config FILE that has an acl_file")
        path, dialect = Path(config.acl_file), dialect or config.acl_dialect
    return read_rules(path, dialect or DIALECTS[0])
