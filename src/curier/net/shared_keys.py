"""TLS with keys that both sides know, in the place of certificates (PSK, RFC 4279): whose key it is, is who
the client is.

Only TLS 1.2 is spoken with them. In TLS 1.3 another mechanism is behind the same name, with other ciphers,
which Python's callback does not speak of.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final

from curier.loglines import printable
from curier.net.tls_words import why_failed

MOST_SESSIONS: Final = 20_480
"""So many OpenSSL keeps of a context (SSL_SESSION_CACHE_MAX_SIZE_DEFAULT)."""


class SharedKeys:
    """The keys of a file, by identity, and who the sessions belong to that were made with them."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.keys: Final = dict(keys)
        self.sessions: Final[dict[bytes, str]] = {}  # by number
        self._lock = threading.Lock()

    def add_to(self, context: ssl.SSLContext, hint: str) -> None:
        """Make ``context`` one of these keys, and of nothing else."""
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET  # Python cannot read in one whose it is; of sessions, we know
        made: Any = context
        made.set_psk_server_callback(self._find, hint or None)

    def remember(self, number: bytes, identity: str) -> None:
        """Whose the session of a finished handshake is; the oldest is forgotten when there are too many."""
        with self._lock:
            self.sessions[number] = identity
            if len(self.sessions) > MOST_SESSIONS:
                del self.sessions[next(iter(self.sessions))]

    def _find(self, identity: str | None) -> bytes:
        """OpenSSL asks, in the midst of a handshake, in the thread that takes its step.

        To one that is not known a key is given that nobody has: so it looks from outside like a wrong one.
        """
        claim: Claim | None = getattr(_thread, "claim", None)
        if claim is None:
            return os.urandom(32)
        claim.said = identity or ""
        key = self.keys.get(claim.said)
        claim.is_known = key is not None
        return os.urandom(32) if key is None else key


_thread = threading.local()
"""``claim``: that of the handshake whose step this thread takes at the moment."""


class Claim:
    """Who a client says that it is, in one handshake with ``keys``, and when that is done, who it is:
    ``identity``.

    Python does not tell the callback of a context which connection asks. But it asks in the thread that has
    called ``do_handshake``, before that returns; so the thread knows.
    """

    def __init__(self, keys: SharedKeys) -> None:
        self.identity: str | None = None
        self.said: str | None = None  # None: it was not asked yet
        self.is_known = False
        self._keys = keys

    def shake(self, connection: ssl.SSLObject) -> None:
        """``connection.do_handshake()``, for this client."""
        _thread.claim = self
        try:
            connection.do_handshake()
        finally:
            _thread.claim = None

    def refusal(self, connection: ssl.SSLObject) -> str:
        """Why a connection whose handshake is done may not go on, or "": then ``identity`` is known.

        Sessions of TLS 1.2 have numbers, by which a client can resume without naming itself again; that
        cannot be switched off. Whose they are is remembered as long as OpenSSL does.
        """
        session = connection.session
        number = session.id if session is not None else b""
        if connection.session_reused:
            self.identity = self._keys.sessions.get(number)
        elif self.is_known and self.said is not None:
            self.identity = self.said
            self._keys.remember(number, self.said)
        return "" if self.identity is not None else "TLS: nobody knows any more whose session that is"

    def explain(self, error: ssl.SSLError) -> str:
        """Why the handshake has failed, for the log."""
        reason = error.reason or ""
        if reason in ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"):
            return "TLS: the client does not offer TLS 1.2, the only version with keys of a psk_file"
        if reason == "NO_SHARED_CIPHER":
            return "TLS: the client offers no cipher with keys (PSK) that this listener has"
        if reason == "PSK_IDENTITY_NOT_FOUND":
            return "TLS: the identity that the client names is not UTF-8, so psk_file cannot have it"
        if self.said is None or reason not in _WRONG_KEY:
            return why_failed(error)
        if not self.is_known:
            return f"TLS: psk_file has no key for the identity {printable(self.said)!r}"
        return f"TLS: the client's key is not the one that psk_file has for {printable(self.said)!r}"


_WRONG_KEY: Final = frozenset(
    ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "DIGEST_CHECK_FAILED", "BAD_DECRYPT", "BAD_RECORD_MAC")
)
