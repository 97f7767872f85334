"""The Properties of a message, as the API shows them."""

from __future__ import annotations

import base64

from curier.codec.constants import PUBLISH
from curier.codec.primitives import Reader, encode_varint
from curier.codec.properties import decode_properties
from curier.web import forms, pin_forms


def shown_properties(made: forms.RetainedMessage | pin_forms.PastValue, encoded: bytes) -> None:
    """Put them into the answer; ``encoded`` is without its length."""
    if not encoded:
        return
    whole = encode_varint(len(encoded)) + encoded
    found = decode_properties(Reader(whole, 0, len(whole)), PUBLISH)
    made.content_type = found.content_type or ""
    made.response_topic = found.response_topic or ""
    made.payload_is_text = found.payload_format_indicator == 1
    made.correlation_data = base64.b64encode(found.correlation_data or b"").decode()
    made.user_properties = [forms.Property(name, value) for name, value in found.user_properties]
