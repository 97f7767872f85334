"""What went wrong with TLS, in words: OpenSSL's own are for those who know OpenSSL."""

from __future__ import annotations

import ssl
from typing import Final

from curier.codec.constants import IMPLEMENTATION_SPECIFIC_ERROR, MQTT_50
from curier.codec.decode import claimed_limit, claimed_version
from curier.codec.encode import encode
from curier.codec.packets import Connack
from curier.codec.properties import Properties
from curier.greetings import HTTP, MQTT, greeting, told_in_http, way_out

# By OpenSSL's name of the reason.
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has sent no certificate, which is required here",
    "UNSUPPORTED_PROTOCOL": "the client offers only versions of TLS that are too old",
    "VERSION_TOO_LOW": "the client offers only versions of TLS that are too old",
    "NO_SHARED_CIPHER": "the client offers no cipher that this listener knows, or none for its certificate",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "the client takes no signature that this listener's certificate has",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the client takes no signature that this listener's certificate has",
    "WRONG_VERSION_NUMBER": "what came is not TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the connection ended without close_notify",
    "EXCESSIVE_MESSAGE_SIZE": "a message of the handshake is too large",
}
# By the end of it: what the client has told us in an alert (RFC 8446 section 6.2).
_ALERTS: Final = {
    "UNKNOWN_CA": "the client does not know who signed this listener's certificate",
    "CERTIFICATE_UNKNOWN": "the client does not take this listener's certificate",
    "BAD_CERTIFICATE": "the client does not take this listener's certificate",
    "CERTIFICATE_EXPIRED": "the client says that this listener's certificate has expired",
    "PROTOCOL_VERSION": "the client does not take this version of TLS",
}


def why_not_tls(first: bytes) -> str:
    """Of bytes that do not begin a TLS handshake: what they look like."""
    what = greeting(first)
    if not what:
        return f"what came to this port is not TLS; it begins with {first[:8].hex(' ')}"
    if what == MQTT:
        return (
            "MQTT without TLS came to a port that speaks TLS; the client has to be told to use it (mqtts://)"
        )
    if what == HTTP:
        return (
            "HTTP without TLS came to a port that speaks TLS; "
            "the client has to be told to use it (https:// or wss://)"
        )
    return f"{what} came to a port that speaks TLS; {way_out(what)}"


def answer_in_plain(first: bytes) -> bytes:
    """What can be told to whoever speaks without TLS, in what they speak: HTTP, or MQTT 5.0."""
    what = greeting(first)
    if what == HTTP:
        return told_in_http("This port speaks TLS: use https:// or wss://.\n")
    return told_in_mqtt(first, "this port speaks TLS")


def told_in_mqtt(first: bytes, words: str) -> bytes:
    """A refusal of MQTT 5.0, with these words if the client takes them; nothing for those who do not speak
    it. ``first`` is what has come.
    """
    if greeting(first) != MQTT or claimed_version(first, 0, len(first)) != MQTT_50:
        return b""
    properties = Properties()
    properties.reason_string = words
    packet = encode(Connack(False, IMPLEMENTATION_SPECIFIC_ERROR, properties), MQTT_50)
    limit = claimed_limit(first, 0, len(first))
    if limit and len(packet) > limit:  # [MQTT-3.2.2-19]
        packet = encode(Connack(False, IMPLEMENTATION_SPECIFIC_ERROR, None), MQTT_50)
    return packet if not limit or len(packet) <= limit else b""  # [MQTT-3.1.2-24]


def why_failed(error: Exception) -> str:
    """An error of ``ssl``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is refused: {error.verify_message}"
    reason = str(getattr(error, "reason", None) or error)
    known = _REASONS.get(reason)
    if known is not None:
        return f"TLS: {known}"
    for end, words in _ALERTS.items():
        if "ALERT" in reason and reason.endswith(end):
            return f"TLS: {words}"
    return f"TLS: {reason.replace('_', ' ').lower()}"
