"""What of a source is shown: options, and what fits them; and what was there where nothing did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import click

from curier.cli.options import option
from curier.trace.choice import Choice, choice
from curier.trace.events import (
    KEPT,
    KEPT_AGAIN,
    UNKEPT,
    Closed,
    Event,
    Happening,
    Missed,
    Opened,
    Packet,
    Wire,
)
from curier.trace.flows import ConnectionLife, Flow, Publication
from curier.trace.wording import shown

MOST_NAMES: Final = 1000  # that are remembered, to say which there were
TOLD_NAMES: Final = 5

_WHICH: Final = "Which of it"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS: Final = (
    option("--client", metavar="ID", multiple=True, section=_WHICH, help="Connections of this client."),
    option("--user", metavar="NAME", multiple=True, section=_WHICH, help="Of this user."),
    option("--address", metavar="NETWORK", multiple=True, section=_WHICH, help="From there, as 10.0.0.0/8."),
    option("--listener", metavar="NAME", multiple=True, section=_WHICH, help="That came in there."),
    option("--topic", metavar="FILTER", multiple=True, section=_WHICH, help="Messages on such topics."),
    option(
        "--past",
        is_flag=True,
        section=_WHICH,
        help="Of a broker: first what it still knows of what went by before.",
    ),
)


def choosing_options(command: Decorated) -> Decorated:
    """The options that choose; each may be given again. ``chosen`` is for their values."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


def chosen(options: dict[str, Any]) -> Choice:
    """What was chosen. Raises ``click.UsageError``."""
    try:
        return choice(
            options["client"], options["user"], options["address"], options["listener"], options["topic"]
        )
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None


class Chooser:
    """Tells what fits a choice, and remembers names for who has chosen none that is there."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.is_all = not choice.is_of_some and not choice.topics
        self.seen = 0
        self.fitted = 0
        self._names: dict[str, dict[str, None]] = {"client": {}, "user": {}, "listener": {}, "topic": {}}

    def fits(self, event: Event, flow: Flow | None) -> bool:
        """Is this event to be shown, which belongs to ``flow``?"""
        if isinstance(event, Happening) and event.kind in (KEPT, UNKEPT, KEPT_AGAIN):
            return True
        self.seen += 1
        is_noise = self.is_noise(flow) if flow is not None else self._is_noisy(event)
        fits = not is_noise and (self.is_all or self._fits(event, flow))
        self.fitted += fits
        if not self.is_all and not self.fitted:
            self._remember(event, flow)
        return fits

    def fits_flow(self, flow: Flow) -> bool:
        """Is this flow to be shown? A publication is where any chosen client has to do with it."""
        choice = self.choice
        if self.is_noise(flow) or (choice.topics and not self._has_topic(flow)):
            return False
        if not choice.is_of_some:
            return True
        if isinstance(flow, Publication) and self._only_clients():
            return any(leg.client_id in choice.client_ids for leg in flow.legs()) or (
                flow.publisher in choice.client_ids
            )
        return any(self._fits_wire(getattr(step.event, "wire", None), flow) for step in flow.steps)

    def is_noise(self, flow: Flow | None) -> bool:
        """Is it what the broker says of itself all the time, to nobody? ``--topic '$SYS/#'`` wants it."""
        return (
            isinstance(flow, Publication)
            and not self.choice.topics
            and flow.topic.startswith("$SYS/")
            and flow.incoming is None
            and not flow.deliveries
        )

    def _is_noisy(self, event: Event) -> bool:
        is_of_none = isinstance(event, Happening) and not event.client_id and event.topic.startswith("$SYS/")
        return is_of_none and not self.choice.topics

    def _fits(self, event: Event, flow: Flow | None) -> bool:
        choice = self.choice
        if isinstance(event, Missed):
            return True
        if choice.topics and not (flow is not None and self._has_topic(flow)):
            return False
        if not choice.is_of_some:
            return True
        if isinstance(event, Happening) and event.wire is None:
            return self._only_clients() and event.client_id in choice.client_ids
        return self._fits_wire(event.wire, flow)

    def _fits_wire(self, wire: Wire | None, flow: Flow | None) -> bool:
        if wire is None:
            return False
        if not wire.client_id and isinstance(flow, ConnectionLife):
            wire = replace(wire, client_id=flow.client_id)
        return self.choice.fits(wire)

    def _only_clients(self) -> bool:
        choice = self.choice
        return not (choice.users or choice.networks or choice.listeners)

    def _has_topic(self, flow: Flow) -> bool:
        return isinstance(flow, Publication) and self.choice.has_topic(flow.topic.encode())

    def _remember(self, event: Event, flow: Flow | None) -> None:
        if isinstance(event, (Packet, Opened, Closed)):
            for kind, name in (
                ("client", event.wire.client_id),
                ("user", event.wire.user),
                ("listener", event.wire.listener),
                ("topic", flow.topic if isinstance(flow, Publication) else ""),
            ):
                names = self._names[kind]
                if name and len(names) < MOST_NAMES:
                    names[name] = None

    def complaint(self) -> Iterator[str]:
        """What to say where nothing has fitted."""
        if self.fitted or self.is_all:
            return
        yield f"0 of {self.seen} events are of what was chosen"
        choice = self.choice
        for kind, wanted in (
            ("client", choice.client_ids),
            ("user", choice.users),
            ("listener", choice.listeners),
            ("topic", frozenset(one.decode() for one in choice.topics)),
        ):
            names = list(self._names[kind])
            if wanted and names:
                near = [name for one in wanted for name in get_close_matches(one, names, TOLD_NAMES, 0.5)]
                told = ", ".join(repr(shown(name)) for name in (near or names)[:TOLD_NAMES])
                yield f"--{kind}: {'did you mean' if near else 'there was'} {told}{'?' if near else ''}"
