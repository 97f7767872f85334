"""One rule: which packets it means, and what becomes of them. Plain data, checked when it is made."""

from __future__ import annotations

from typing import Final

from curier.codec.constants import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MQTT_50,
    MQTT_311,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from curier.codec.reasons import reason_code_allowed
from curier.errors import ConfigError
from curier.frozen import dataclass

LOSE: Final = "lose"
DELAY: Final = "delay"
DOUBLE: Final = "double"
CUT_BEFORE: Final = "cut before"
CUT_AFTER: Final = "cut after"
STOP_READING: Final = "stop reading"
FLIP: Final = "flip"
ANSWER: Final = "answer"
REORDER: Final = "reorder"

ACTIONS: Final = (LOSE, DELAY, DOUBLE, CUT_BEFORE, CUT_AFTER, STOP_READING, FLIP, ANSWER, REORDER)

PACKET_TYPES: Final[dict[str, int]] = {
    "CONNECT": CONNECT,
    "CONNACK": CONNACK,
    "PUBLISH": PUBLISH,
    "PUBACK": PUBACK,
    "PUBREC": PUBREC,
    "PUBREL": PUBREL,
    "PUBCOMP": PUBCOMP,
    "SUBSCRIBE": SUBSCRIBE,
    "SUBACK": SUBACK,
    "UNSUBSCRIBE": UNSUBSCRIBE,
    "UNSUBACK": UNSUBACK,
    "PINGREQ": PINGREQ,
    "PINGRESP": PINGRESP,
    "DISCONNECT": DISCONNECT,
    "AUTH": AUTH,
}
PACKET_NAMES: Final = {number: name for name, number in PACKET_TYPES.items()}

ANY: Final = 0  # of ``Rule.packet``

TO_SERVER: Final = "to the broker"
TO_CLIENT: Final = "to the client"

FROM_CLIENTS: Final = frozenset([CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ])
FROM_SERVERS: Final = frozenset([CONNACK, SUBACK, UNSUBACK, PINGRESP])
ANSWERS: Final = {
    CONNECT: CONNACK,
    PUBLISH: PUBACK,  # or PUBREC, which may carry the same
    PUBREC: PUBREL,
    PUBREL: PUBCOMP,
    SUBSCRIBE: SUBACK,
    UNSUBSCRIBE: UNSUBACK,
}
"""What answers a packet with a Reason Code."""

_IDENTIFIED: Final = frozenset(range(PUBLISH, UNSUBACK + 1))

FOREVER: Final = float("inf")
SECONDS_APART: Final = 1.0
"""How long a reordered packet waits for another one to go before it, where the rule does not say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``action`` is done to packets that are all of this; what is left at its default does not matter.

    ``packet``: its type, ``ANY`` for all. ``direction``: ``TO_SERVER``, ``TO_CLIENT`` or "". ``client_id``:
    of the client at the line. ``topic``: a Topic Filter, for PUBLISH. ``identifier``: its Packet Identifier.
    ``qos``: of a PUBLISH.

    Of those that are: ``nth``, from 1, means only this one, ``every`` each third or so; counted over all
    connections, or ``per_connection``. ``after`` and ``until``: seconds since the connection began, or the
    rule was added, whichever was later. ``chance``: from 0 to 1, drawn for each. ``times``: it acts no more
    than so often, 0 for no such bound.

    ``seconds``: how long DELAY takes, how long STOP_READING lasts (0: for good), and how long REORDER waits.
    ``bit``: which is flipped, from the first of the packet; -1 for any. ``reason_code``: that of ANSWER.
    CUT_AFTER and STOP_READING with ``by_clock`` need no packet: they act when ``after`` has passed.

    ``text`` is how the rule was written. Raises ``ConfigError`` where it could never act.
    """

    action: str
    packet: int = ANY
    direction: str = ""
    client_id: str = ""
    topic: str = ""
    identifier: int = 0
    qos: int = -1
    nth: int = 0
    every: int = 0
    per_connection: bool = False
    after: float = 0.0
    until: float = FOREVER
    chance: float = 1.0
    times: int = 0
    seconds: float = 0.0
    bit: int = -1
    reason_code: int = -1
    by_clock: bool = False
    text: str = ""

    def __post_init__(self) -> None:
        why = _fault(self) or _fault_of_action(self)
        if why:
            raise ConfigError(f"{self}: {why}")

    def __str__(self) -> str:
        """As it was written."""
        return self.text or self.action


def _fault(rule: Rule) -> str:
    """Why no packet could be meant."""
    name = PACKET_NAMES.get(rule.packet, "")
    if rule.packet in FROM_CLIENTS and rule.direction == TO_CLIENT:
        return f"{name} goes from clients to the broker only"
    if rule.packet in FROM_SERVERS and rule.direction == TO_SERVER:
        return f"{name} goes from the broker to clients only"
    if (rule.topic or rule.qos >= 0) and rule.packet not in (ANY, PUBLISH):
        return f"{name} has no {'topic' if rule.topic else 'QoS'}: only PUBLISH has"
    if rule.identifier and rule.packet != ANY and rule.packet not in _IDENTIFIED:
        return f"{name} has no Packet Identifier"
    if rule.identifier and rule.qos == 0:
        return "a PUBLISH of QoS 0 has no Packet Identifier"
    if not 0 < rule.chance <= 1:
        return f"a chance is above 0 and up to 1 (100%), not {rule.chance:g}"
    if not 0 <= rule.after < rule.until:
        return f"its time ends ({rule.until:g} s) before it begins ({rule.after:g} s)"
    return ""


def _fault_of_action(rule: Rule) -> str:
    """Why its action could not be done."""
    action = rule.action
    if action not in ACTIONS:
        return f"there is no such action; there are {', '.join(ACTIONS)}"
    if rule.by_clock and action not in (CUT_AFTER, STOP_READING):
        return f"{action} needs a packet"
    if action == DELAY and rule.seconds <= 0:
        return "say how long: delay PUBREC by 2s"
    if action == ANSWER:
        if not 0 <= rule.reason_code <= 255:
            return "say with which Reason Code: answer PUBLISH with 0x97"
        reply = ANSWERS.get(rule.packet)
        if reply is None:
            answered = ", ".join(PACKET_NAMES[number] for number in ANSWERS)
            return f"only these have an answer with a Reason Code: {answered}"
        if rule.packet == PUBLISH and rule.qos == 0:
            return "nothing answers a PUBLISH of QoS 0"
        if not any(reason_code_allowed(reply, rule.reason_code, version) for version in (MQTT_50, MQTT_311)):
            return f"{PACKET_NAMES[reply]}, which answers it, may not carry 0x{rule.reason_code:02X}"
    return ""
