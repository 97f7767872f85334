"""What the statements of MQTT 5.0 say that a field of a Control Packet obeys or breaks, in one sentence each.

Statements are named as the codec names them: by their id in 5.0, and those that only 3.1.1 has as
``"3.1.1/MQTT-..."``. The number before the dash is the section to read.
"""

from __future__ import annotations

from typing import Final

_SENTENCES: Final[dict[str, str]] = {
    "MQTT-1.5.4-1": "Text is well-formed UTF-8, without surrogates.",
    "MQTT-1.5.4-2": "Text has no U+0000.",
    "MQTT-1.5.5-1": "A Variable Byte Integer takes as few bytes as it can.",
    "MQTT-1.5.7-1": "Name and value of a String Pair are both UTF-8 text.",
    "MQTT-2.1.3-1": "Reserved bits of the Fixed Header have the value that is listed for the packet.",
    "MQTT-2.2.1-3": "A Packet Identifier is not 0.",
    "MQTT-2.2.2-1": "No Properties are said by a Property Length of 0.",
    "MQTT-3.1.2-1": 'The Protocol Name is "MQTT" (in 3.1 "MQIsdp").',
    "MQTT-3.1.2-2": "A Server that does not know the Protocol Version may say so (0x84) and closes.",
    "MQTT-3.1.2-3": "The reserved bit of the Connect Flags is 0.",
    "MQTT-3.1.2-4": "With Clean Start, Client and Server forget what they had and begin a new Session.",
    "MQTT-3.1.2-9": "With the Will Flag, the payload has Will Topic and Will Payload.",
    "MQTT-3.1.2-11": "Without Will Flag, Will QoS is 0.",
    "MQTT-3.1.2-12": "Will QoS is 0, 1 or 2.",
    "MQTT-3.1.2-13": "Without Will Flag, Will Retain is 0.",
    "MQTT-3.1.2-17": "With the User Name Flag, the payload has a User Name.",
    "MQTT-3.1.2-19": "With the Password Flag, the payload has a Password.",
    "MQTT-3.1.2-22": "A Server that hears nothing for one and a half times the Keep Alive closes.",
    "3.1.1/MQTT-3.1.2-22": "Without User Name Flag, the Password Flag is 0.",
    "MQTT-3.1.3-3": "The Client Identifier is there, as the first field of the payload.",
    "MQTT-3.1.3-4": "The Client Identifier is UTF-8 text.",
    "MQTT-3.1.3-11": "The Will Topic is UTF-8 text.",
    "MQTT-3.1.3-12": "The User Name is UTF-8 text.",
    "MQTT-3.2.2-1": "Bits 7 to 1 of the Connect Acknowledge Flags are 0.",
    "MQTT-3.2.2-6": "A refusal has Session Present 0.",
    "MQTT-3.2.2-8": "A CONNACK has one of the Connect Reason Codes.",
    "MQTT-3.3.1-2": "DUP is 0 at QoS 0.",
    "MQTT-3.3.1-4": "QoS is 0, 1 or 2.",
    "MQTT-3.3.2-1": "The Topic Name is the first field behind the Fixed Header, and UTF-8 text.",
    "MQTT-3.3.2-2": "A Topic Name has no wildcards.",
    "MQTT-3.3.2-8": "A Topic Alias is not 0.",
    "MQTT-3.3.2-14": "A Response Topic has no wildcards.",
    "MQTT-3.3.4-6": "A Client sends no Subscription Identifier with a PUBLISH.",
    "MQTT-3.4.2-1": "A PUBACK has one of the PUBACK Reason Codes.",
    "MQTT-3.5.2-1": "A PUBREC has one of the PUBREC Reason Codes.",
    "MQTT-3.6.2-1": "A PUBREL has one of the PUBREL Reason Codes.",
    "MQTT-3.7.2-1": "A PUBCOMP has one of the PUBCOMP Reason Codes.",
    "MQTT-3.8.3-1": "Topic Filters are UTF-8 text.",
    "MQTT-3.8.3-2": "A SUBSCRIBE has at least one Topic Filter with its options.",
    "MQTT-3.8.3-4": "No Local is not set on a Shared Subscription.",
    "3.1.1/MQTT-3.8.3-4": "The requested QoS is 0, 1 or 2, and all other bits are 0.",
    "MQTT-3.8.3-5": "Bits 6 and 7 of the Subscription Options are 0.",
    "MQTT-3.9.3-2": "A SUBACK has one of the Subscribe Reason Codes for each Topic Filter.",
    "MQTT-3.10.3-1": "Topic Filters are UTF-8 text.",
    "MQTT-3.10.3-2": "An UNSUBSCRIBE has at least one Topic Filter.",
    "MQTT-3.11.3-2": "An UNSUBACK has one of the Unsubscribe Reason Codes for each Topic Filter.",
    "MQTT-3.14.2-1": "A DISCONNECT has one of the DISCONNECT Reason Codes.",
    "MQTT-3.14.2-2": "A Server sends no Session Expiry Interval with a DISCONNECT.",
    "MQTT-3.15.2-1": "An AUTH has one of the Authenticate Reason Codes.",
    "MQTT-4.7.0-1": "A Topic Name has no wildcards.",
    "MQTT-4.7.1-1": "'#' stands alone in its level, which is the last of the Topic Filter.",
    "MQTT-4.7.1-2": "'+' stands alone in its level.",
    "MQTT-4.7.3-1": "Topic Names and Topic Filters have at least one character.",
    "MQTT-4.8.2-1": "The filter of a Shared Subscription has a ShareName of at least one character.",
    "MQTT-4.8.2-2": "A ShareName has no wildcards, and '/' and a Topic Filter follow it.",
}


def sentence(rule: str) -> str:
    """What a statement asks for, in our words; "" for one that no field of a Control Packet is about."""
    return _SENTENCES.get(rule, "")


def section(rule: str) -> str:
    """The section that a statement stands in: ``"3.3.1"`` for ``"MQTT-3.3.1-4"``."""
    return rule.rpartition("MQTT-")[2].rpartition("-")[0]
