"""A hook in a file: a humidity of more than 100 % is refused, and what is no number as well.

curier broker --hook examples/refuse_humidity.py
curier pub -t kitchen/humidity -m 101 -q 1          # refused: Payload format invalid
"""

from curier import ReasonCode
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.session.message import ApplicationMessage


class NoMoreThanAll(Hook):
    """Looks at topics that end in /humidity."""

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        """0 lets the message pass; what raises refuses it, with 0x83 and a line in the log."""
        too_much = message.topic.endswith(b"/humidity") and float(message.payload) > 100
        return ReasonCode.PAYLOAD_FORMAT_INVALID if too_much else ReasonCode.SUCCESS
