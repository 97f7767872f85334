"""The pytest plugin: a broker, clients, a simulated pair and faults as fixtures; the traffic of failed tests.

It is loaded in every pytest run where curier is installed, so here is nothing that costs time: what the
fixtures need is imported when a test asks for one. All of them are plain functions: the broker has an event
loop of its own in a thread, and what is async is made within the loop of the test that uses it. So it does
not matter which plugin runs async tests, or how wide its loops are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from curier.testing.clients import ClientMaker
    from curier.testing.pair import Pair
    from curier.testing.served import FaultyBroker, ServedBroker

DIAGRAM = "diagram"
PACKETS = "packets"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--curier-trace``."""
    group = parser.getgroup("curier", "MQTT programs (curier)")
    group.addoption(
        "--curier-trace", action="store_true", help="show the MQTT traffic of tests that fail, as diagrams"
    )
    group.addoption(
        "--curier-trace-as",
        choices=(DIAGRAM, PACKETS),
        default=DIAGRAM,
        help="as diagrams, or a line for each packet (default: diagram)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Only where traffic is to be shown is anything done for each test."""
    if config.getoption("--curier-trace"):
        from curier.testing.showing import Showing

        config.pluginmanager.register(Showing(config.getoption("--curier-trace-as")), "curier-trace")


def _recording(request: pytest.FixtureRequest) -> Any:
    """Where to record what goes by, if it is to be shown."""
    showing = request.config.pluginmanager.get_plugin("curier-trace")
    return None if showing is None else showing.recording


@pytest.fixture(scope="session")
def mqtt_broker_settings() -> dict[str, Any]:
    """The arguments of ``curier.Broker`` for ``mqtt_broker``, but ``listen``: override it to change them."""
    return {}


@pytest.fixture(scope="session")
def mqtt_broker(
    request: pytest.FixtureRequest, mqtt_broker_settings: dict[str, Any]
) -> Iterator[ServedBroker]:
    """A broker on a free port of this machine, for the whole session; ``host``, ``port`` and ``url``.

    It answers when a test begins, lets everybody in, and keeps nothing on disk.
    """
    from curier.testing.served import ServedBroker

    with ServedBroker(mqtt_broker_settings, _recording(request)) as broker:
        yield broker


@pytest.fixture
def mqtt_client(request: pytest.FixtureRequest, mqtt_broker: ServedBroker) -> ClientMaker:
    """Makes clients of ``mqtt_broker``: ``async with mqtt_client() as client``, or
    ``with mqtt_client.sync() as client``. With ``mqtt_faults`` in the same test, they go by that.
    """
    from curier.testing.clients import ClientMaker

    where = request.getfixturevalue("mqtt_faults") if "mqtt_faults" in request.fixturenames else mqtt_broker
    return ClientMaker(where.url)


@pytest.fixture
def mqtt_faults(request: pytest.FixtureRequest, mqtt_broker: ServedBroker) -> Iterator[FaultyBroker]:
    """A way to ``mqtt_broker`` that breaks by rules: ``mqtt_faults.add("lose 1st PUBACK")``.

    It has ``host``, ``port`` and ``url`` of its own, for the program that is to be tested.
    """
    from curier.testing.served import FaultyBroker

    with FaultyBroker(mqtt_broker, _recording(request)) as faulty:
        yield faulty


@pytest.fixture
def mqtt_pair(request: pytest.FixtureRequest) -> Pair:
    """A broker and clients in memory, in virtual time; ``mqtt_pair.faults`` breaks its wires."""
    from curier.testing.pair import Pair

    pair = Pair()
    recording = _recording(request)
    if recording is not None:
        pair.tells.append(recording.add)
    return pair
