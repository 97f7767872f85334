"""Certificates that change while the broker runs: the TLS context of a listener, made anew with its files.

Files are looked at every few seconds, without any event: behind links, so that the ways of certbot (``live``
links into ``archive``) and Kubernetes (``..data`` is renamed) are seen as well as a file that is written
anew. A new context is for new connections; those that are open keep theirs. What does not fit is told, and
the context before it stays.
"""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.loglines import logger, printable
from curier.net.certificate_files import day, described, is_own_issuer, key_type, name_of
from curier.net.contexts import Built, Pair, build, stamps
from curier.net.shared_keys import Claim
from curier.net.tls import Tls

log = logger("curier.tls")

LOOK_SECONDS: Final = 5.0
"""Between two looks at the files."""

RETRY_SECONDS: Final = 1.0
"""After a look at files that do not fit: a certificate and its key do not change in one moment."""

MOST_TRIES: Final = 4
"""So often that is tried again before it is told; after that, with each change and each minute."""

LATER_SECONDS: Final = 60.0
DAY: Final = 86_400.0

WARN_TIME: Final = timedelta(days=21)
"""So long before its end a certificate is warned of, daily; a short-lived one, in its last quarter."""


class Certificates:
    """The TLS context of a listener, ``context``, as its files are now, or were when they last fitted.

    Reads them, which takes milliseconds, in the constructor, in ``reload`` and in ``look``: any thread may
    call these. Raises ``ConfigError`` for settings and files that cannot be.
    """

    def __init__(self, listener: Listener, clock: Callable[[], float] = time.time) -> None:
        self.listener = listener
        self.name = listener.name or str(listener.address)
        self._clock = clock
        self._lock = threading.Lock()
        self._tries = 0
        self._failed_at = 0.0
        self._told = ""  # the last thing that was wrong, as it was told
        self._told_at = 0.0
        self._warned: dict[str, float] = {}
        self._refusal = self.refusal  # made once: a bound method has a size, too, in each connection
        self._explain = self.explain
        self._revoked = self.revoked
        self.has_new_lists = False  # of revoked certificates, since somebody has set this to False
        try:
            self._built = build(listener)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        self._tried = self._built.stamps
        self._tell_new()

    def context(self) -> ssl.SSLContext:
        """For a new connection. Ask anew for each: the context of before may be of files that are gone."""
        return self._built.context

    def layer(self) -> Tls:
        """TLS of a new connection, with the files as they are now."""
        built = self._built
        if built.keys is None:
            return Tls(built.context, self._refusal, self._explain, revoked=self._revoked)
        claim = Claim(built.keys)
        return Tls(built.context, claim.refusal, claim.explain, claim)

    @property
    def expires(self) -> float:
        """When the first of its certificates ends, in seconds since 1970; keys never do (inf)."""
        return min((pair.expires for pair in self._built.pairs), default=math.inf)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The certificates that are served."""
        return self._built.pairs

    # ---- reading again ----

    def reload(self) -> None:
        """Read all files again, changed or not. Raises ``ConfigError``, and all stays as it is."""
        with self._lock:
            try:
                self._swap()
            except ConfigError as error:
                raise ConfigError(f"{self.name}: {error}; {self._kept()}") from None

    def look(self) -> float:
        """Read the files again if they have changed; warn of what will end. Returns seconds till the next.

        What is wrong with them is logged, once for each thing, and again each day.
        """
        with self._lock:
            now = self._clock()
            found = stamps(self.listener)
            if found != self._tried:
                self._tried = found
                self._tries = 0
            is_due = self._tries < MOST_TRIES or not 0 <= now - self._failed_at < LATER_SECONDS
            if found != self._built.stamps and is_due:
                try:
                    self._swap()
                except ConfigError as error:
                    self._tries += 1
                    self._failed_at = now
                    if self._tries < MOST_TRIES:
                        return RETRY_SECONDS
                    self._tell_failure(str(error), now)
            self.warn()
            return LOOK_SECONDS

    def _tell_failure(self, why: str, now: float) -> None:
        if why == self._told and 0 <= now - self._told_at < DAY:
            return
        self._told, self._told_at = why, now
        log.error("%s: %s; %s", self.name, why, self._kept())

    def _kept(self) -> str:
        if self._built.keys is not None:
            return "the keys of before are kept"
        end = day(datetime.fromtimestamp(self.expires, UTC))
        return f"the certificate of before is kept, which is valid until {end}"

    def _swap(self) -> None:
        """Raises ``ConfigError``."""
        before, self._built = self._built, build(self.listener)
        self._told = ""
        self._warned.clear()
        if before.crls != self._built.crls:
            self.has_new_lists = True
        self._tell_change(before)
        self._tell_new()

    # ---- what is told ----

    def _tell_new(self) -> None:
        for words in self._built.warnings:
            log.warning("%s: %s", self.name, words)
        self.warn()

    def _tell_change(self, before: Built) -> None:
        keys = self._built.keys
        if keys is not None and before.keys is not None and keys.keys != before.keys.keys:
            what = f"psk_file {self.listener.psk_file}"
            log.info("%s: %s is new for new connections: %d keys", self.name, what, len(keys.keys))
        for number, pair in enumerate(self._built.pairs):
            old = before.pairs[number].leaf
            if pair.leaf == old:
                continue
            log.info(
                "%s: certificate %s is new for new connections: %s; before: %s",
                self.name,
                pair.certificate,
                described(pair.leaf),
                described(old),
            )
            if self.listener.acme and is_own_issuer(old):
                continue  # nobody took what stood there until the first one of ACME
            if pair.leaf.issuer != old.issuer or key_type(pair.leaf) != key_type(old):
                log.warning(
                    "%s: certificate %s has another issuer or kind of key than before: devices that expect "
                    "the one of before will not connect again",
                    self.name,
                    pair.certificate,
                )
        for what, old_names, new_names in (
            ("client_ca", _names(before.authorities), _names(self._built.authorities)),
            ("crl", _lists(before.crls), _lists(self._built.crls)),
        ):
            if old_names != new_names:
                log.info("%s: %s is new for new connections: %s", self.name, what, ", ".join(new_names))

    def warn(self) -> None:
        """Log once a day what has ended, or will: in 21 days, lists in the last quarter of their life."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        for pair in self._built.pairs:
            for one in pair.chain:
                if one is pair.leaf or not is_own_issuer(one):
                    self._warn_of(f"certificate {pair.certificate}", one, now)
        for one in self._built.authorities:
            self._warn_of(f"client_ca {self.listener.client_ca}", one, now)
        for revoked in self._built.crls:
            end = revoked.next_update_utc
            if end is None:
                continue
            what = f"crl {self.listener.crl}: the list of {name_of(revoked.issuer)}"
            if now >= end:
                self._once_a_day(f"{what} ended on {day(end)}: all clients of theirs are refused", now, True)
            elif end - now < (end - revoked.last_update_utc) / 4:
                self._once_a_day(f"{what} ends on {day(end)}: then all clients of theirs are refused", now)

    def _warn_of(self, what: str, one: x509.Certificate, now: datetime) -> None:
        begin, end = one.not_valid_before_utc, one.not_valid_after_utc
        which = f"{what}: the certificate of {name_of(one.subject)}"
        if now >= end:
            self._once_a_day(f"{which} ended on {day(end)}", now, True)
        elif now < begin:
            self._once_a_day(f"{which} begins on {day(begin)}; is the clock right?", now, True)
        elif end - now < min(WARN_TIME, (end - begin) / 4):
            self._once_a_day(f"{which} ends on {day(end)}, in {(end - now).days} days", now)

    def _once_a_day(self, words: str, now: datetime, is_error: bool = False) -> None:
        key = words.partition(", in ")[0]
        last = self._warned.get(key)
        if last is None or not 0 <= now.timestamp() - last < DAY:
            self._warned[key] = now.timestamp()
            (log.error if is_error else log.warning)("%s: %s", self.name, words)

    # ---- one handshake ----

    def refusal(self, connection: ssl.SSLSocket | ssl.SSLObject) -> str:
        """Why a connection whose handshake is done may not go on, or "".

        TLS 1.2 resumes a session by its number, which Python cannot forbid, and OpenSSL does not verify the
        client's certificate again. Who may sign and what was taken back are the same then as they were, for
        a change of either makes a new context, which knows no sessions; but time has passed.
        """
        if not connection.session_reused or connection.context.verify_mode == ssl.CERT_NONE:
            return ""
        certificate = connection.getpeercert(binary_form=True)
        if certificate is None:
            return "" if connection.context.verify_mode == ssl.CERT_OPTIONAL else _WITHOUT
        now = datetime.fromtimestamp(self._clock(), UTC)
        try:
            end = x509.load_der_x509_certificate(certificate).not_valid_after_utc
        except ValueError:
            return "the client's certificate cannot be read"
        if now >= end:
            return "the client's certificate has ended since it was verified"
        for revoked in self._built.crls:
            if revoked.next_update_utc is not None and now >= revoked.next_update_utc:
                return self._ended_lists()
        return ""

    def revoked(self, connection: ssl.SSLObject) -> str:
        """Why a client that was verified before is to go: its certificate is in a list now. "" if it is not.

        Certificates of those who have signed it are not looked up.
        """
        shown = connection.getpeercert(binary_form=True)
        if shown is None or not self._built.crls:
            return ""
        certificate = x509.load_der_x509_certificate(shown)
        for one in self._built.crls:
            if one.issuer == certificate.issuer:
                if one.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                    return f"its certificate {name_of(certificate.subject)} is revoked"
        return ""

    def explain(self, error: ssl.SSLError) -> str:
        """Why a client was refused for its certificate, for the log, or "" where that is not the reason."""
        if getattr(error, "reason", None) == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return _WITHOUT
        if not isinstance(error, ssl.SSLCertVerificationError):
            return ""
        code = error.verify_code
        if code in _UNTRUSTED:
            known = ", ".join(name_of(one.subject) for one in self._built.authorities)
            return (
                "the client's certificate is signed by nobody in client_ca "
                f"{self.listener.client_ca} ({printable(known)}); an intermediate that the client does not "
                "send has to be in there, with its root"
            )
        if code in (_CRL_ENDED, _CRL_EARLY):
            return self._ended_lists()
        if code == _NO_CRL:
            known = ", ".join(_lists(self._built.crls))
            return (
                "there is no revocation list of who signed the client's certificate in crl "
                f"{self.listener.crl} ({printable(known)})"
            )
        return f"the client's certificate is not valid: {error.verify_message.rstrip('.')}"

    def _ended_lists(self) -> str:
        now = datetime.fromtimestamp(self._clock(), UTC)
        words = [
            f"that of {name_of(one.issuer)} is for {day(one.last_update_utc)} to {day(end)}"
            for one in self._built.crls
            if (end := one.next_update_utc) is not None and not one.last_update_utc <= now < end
        ]
        return f"a revocation list in crl {self.listener.crl} is not valid now: {'; '.join(words)}"


_WITHOUT: Final = "the client sent no certificate, which this listener requires"
_UNTRUSTED: Final = frozenset(
    (2, 18, 19, 20, 21)
)  # X509_V_ERR_...: an issuer that is not known or not trusted
_NO_CRL: Final = 3
_CRL_EARLY: Final = 11
_CRL_ENDED: Final = 12


def _names(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [f"{name_of(one.subject)} (serial {one.serial_number:x})" for one in certificates]


def _lists(crls: Sequence[x509.CertificateRevocationList]) -> list[str]:
    return [
        f"that of {name_of(one.issuer)} of {day(one.last_update_utc)}, {len(one)} revoked" for one in crls
    ]
