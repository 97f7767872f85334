"""A recording as a test case: its clients play again, in memory and virtual time. See ``replay``."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from curier.testing.network import Network
from curier.testing.wire import Caller, Wire
from curier.trace.events import Event
from curier.trace.recordings import read_events
from curier.trace.replay import END, EXPECT, EXPECT_END, OPEN, SEND, Plan, Replayer, Step

PATIENCE = 5.0
"""Virtual seconds for an answer."""


def replay(
    recording: str | PathLike[str] | Iterable[Event],
    network: Network | None = None,
    *,
    username: str | None = None,
    password: bytes | None = None,
) -> Replayer:
    """Play the clients of a recording (a ``.curier`` file, a capture, or events) against a broker in memory.

        assert not replay("tests/handover.curier").differences

    ``network`` is a ``Network`` or a ``Pair`` with the broker that is to be tested; without, one that has the
    defaults. Time passes in it as it did in the recording, and virtually, so that what expires does. A
    recording has no passwords: ``username`` and ``password`` stand in the place of its own.

    ``differences`` of what is returned says where the broker did otherwise, ``before`` which answers are
    others only by what one of the brokers knew before the recording began, ``notes`` what could not be
    played. Raises ``OSError`` and ``curier.trace.recordings.NotARecording`` as the file has it.
    """
    if isinstance(recording, str | PathLike):
        with Path(recording).open("rb") as file:
            plan = Plan(read_events(file))
    else:
        plan = Plan(recording)
    replayer = Replayer(plan, "", username, password)
    _Playing(network if network is not None else Network(), replayer).run()
    return replayer


class _Player(Caller):
    """Who sits at the client's end of a wire."""

    def __init__(self, replayer: Replayer, step: Step) -> None:
        self.client_id = step.wire.client_id
        self.version = step.wire.version
        self.number = step.wire.number
        self._replayer = replayer

    def arrived(self, wire: Wire, data: bytes) -> None:
        self._replayer.feed(self.number, data)

    def lost(self, wire: Wire) -> None:
        self._replayer.closed(self.number)
        wire.close(True)


class _Playing:
    """The steps of a plan, one after the other."""

    def __init__(self, network: Network, replayer: Replayer) -> None:
        self._network = network
        self._replayer = replayer
        self._wires: dict[int, Wire] = {}

    def run(self) -> None:
        steps = self._replayer.plan.steps
        ahead = self._network.now - steps[0].time if steps else 0.0
        for step in steps:
            self._network.run(max(0.0, step.time + ahead - self._network.now))
            self._take(step)
        self._replayer.finish()

    def _take(self, step: Step) -> None:
        network, replayer = self._network, self._replayer
        if step.kind == OPEN:
            player = _Player(replayer, step)
            wire = Wire(network, player, network.broker, network.watchers, network.faults, network.tells)
            self._wires[step.wire.number] = wire
            replayer.opened(step)
            network.broker.accept(wire)
        elif step.kind == SEND:
            if data := replayer.outgoing(step):
                self._wires[step.wire.number].send(True, data)
        elif step.kind == END:
            self._wires[step.wire.number].close(True)
        elif step.kind in (EXPECT, EXPECT_END):
            self._wait(step)

    def _wait(self, step: Step) -> None:
        replayer = self._replayer
        came = False

        def is_settled() -> bool:
            nonlocal came
            came = replayer.take(step)
            return came or (step.kind == EXPECT and replayer.is_over(step))

        why = ""
        try:
            self._network.run_until(is_settled, PATIENCE)
        except TimeoutError as error:
            why = str(error)
        if not came:
            replayer.missed(step, why)
