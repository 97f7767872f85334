"""CONNACK, and what it promises (3.2)."""

from __future__ import annotations

from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState
from curier.codec.constants import MAXIMUM_REMAINING_LENGTH, MQTT_31, MQTT_50, SESSION_NEVER_EXPIRES
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect
from curier.codec.properties import Properties


def expiry_interval(broker: BrokerState, packet: Connect) -> int:
    """Session Expiry Interval in force (3.1.2.11.2); 3.x: Clean Session 0 means it does not end by itself."""
    if packet.version == MQTT_50:
        properties = packet.properties
        asked = (properties.session_expiry_interval or 0) if properties is not None else 0
    else:
        asked = 0 if packet.clean_start else SESSION_NEVER_EXPIRES
    return min(asked, broker.options.session_expiry_maximum)


def keep_alive(broker: BrokerState, packet: Connect) -> int:
    """Keep Alive in force: the client's, or a shorter one it is told (3.2.2.3.14) [MQTT-3.2.2-22]."""
    asked = packet.keep_alive
    maximum = broker.options.keep_alive_maximum
    if packet.version == MQTT_50 and maximum and (not asked or asked > maximum):  # 3.x cannot be told
        return maximum
    return asked


def is_taken(broker: BrokerState, connection: BrokerConnection, packet: Connect) -> bool:
    """Is CONNACK within the client's Maximum Packet Size [MQTT-3.1.2-24]?"""
    if not connection.peer_max_packet_size:
        return True
    return connection.fits(encode(made(broker, connection, packet, False), packet.version))


def made(broker: BrokerState, connection: BrokerConnection, packet: Connect, is_present: bool) -> Connack:
    """CONNACK with all the client has to know (3.2.2.3); only what differs from the default is said."""
    if packet.version != MQTT_50:
        # Session Present is a flag of 3.1.1 [3.1.1: MQTT-3.2.2-2]; in 3.1 the byte is reserved.
        return Connack(is_present and packet.version != MQTT_31, 0, None)
    options = broker.options
    properties = Properties()
    asked = (packet.properties.session_expiry_interval or 0) if packet.properties is not None else 0
    granted = expiry_interval(broker, packet)
    if asked != granted:
        properties.session_expiry_interval = granted
    properties.receive_maximum = options.receive_maximum
    if options.maximum_qos < 2:  # [MQTT-3.2.2-9]
        properties.maximum_qos = options.maximum_qos
    if not options.retain_available:
        properties.retain_available = 0
    # Some clients, paho for one, take a number above the largest Remaining Length for an error.
    most = connection.entrance.largest_packet(options.max_packet_size)
    properties.maximum_packet_size = min(most, MAXIMUM_REMAINING_LENGTH)
    if connection.assigned_client_id:  # [MQTT-3.2.2-16]
        properties.assigned_client_identifier = packet.client_id
    if options.topic_alias_maximum:
        properties.topic_alias_maximum = options.topic_alias_maximum
    if not options.wildcard_subscription_available:
        properties.wildcard_subscription_available = 0
    if not options.subscription_identifiers_available:
        properties.subscription_identifier_available = 0
    if not options.shared_subscription_available:
        properties.shared_subscription_available = 0
    seconds = keep_alive(broker, packet)
    if seconds != packet.keep_alive:
        properties.server_keep_alive = seconds
    if (
        packet.properties is not None
        and packet.properties.request_response_information
        and options.response_information
    ):
        properties.response_information = options.response_information.replace(
            "{client_id}", packet.client_id
        )
    properties.authentication_method = connection.authentication_method
    properties.authentication_data = connection.authentication_data
    hop = broker.hop
    if hop is not None and packet.properties is not None and packet.properties.user_properties:
        if hop[0] in dict(packet.properties.user_properties):  # a bridge, which says where it comes from
            properties.user_properties = [hop]
    return Connack(is_present, 0, properties)
