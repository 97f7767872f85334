"""TLS, the server's side, on ``ssl.SSLObject`` between two memory BIOs.

What is ready is decrypted in one go, and everything a turn sends to a client is one record, or as few as can
be. A BIO keeps the largest buffer that it ever had, for as long as its connection lives, and cannot be
exchanged; so both are filled with little at a time. For what is much that costs half as much again.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, final

from curier.net.layer import Layer, LayerError
from curier.net.shared_keys import Claim
from curier.net.tls_words import answer_in_plain, why_failed, why_not_tls

RECORD_BYTES: Final = 16384
"""The most that a record carries (RFC 8446 section 5.1)."""

BIO_BYTES: Final = 4096
"""So much is put into a BIO at once, so that records of ours carry no more."""

HEAD_BYTES: Final = 5
MOST_RECORD_BYTES: Final = RECORD_BYTES + 2048
"""Encrypted, but for its head (RFC 5246 section 6.2.3; less in TLS 1.3)."""

MOST_SHAKEN: Final = 24 * 1024
"""Bytes of a handshake, behind which no more is taken of it. A chain of four RSA certificates has 6 KB."""

MOST_BARREN: Final = 2 * RECORD_BYTES
BARREN_SHARE: Final = 128
"""A client may send that many bytes that carry nothing, and 128 more for each byte that it says: messages of
TLS itself, key updates above all, cost a hundred times what data does. Records of a single byte have up to 85
for it; those that are padded (RFC 8446 section 5.4) have what the client likes."""

# The first byte of a record, and so of a ClientHello (RFC 8446 section 5.1: ContentType).
CHANGE_CIPHER_SPEC: Final = 0x14
HANDSHAKE: Final = 0x16
APPLICATION_DATA: Final = 0x17


def is_finished(data: bytes) -> bool:
    """Does it look like a client's last of a handshake in TLS 1.3, which is encrypted?

    Where it carries no certificate, to work on it costs less than a way to a thread and back.
    """
    return data[0] == APPLICATION_DATA or (
        data[0] == CHANGE_CIPHER_SPEC and len(data) > 6 and data[6] == APPLICATION_DATA
    )


def whole_records(data: bytes) -> int:
    """How many bytes of ``data`` are whole records: all, if it cannot be TLS, which OpenSSL has words for."""
    size = len(data)
    end = 0
    while end + HEAD_BYTES <= size:
        length = data[end + 3] << 8 | data[end + 4]
        if data[end + 1] != 3 or length > MOST_RECORD_BYTES:
            return size
        if end + HEAD_BYTES + length > size:
            break
        end += HEAD_BYTES + length
    return end


def never_refused(connection: ssl.SSLObject) -> str:
    """Whoever has finished the handshake is welcome."""
    return ""


@final
class Tls(Layer):
    """The server's side of one TLS connection, with a ``context`` of the moment.

    ``refusal`` tells why one whose handshake is done may not go on, ``explain`` what an error of it means,
    ``revoked`` why one that is in may not stay; each returns "" where it has nothing to say. ``claim`` is
    there where clients have keys in the place of certificates.

    A handshake is costly. So its steps are not taken by ``receive``: where ``needs_work`` is set, the owner
    calls ``work``, in any thread, and nothing else meanwhile but ``receive``, which then only keeps what it
    is given; then ``worked``, and ``receive`` again, with b"".
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        refusal: Callable[[ssl.SSLObject], str] = never_refused,
        explain: Callable[[ssl.SSLError], str] = why_failed,
        claim: Claim | None = None,
        revoked: Callable[[ssl.SSLObject], str] = never_refused,
    ) -> None:
        super().__init__()
        self.needs_work: bool = False
        self.is_taken: bool = False  # somebody is about to do it
        self.kept_bytes: int = 0  # that came while there was work to do, or are no whole record yet
        self.asks_certificate: bool = context.verify_mode != ssl.CERT_NONE
        self.claim: Final = claim
        self._refusal = refusal
        self._explain = explain
        self._revoked = revoked
        self._context: ssl.SSLContext | None = context  # until the first bytes come
        self._kept: bytes = b""
        self._shaken_bytes: int = 0  # of the handshake, given to OpenSSL
        self._barren: int = 0  # bytes that came and carried nothing
        self._error: LayerError | None = None
        self._is_shaken: bool = False  # the handshake is over; set by whoever works
        self._is_cut: bool = True  # OpenSSL may have a part of a record
        self._is_closed: bool = False
        self._plain_answer: bytes = b""
        self._object: ssl.SSLObject | None = None
        self._incoming: ssl.MemoryBIO
        self._outgoing: ssl.MemoryBIO
        self._read: Callable[[int], bytes]
        self._write: Callable[[Any], int]

    def _begin(self, context: ssl.SSLContext) -> None:
        """The first record has come. What costs memory is made here."""
        self._context = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        made = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._object = made
        # What ``SSLObject`` calls itself, one Python frame further down.
        inner: Any = getattr(made, "_sslobj", made)
        self._read = inner.read
        self._write = inner.write

    # ---- the handshake ----

    def work(self) -> None:
        """Take the next step of the handshake."""
        assert self._object is not None
        try:
            if self.claim is None:
                self._object.do_handshake()
            else:
                self.claim.shake(self._object)
            why = self._refusal(self._object)
        except ssl.SSLWantReadError:
            return
        except Exception as error:
            why = self._explain(error) if isinstance(error, ssl.SSLError) else ""
            self._error = LayerError(why or why_failed(error))
            return
        if why:
            self._error = LayerError(why)
        self._is_shaken = True

    def worked(self) -> None:
        """The work is done."""
        self.needs_work = False
        self.is_taken = False

    def _shake(self, data: bytes) -> bytes:
        """Bytes of the handshake, or behind it.

        Whole records are worked on, so that who sends them in pieces is no more work than others, and what a
        record is can be told by its first byte.
        """
        kept = self._kept = self._kept + data
        self.kept_bytes = len(kept)
        if self.needs_work:
            return b""
        if self._is_shaken:
            self._end_handshake()
        if self.is_open:
            self._kept = b""
            self.kept_bytes = 0
            return self._decrypt(kept)
        if self._context is not None and kept and kept[0] != HANDSHAKE:
            self._plain_answer = answer_in_plain(kept)
            raise LayerError(why_not_tls(kept))
        size = whole_records(kept)
        if not size:
            return b""
        records = kept[:size]
        self._kept = kept[size:]
        self.kept_bytes = len(kept) - size
        if self._context is not None:
            self._begin(self._context)
        if self._shaken_bytes > MOST_SHAKEN:  # each of a hundred certificates in a chain is work
            self._error = LayerError(f"TLS: a handshake of more than {MOST_SHAKEN} bytes")
            raise self._error
        self._shaken_bytes += size
        self._incoming.write(records)
        self.needs_work = True
        if not self.asks_certificate and is_finished(records):
            self.work()
            self.needs_work = False
            return self.receive(b"")
        return b""

    def midst(self) -> str:
        if self._is_shaken or (self._object is None and not self._kept):
            return ""
        return "the TLS handshake; it may not take this listener's certificate"

    def _end_handshake(self) -> None:
        self.is_open = True

    def certificate(self) -> tuple[bytes, dict[str, Any]] | None:
        """The client's, as DER and as ``ssl`` reads it; None where it has shown none, or was not asked to."""
        made = self._object
        if made is None or not self.is_open or not self.asks_certificate:
            return None
        der = made.getpeercert(True)
        return None if der is None else (der, made.getpeercert() or {})

    def why_no_more(self) -> str:
        """Why a client that is in may not stay: its certificate was taken back meanwhile; "" if it may."""
        made = self._object
        return "" if made is None or not self.is_open or not self.asks_certificate else self._revoked(made)

    # ---- bytes ----

    def receive(self, data: bytes) -> bytes:
        if self.is_open and self._error is None:
            return self._decrypt(data)
        if self._error is not None and not self.needs_work:
            self.has_more = False
            raise self._error
        return self._shake(data)

    def _decrypt(self, data: bytes) -> bytes:
        """All that whole records carry (an unfinished one is kept by OpenSSL)."""
        incoming = self._incoming
        size = len(data)
        if self.is_ended:
            return b""
        if size <= BIO_BYTES:
            if size:
                incoming.write(data)
            at = size
        else:
            at = BIO_BYTES
            incoming.write(memoryview(data)[:at])
        found: list[bytes] = []
        barren = self._barren + at
        while True:
            waiting = incoming.pending
            if not waiting:
                if at >= size:
                    break
                incoming.write(memoryview(data)[at : at + BIO_BYTES])
                at += BIO_BYTES
                barren += BIO_BYTES
                continue
            # A record carries less than its length; but part of it may be with OpenSSL already.
            most = RECORD_BYTES if self._is_cut or waiting > RECORD_BYTES else waiting
            self._is_cut = False
            try:
                piece = self._read(most)
            except ssl.SSLWantReadError:
                self._is_cut = True
                if barren <= MOST_BARREN:
                    continue
                self._error = LayerError("TLS: too many messages that carry nothing, such as key updates")
                if not found:
                    raise self._error from None
                self.has_more = True
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            except OSError as error:
                self._error = LayerError(why_failed(error))
                if not found:
                    raise self._error from None
                self.has_more = True
                break
            if not piece:  # close_notify (RFC 8446 section 6.1)
                self.is_ended = True
                break
            found.append(piece)
            barren -= BARREN_SHARE * len(piece)
            if barren < 0:
                barren = 0
        self._barren = barren
        if len(found) == 1:
            return found[0]
        return b"".join(found)

    def send(self, data: bytes) -> list[bytes]:
        size = len(data)
        records: list[bytes] = []
        if self._error is not None:
            return records
        try:
            if size <= BIO_BYTES:
                self._write(data)
                return [self._outgoing.read()]
            view = memoryview(data)
            at = 0
            while at < size:
                written: int = self._write(view[at : at + BIO_BYTES])
                at += written
                records.append(self._outgoing.read())
        except OSError as error:  # the connection is broken, which ``receive`` tells
            self._error = LayerError(why_failed(error))
        return records

    def answers(self) -> bytes:
        if self._object is None:
            answer = self._plain_answer
            self._plain_answer = b""
            return answer
        if self.needs_work or not self._outgoing.pending:
            return b""
        return self._outgoing.read()

    def close(self, code: int) -> bytes:
        """close_notify, once; the peer's own is not waited for."""
        made = self._object
        if made is None or not self.is_open or self._is_closed or self._error is not None:
            return b""
        self._is_closed = True
        try:
            made.unwrap()
        except OSError:
            pass  # the peer has not closed, or has sent what is not read any more
        return self._outgoing.read()
