"""Which packets of a client may pass unseen, in and out (``fast_lane``): decided here only."""

from __future__ import annotations

from typing import Final

from curier.broker.model import BrokerConnection
from curier.broker.options import REFUSE
from curier.broker.state import NO_LIMIT, BrokerState
from curier.codec.constants import MQTT_50
from curier.protocol.connection import CONNECTED

DECIDE_LANES: Final = frozenset(("maximum_qos", "check_payload_format", "when_full", "queue_qos0"))
"""The settings among what decides."""


def set_lanes(broker: BrokerState, connection: BrokerConnection) -> None:
    """Decide anew: in (``connection.is_fast``) and out (``session.in_trains``, ``session.lane``). Called when
    anything of this changes.
    """
    hooks = broker.hooks
    witness = hooks.witness
    is_wanted = hooks.packet is not None or (witness is not None and witness.sees(connection))
    connection.tap = broker.tap if is_wanted else None
    connection.is_owed = True
    is_seen = connection.tap is not None or broker.slow_lane_only
    connected = connection.state == CONNECTED
    connection.is_fast = (
        connected
        and not is_seen
        and connection.mount is None
        and connection.stalled is None
        and hooks.publish is None
        and hooks.delivered is None
        and broker.options.maximum_qos == 2
        and not broker.options.check_payload_format
        and not (broker.options.when_full == REFUSE and broker.journal is None)  # routes do not say who lasts
    )
    session = connection.server_session
    if session is not None and session.connection is connection:
        plain = (
            connected
            and not is_seen
            and connection.mount is None
            and not connection.is_congested
            and connection.outflow is None
            and not broker.options.queue_qos0
        )
        session.largest = connection.peer_max_packet_size or NO_LIMIT
        session.in_trains = 0 if not plain else MQTT_50 if connection.version == MQTT_50 else 4
        is_recorded = session.journal is not None and not broker.is_clustered  # where only QoS 0 goes unseen
        is_plain_alone = connection.topic_aliases is None and not is_recorded
        session.lane = session.in_trains if is_plain_alone else 0
