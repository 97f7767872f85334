"""Errors everywhere, at random: the promises to those who were not hit hold, and to those who were as well.

At any call of a hook, at any packet in and out, and at the encoding of messages for a client an error may be
raised. The ledger knows whom each was met with; nobody else may be disconnected for it.
"""

from __future__ import annotations

from random import Random
from typing import cast

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from curier.broker.core import BrokerCore
from curier.broker.faults import Fault
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.protocol.connection import Connection, Tap
from curier.session.message import ApplicationMessage
from tests.simulation.ledger import Ledger
from tests.simulation.test_simulation import TOPICS, World, names

IMPOSSIBLE = cast(int, "poison")  # as a Topic Alias: it cannot be encoded, in either form
RATE = 0.05


class Injected(Exception):
    """An error that the tests have made."""


class Trouble:
    """Decides where errors are met, and notes with whom."""

    def __init__(self, ledger: Ledger, random: Random) -> None:
        self.ledger = ledger
        self.random = random
        self.rate = 0.0
        self.count = 0

    def meet(self, client_id: str = "") -> None:
        if self.rate and self.random.random() < self.rate:
            self.count += 1
            if client_id:
                self.ledger.hit.add(client_id)
            raise Injected

    def noted(self, fault: Fault) -> None:
        """An error was caught by the core: none but those that were made here."""
        if not isinstance(fault.error, Injected) and not is_poison(fault.error):
            raise fault.error


def is_poison(error: Exception) -> bool:
    """Is it what an impossible alias is to whoever makes a packet with it, in either form?"""
    return isinstance(error, (TypeError, AttributeError)) and "str" in str(error)


def who(connection: BrokerConnection) -> str:
    """The client, which has not said who it is before its CONNECT was looked at."""
    return connection.client_id or connection.address.partition(":")[0]


class Failing(Hook):
    """Fails now and then, at every event."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        self.trouble.meet(who(connection))

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        self.trouble.meet(who(connection))

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        self.trouble.meet(who(connection))

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self.trouble.meet()

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self.trouble.meet()

    def on_session_end(self, client_id: str, why: str) -> None:
        self.trouble.meet()

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        self.trouble.meet()


class FailingAtMessages(Failing):
    """And at every message and packet, for which nothing takes the fast lane."""

    def on_delivered(self, client_id: str, message: ApplicationMessage, reason_code: int) -> None:
        self.trouble.meet()

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        try:
            self.trouble.meet()
        except Injected:
            self.trouble.ledger.refused.add(int(message.payload))
            raise
        return 0

    def on_packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes, now: float) -> None:
        self.trouble.meet(who(connection))


class FailingTap(Tap):
    """Fails not in a hook, but in the middle of the connection's own code."""

    def __init__(self, trouble: Trouble, inner: Tap) -> None:
        self.trouble = trouble
        self.inner = inner

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        assert isinstance(connection, BrokerConnection)
        if is_outgoing:
            self.trouble.meet(who(connection))
        self.inner.packet(connection, is_outgoing, data, now)
        if not is_outgoing:
            self.trouble.meet(who(connection))


class FaultyWorld(World):
    """Three persons and a broker that fails."""

    chosen: tuple[int, bool] | None = None
    trouble: Trouble | None = None

    @initialize(seed=st.integers(0, 2**32), at_messages=st.booleans())
    def choose(self, seed: int, at_messages: bool) -> None:
        self.chosen = seed, at_messages
        if hasattr(self, "ledger"):
            self.begun()

    def begun(self) -> None:
        if self.chosen is None:
            return  # it is about to be
        seed, self.at_messages = self.chosen
        self.trouble = Trouble(self.ledger, Random(seed))
        self.network.broker.on_fault = self.trouble.noted
        self.fail_in(self.network.broker.core)
        self.trouble.rate = RATE

    @rule()
    def begin_to_fail(self) -> None:
        if self.trouble is not None:
            self.trouble.rate = RATE

    @rule()
    def fail_no_more(self) -> None:
        if self.trouble is not None:
            self.trouble.rate = 0.0

    def fail_in(self, core: BrokerCore) -> None:
        assert self.trouble is not None
        core.tap = FailingTap(self.trouble, core.tap)
        core.add_hook(FailingAtMessages(self.trouble) if self.at_messages else Failing(self.trouble))

    @rule(name=names, topic=st.sampled_from(TOPICS))
    def poison(self, name: str, topic: str) -> None:
        """From now on no message on ``topic`` can be encoded for this connection."""
        session = self.network.broker.core.sessions.get(name)
        if self.trouble is not None and session is not None and session.connection is not None:
            aliases = session.connection.topic_aliases
            if aliases is not None:
                aliases[topic.encode()] = IMPOSSIBLE
                self.ledger.hit.add(name)

    def restarted(self) -> None:
        super().restarted()
        if self.trouble is not None:
            self.fail_in(self.network.broker.core)

    def teardown(self) -> None:
        if self.trouble is not None:
            self.trouble.rate = 0.0
            for connection in self.network.broker.core.connections.values():
                if connection.topic_aliases is not None and IMPOSSIBLE in connection.topic_aliases.values():
                    self.person(connection.client_id).cut()
        super().teardown()


class DurableFaultyWorld(FaultyWorld):
    """The same with a disk; it crashes, too."""

    durable = True


@pytest.mark.timeout(390)  # seconds of work, on a machine that may have other work
@pytest.mark.parametrize("world", [FaultyWorld, DurableFaultyWorld])
def test_promises_are_kept_whatever_fails(world: type[World]) -> None:
    """Other histories each time: the two passes of `make test` together have 300."""
    run_state_machine_as_test(world, settings=settings(stateful_step_count=30, max_examples=150))
