"""What the library says of its settings, said with the names of options."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = (
    (
        r"if you know who signed it, name their certificate as ca_file",
        r"if you know who signed it, name their certificate with --cafile",
    ),
    (r"\bca_file\b", "--cafile"),
    (r"^certificate (\S.*?)(?=, key |: )", r"--cert \1"),
    (r", key (\S.*?)(?=: )", r", --key \1"),
    (r"^key ", "--key "),
    (r"a TLS key needs its certificate: give both, certificate and key", "--key needs --cert: give both"),
    (
        r"is encrypted: give key_password",
        "is encrypted, and there is no option for its password: `openssl pkey` makes one that is not",
    ),
    (r"\bminimum_version\b", "--tls-version"),
    (r"\bthe names in alpn\b", "the names of --tls-alpn"),
    (r", or give that as server_name", ", or leave the comparison out with --insecure"),
    (r" \(connect_timeout\)", ""),
    (
        r"^password: before MQTT 5\.0 it needs a username beside it",
        "a password needs a user name before MQTT 5.0: -u NAME",
    ),
    (r"^user_properties: ", "-D connect user-property: "),
    (r"^maximum_packet_size: ", "-D connect maximum-packet-size: "),
    (r"^will: response_topic: ", "-D will response-topic: "),
    (r"^will: ", "--will-topic: "),
)


def in_options(text: str) -> str:
    """A message of the library, which names its settings, for people who gave options."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text
