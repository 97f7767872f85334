"""The ledger of the simulation blames the broker for nothing that a client has asked for."""

from __future__ import annotations

from random import Random

from curier.broker.options import Options
from curier.testing import Network
from tests.simulation.ledger import Ledger, Person


def test_a_clean_start_under_way_when_an_earlier_connect_is_answered_ends_a_session() -> None:
    options = Options()
    options.sys_interval = 0.0
    network = Network(
        options, random=Random(0), latency=(0.1, 0.1), splits=False, durable=True, disk_latency=(0.3, 0.3)
    )
    ledger = Ledger(network)
    person = Person(ledger, "c", 5, 1000, 100, 100)
    person.connect(False)
    network.run(10)
    assert ledger.epochs == {"c": 1}
    person.connect(True)
    network.run(0.65)
    person.connect(True)  # before the first is answered, which still is, with the session that it began
    network.run(0.15)
    assert ledger.epochs == {"c": 2}
    person.connect(False)  # before the second is, which therefore never is
    network.run(0.6)
    assert ledger.epochs == {"c": 3}  # the session of the second: that of the first was not lost
