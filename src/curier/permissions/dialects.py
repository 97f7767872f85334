"""Whose rules the files of others are: what they mean has changed from one Mosquitto to the next."""

from __future__ import annotations

from typing import Final

MOSQUITTO_20: Final = "mosquitto-2.0"
MOSQUITTO_21: Final = "mosquitto-2.1"

DIALECTS: Final = (MOSQUITTO_21, MOSQUITTO_20)
